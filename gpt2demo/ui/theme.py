"""How the page looks: gradio's theme, the style sheet, and the small pieces of layout every tab uses."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

import gradio as gr

from gpt2demo.ui.escape import Safe, join, tag
from gpt2demo.ui.palette import PALETTE

HERE = Path(__file__).parent
SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = (
    "ui-monospace",
    "SFMono-Regular",
    "Menlo",
    "Consolas",
    "Liberation Mono",
    "DejaVu Sans Mono",
    "monospace",
)

# gradio's own variables, told in this page's colours; both modes, because ours switch by themselves
GRADIO_COLOURS = {
    "body_background_fill": "ground",
    "body_text_color": "ink",
    "body_text_color_subdued": "muted",
    "background_fill_primary": "surface",
    "background_fill_secondary": "raised",
    "border_color_accent": "accent",
    "border_color_accent_subdued": "accent",
    "border_color_primary": "hairline",
    "color_accent_soft": "accent-soft",
    "link_text_color": "accent",
    "link_text_color_active": "accent",
    "link_text_color_hover": "accent",
    "link_text_color_visited": "accent",
    "code_background_fill": "raised",
    "block_border_color": "hairline",
    "block_info_text_color": "muted",
    "block_label_text_color": "muted",
    "block_label_border_color": "hairline",
    "block_title_text_color": "ink",
    "panel_border_color": "hairline",
    "accordion_text_color": "ink",
    "table_text_color": "ink",
    "table_border_color": "hairline",
    "table_even_background_fill": "ground",
    "table_odd_background_fill": "ground",
    "table_row_focus": "accent-soft",
    "checkbox_background_color": "surface",
    "checkbox_background_color_focus": "surface",
    "checkbox_background_color_hover": "surface",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "edge",
    "checkbox_border_color_focus": "accent",
    "checkbox_border_color_hover": "accent",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "surface",
    "checkbox_label_background_fill_hover": "raised",
    "checkbox_label_background_fill_selected": "accent-soft",
    "checkbox_label_border_color": "edge",
    "checkbox_label_border_color_hover": "accent",
    "checkbox_label_border_color_selected": "accent",
    "checkbox_label_text_color": "ink",
    "checkbox_label_text_color_selected": "ink",
    "error_background_fill": "danger-soft",
    "error_border_color": "danger",
    "error_text_color": "danger",
    "error_icon_color": "danger",
    "input_background_fill": "surface",
    "input_background_fill_focus": "surface",
    "input_background_fill_hover": "surface",
    "input_border_color": "edge",
    "input_border_color_focus": "accent",
    "input_border_color_hover": "accent",
    "input_placeholder_color": "muted",
    "loader_color": "accent",
    "slider_color": "accent",
    "stat_background_fill": "accent-soft",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent",
    "button_primary_border_color": "accent",
    "button_primary_border_color_hover": "accent",
    "button_primary_text_color": "on-accent",
    "button_primary_text_color_hover": "on-accent",
    "button_secondary_background_fill": "surface",
    "button_secondary_background_fill_hover": "raised",
    "button_secondary_border_color": "edge",
    "button_secondary_border_color_hover": "accent",
    "button_secondary_text_color": "ink",
    "button_secondary_text_color_hover": "ink",
    "button_cancel_background_fill": "surface",
    "button_cancel_background_fill_hover": "danger-soft",
    "button_cancel_border_color": "danger",
    "button_cancel_border_color_hover": "danger",
    "button_cancel_text_color": "danger",
    "button_cancel_text_color_hover": "danger",
}
GRADIO_SHAPES = {
    "body_text_size": "15px",
    "prose_text_size": "15px",
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_label_background_fill": "transparent",
    "block_label_border_width": "0px",
    "block_title_text_weight": "600",
    "block_title_text_size": "15px",
    "block_info_text_size": "13px",
    "block_label_text_size": "13px",
    "block_padding": "0px",
    "block_radius": "0px",
    "block_shadow": "none",
    "panel_background_fill": "transparent",
    "panel_border_width": "0px",
    "container_radius": "0px",
    "layout_gap": "20px",
    "form_gap_width": "20px",
    "input_border_width": "1px",
    "input_radius": "6px",
    "input_padding": "9px 12px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "input_text_size": "15px",
    "checkbox_border_radius": "4px",
    "checkbox_border_width": "1px",
    "checkbox_label_border_width": "1px",
    "checkbox_label_padding": "7px 12px",
    "checkbox_label_shadow": "none",
    "checkbox_label_text_size": "15px",
    "checkbox_shadow": "none",
    "button_border_width": "1px",
    "button_large_padding": "9px 18px",
    "button_large_radius": "6px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_medium_padding": "8px 14px",
    "button_medium_radius": "6px",
    "button_medium_text_size": "15px",
    "button_medium_text_weight": "500",
    "button_small_padding": "5px 10px",
    "button_small_radius": "6px",
    "button_small_text_size": "13px",
    "button_small_text_weight": "500",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "button_cancel_shadow": "none",
    "button_transform_hover": "none",
    "button_transform_active": "none",
    "section_header_text_size": "15px",
    "shadow_drop": "none",
    "shadow_drop_lg": "0 6px 24px rgb(0 0 0 / 14%)",
}


def theme() -> gr.themes.Base:
    """Gradio's theme for this page: system fonts only, nothing is fetched."""
    base = gr.themes.Base(font=list(SANS), font_mono=list(MONO), text_size="md", radius_size="md")
    colours = {key: f"var(--gd-{name})" for key, name in GRADIO_COLOURS.items()}
    settings = {**colours, **GRADIO_SHAPES}
    known = inspect.signature(base.set).parameters  # where gradio tells dark apart, ours switch by themselves
    dark = {f"{key}_dark": value for key, value in settings.items() if f"{key}_dark" in known}
    return base.set(**settings, **dark)


