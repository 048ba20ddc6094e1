"""The Python side of the shared look and components: escaping, values, colours, what reaches the browser."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from gpt2demo.ui import components, theme
from gpt2demo.ui.components import base
from gpt2demo.ui.escape import Safe, as_safe, esc, join, tag
from gpt2demo.ui.palette import PALETTE

UI = Path(base.__file__).parents[1]


def test_esc_leaves_nothing_that_ends_text_or_attribute():
    assert esc("<b title=\"x\" class='y'>&") == "&lt;b title=&quot;x&quot; class=&#x27;y&#x27;&gt;&amp;"
    assert esc(3) == "3"


def test_tag_escapes_children_and_attributes_but_not_what_is_safe():
    inner = tag("b", "<i>")
    assert tag("p", inner, " & ", class_='a"b', hidden=True, title=None, open=False) == (
        '<p class="a&quot;b" hidden><b>&lt;i&gt;</b> &amp; </p>'
    )
    assert tag("br") == "<br>"
    assert isinstance(join(inner, "<"), Safe)
    assert as_safe(None) == "" and as_safe("<b>") == "&lt;b&gt;" and as_safe(inner) == inner


@pytest.mark.parametrize("attribute", ["onclick", "onerror_", "x y", 'a"'])
def test_tag_writes_no_event_handlers(attribute):
    with pytest.raises(ValueError):
        tag("p", **{attribute: "x"})
    with pytest.raises(ValueError):
        tag("p onload=x")


def test_safe_html_shows_other_values_as_text_also_from_events():
    part = components.SafeHTML("<script>1</script>", render=False)
    assert part.value == "&lt;script&gt;1&lt;/script&gt;"
    assert part.postprocess("<b>") == "&lt;b&gt;"
    assert part.postprocess(theme.hint("<")) == '<p class="gd-hint">&lt;</p>'


def test_pieces_of_the_theme_are_safe():
    evil = "<img src=x onerror=1>"
    made = theme.pieces(
        theme.masthead(evil, evil), theme.model_chip(evil, [evil]), theme.section(evil, evil, step=1),
        theme.hint(evil), theme.notice(evil, "error", todo=evil), theme.stats([(evil, evil, evil)]),
        theme.facts([(evil, evil)]), theme.empty(evil), evil,
    )  # fmt: skip
    assert "<img" not in made and made.count("&lt;img") == 16


def test_head_grid_value_round_trips_every_weight():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 3, 7, 7)) * 3
    weights = np.exp(scores) * np.tril(np.ones((7, 7)))
    weights /= weights.sum(-1, keepdims=True)
    value = json.loads(components.head_grid_value(weights, list("abcdefg"), [["x", "", "y"]] * 2, 1, 2))
    sent = (np.frombuffer(base64.b64decode(value["tri"]), np.uint8).reshape(2, 3, 28) / 255.0) ** 2
    rows, columns = np.tril_indices(7)
    assert np.abs(sent - weights[:, :, rows, columns]).max() < 0.004
    assert (value["T"], value["L"], value["H"], value["layer"], value["head"]) == (7, 2, 3, 1, 2)


def test_head_grid_value_tells_what_a_pattern_forbids():
    weights = np.full((1, 1, 4, 4), 0.25)
    allowed = np.tri(4, dtype=bool) & ~np.tri(4, k=-2, dtype=bool)  # a token and the one before
    value = json.loads(components.head_grid_value(weights, list("abcd"), allowed=allowed))
    hidden = np.frombuffer(base64.b64decode(value["hidden"]), np.uint8)
    rows, columns = np.tril_indices(4)
    assert hidden.tolist() == (rows - columns > 1).astype(int).tolist()
    assert (
        json.loads(components.head_grid_value(weights, list("abcd"), allowed=np.tri(4, dtype=bool)))["hidden"]
        == ""
    )


def test_head_grid_value_refuses_what_does_not_fit():
    with pytest.raises(ValueError):
        components.head_grid_value(np.zeros((1, 1, 3, 3)), ["a", "b"])
    assert json.loads(components.head_grid_value(np.full((1, 1, 2, 2), np.nan), ["a", "b"]))["T"] == 2


def test_token_lines_are_one_line_each_and_start_with_a_new_nonce():
    line = components.token_line(
        "↵", raw="\n", data=b"\n", probability=0.5, rank=1, alternatives=[("a\nb", 0.1)]
    )
    assert line.count("\n") == 1
    assert json.loads(line) == {"t": "↵", "raw": "\n", "b": "0a", "p": 0.5, "r": 1, "a": [["a\nb", 0.1]]}
    first, second = components.strip_value([line]), components.strip_value([line])
    assert first != second and first.splitlines()[1:] == [line.strip()]
    assert json.loads(components.status_line("done", "x")) == {"status": "done", "message": "x"}
    assert json.loads(components.select_line(3)) == {"select": 3}


def test_plot_value_takes_arrays_and_nothing():
    value = json.loads(components.plot_value({"data": [{"x": np.arange(3)}]}, name="n", csv="a"))
    assert value == {"figure": {"data": [{"x": [0, 1, 2]}]}, "name": "n", "csv": "a"}
    assert components.plot_value(None) == ""
    with pytest.raises(TypeError):
        components.plot_value({"data": object()})


def test_run_value_is_new_each_time():
    assert components.run_value("a") != components.run_value("a")
    assert json.loads(components.run_value(None))["run"] == ""


def make_all() -> list[gr.HTML]:
    def ask(question: list[object]) -> dict[str, object]:
        return {}

    return [
        components.PlotlyPlot("<script>1</script>", click=True, render=False),
        components.TokenStrip(render=False),
        components.HeadGrid(render=False),
        components.RunView(poll=ask, render=False),
    ]


def test_components_send_plain_data_and_their_events_exist():
    plot, strip, grid, run = make_all()
    for part in (plot, strip, grid, run):
        json.dumps(part.get_config())
        assert "${" not in part.html_template and "{{" not in part.html_template
    assert callable(plot.point) and callable(strip.token) and callable(grid.select)
    assert callable(run.snapshot) and callable(run.finished)
    assert not list(UI.rglob("*.pyi")), "gradio wrote stubs, which mypy would read instead of the modules"


def test_components_can_be_updated_as_gradio_does_it():
    """On gr.update gradio builds the component again from the arguments that it was given."""
    for part in make_all():
        again = type(part)(**{**part.constructor_args, "visible": False})
        assert again.visible is False and again.js_on_load == part.js_on_load


def test_scripts_never_make_html_from_data():
    for script in (UI / "components").glob("*.js"):
        code = script.read_text(encoding="utf-8")
        for banned in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ):
            assert banned not in code, f"{script.name} uses {banned}"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", code), f"{script.name} names another host"


def test_style_sheet_and_head_fetch_nothing():
    text = theme.head()
    assert "url(" not in text and "@import" not in text and "http" not in text
    assert theme.css() in text
    assert text.count("</style") == 1
    written = set(re.findall(r"(--gd-[a-z-]+):", text)) | {
        "--gd-heads-left"
    }  # that one comes from the script
    assert set(re.findall(r"var\((--gd-[a-z-]+)", text)) <= written


def test_theme_uses_system_fonts_and_our_colours_in_both_modes():
    made = theme.theme()
    assert not made._font_css and not made._stylesheets
    assert made.body_background_fill == made.body_background_fill_dark == "var(--gd-ground)"
    assert made.button_primary_background_fill_dark == "var(--gd-accent)"


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mix(top: str, under: str, share: float) -> str:
    pairs = ((int(top[i : i + 2], 16), int(under[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


TEXT_ON = [
    ("ink", "ground"), ("ink", "surface"), ("ink", "raised"), ("muted", "ground"), ("muted", "surface"),
    ("muted", "raised"), ("accent", "ground"), ("accent", "surface"), ("accent", "accent-soft"),
    ("on-accent", "accent"), ("ink", "accent-soft"), ("ink", "warning-soft"), ("ink", "danger-soft"),
    ("danger", "ground"), ("danger", "danger-soft"), ("query", "ground"), ("key", "ground"),
    ("query", "surface"), ("key", "surface"), ("value-text", "ground"),
]  # fmt: skip


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_contrast_is_aa(mode):
    colour = {name: values[mode] for name, values in PALETTE.items()}
    for text, ground in TEXT_ON:
        assert contrast(colour[text], colour[ground]) >= 4.5, f"{text} on {ground}"
    for mark in (
        "edge",
        "training",
        "validation",
        "attention",
        "query",
        "key",
        "value",
        "surprise",
        "accent",
    ):
        assert contrast(colour[mark], colour["ground"]) >= 3 - 0.05, f"{mark} as a mark on the ground"
    most = (0.62, 0.46)[mode]
    assert contrast(colour["ink"], mix(colour["surprise"], colour["ground"], most)) >= 4.5