def css() -> str:
    """The whole page's style sheet: colours for light and dark, layout, and every component's look."""
    light = "".join(f"--gd-{name}:{values[0]};" for name, values in PALETTE.items())
    dark = "".join(f"--gd-{name}:{values[1]};" for name, values in PALETTE.items())
    fonts = f"--gd-sans:{_family(SANS)};--gd-mono:{_family(MONO)};"
    sheets = [HERE / "page.css", *sorted((HERE / "components").glob("*.css"))]
    tokens = (
        f":root{{color-scheme:light;{fonts}{light}}}\n"
        f":root:has(body.dark),body.dark{{color-scheme:dark;{dark}}}\n"
    )
    return tokens + "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def head() -> str:
    """What goes into the page's head, with the style sheet: `launch(css=…)` would rewrite and drop rules.

    Components bring their own scripts.
    """
    light, dark = PALETTE["ground"]
    return (
        f'<meta name="theme-color" media="(prefers-color-scheme: light)" content="{light}">'
        f'<meta name="theme-color" media="(prefers-color-scheme: dark)" content="{dark}">'
        f"<style>{css()}</style>"
    )


def masthead(name: str = "gpt2demo", subtitle: str = "Train, use and look inside a real GPT-2") -> Safe:
    """The name of the page, for the left of the header row (`elem_classes="gd-header"`)."""
    return tag("div", tag("h1", name), tag("p", subtitle), class_="gd-masthead")


def model_chip(name: str, facts: Iterable[str] = ()) -> Safe:
    """What is in hand, as words: "Starter · 0.8 M parameters · step 3,000 · …"."""
    parts = [tag("strong", name), *(tag("span", fact) for fact in facts)]
    return tag("div", *parts, class_="gd-chip", role="status", aria_label="Model in hand")


def section(title: str, hint: str = "", *, step: int | None = None, level: int = 2) -> Safe:
    """A heading of a part of a tab, with one sentence below it; `step` numbers parts that are an order."""
    number = tag("span", step, class_="gd-step-number") if step is not None else None
    return tag(
        "div",
        tag(f"h{level}", number, title),
        tag("p", hint, class_="gd-hint") if hint else None,
        class_="gd-section",
    )


def hint(text: str) -> Safe:
    """A quiet sentence: what a control does, what its extremes do."""
    return tag("p", text, class_="gd-hint")


def notice(text: str, kind: str = "info", *, todo: str = "") -> Safe:
    """A message in place: `kind` is info, warning, error or done; `todo` says what to do next."""
    words = {"warning": "Please note: ", "error": "Not possible: "}.get(kind)
    return tag(
        "div",
        tag("p", tag("strong", words) if words else None, text),
        tag("p", todo) if todo else None,
        class_=f"gd-notice gd-notice-{kind}",
        role="alert" if kind == "error" else "status",
    )


def stats(numbers: Iterable[tuple[str, str, str]]) -> Safe:
    """A strip of numbers: (what it is, the number as text, its unit or what it means)."""
    cells = [
        tag(
            "div",
            tag("dt", what),
            tag("dd", tag("span", number, class_="gd-number"), " ", tag("small", unit)),
        )
        for what, number, unit in numbers
    ]
    return tag("dl", *cells, class_="gd-stats")


def facts(rows: Iterable[tuple[str, object]]) -> Safe:
    """A quiet two-column table of facts: what, and the value."""
    lines = (tag("tr", tag("th", what, scope="row"), tag("td", value)) for what, value in rows)
    return tag("table", tag("tbody", *lines), class_="gd-facts")


def empty(text: str) -> Safe:
    """An empty state: one sentence that says what to do next."""
    return tag("p", text, class_="gd-empty")


def pieces(*parts: object) -> Safe:
    """Several pieces as one value for a SafeHTML."""
    return join(*parts)


def _family(names: Iterable[str]) -> str:
    return ",".join(f'"{name}"' if " " in name else name for name in names)
