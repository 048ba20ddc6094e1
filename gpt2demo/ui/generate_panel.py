"""The panel about one token: its road from the model's score to its chance, as words, bars and a table."""

import math
from typing import Any

import gradio as gr

from gpt2demo.figures.probabilities import ProbabilityRow, probability_figure
from gpt2demo.figures.text import percent
from gpt2demo.generation.records import Logits
from gpt2demo.generation.road import Candidate, Road, road
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.text.display import display_token
from gpt2demo.ui.components import plot_value
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.generate_draft import Draft
from gpt2demo.ui.text import generate as words
from gpt2demo.ui.theme import empty, pieces

SHOWN = 12  # candidates in the panel
BARS_HEIGHT = 96 + 26 * (SHOWN + 1)
LIMIT = 24  # characters of a token

PANEL_PARTS = 4
Panel = tuple[Any, Any, Any, Any]  # the words, the bars, the table, the dropdown of alternatives


def panel(draft: Draft | None, index: int | None, config: SamplingConfig) -> Panel:
    """Everything about one written token, with the settings as they are now; nothing is run for it.

    index: which one; negative for those of the prompt, counted from its end.
    """
    if draft is None or index is None or index >= len(draft.steps):
        return _no_panel(words.NO_TOKEN if draft and draft.steps else words.NOTHING_YET)
    if index < 0:
        return _no_panel(words.PROMPT_TOKEN)
    logits = draft.logits[index]
    if logits is None:
        return _no_panel(words.FORGOTTEN)
    chosen = draft.steps[index].id
    way = _road(draft, index, logits, config)
    others = [c for c in way.candidates if c.id != chosen]
    return (
        _head(draft, index, way, config),
        plot_value(
            _figure(draft, way, chosen), name=f"token-{index + 1}-chances", csv=_csv(draft, way, chosen)
        ),
        _table(draft, way, chosen, config),
        gr.Dropdown(
            choices=[(f"{_glyph(draft, c.id)}   {percent(c.before)}", c.id) for c in others],
            value=others[0].id if others else None,
            interactive=bool(others),
        ),
    )


def clicked_alternative(
    draft: Draft | None, index: int | None, config: SamplingConfig, place: object
) -> int | None:
    """The token whose bar was clicked, if it is one that could be taken."""
    if draft is None or index is None or not 0 <= index < len(draft.steps):
        return None
    logits, chosen = draft.logits[index], draft.steps[index].id
    if logits is None or not isinstance(place, int | float):
        return None
    candidates = _road(draft, index, logits, config).candidates
    ids = dict(enumerate(c.id for c in candidates))
    found = ids.get(round(place)) if math.isfinite(place) else None
    return None if found == chosen else found


def _road(draft: Draft, index: int, logits: Logits, config: SamplingConfig) -> Road:
    chosen = draft.steps[index].id
    return road(logits, config, shown=SHOWN, also=(chosen,), seen=draft.before(index))


def _no_panel(sentence: str) -> Panel:
    return empty(sentence), "", "", gr.Dropdown(choices=[], value=None, interactive=False)


def _glyph(draft: Draft, id_: int) -> str:
    return display_token(draft.tokenizer.token_bytes(id_), LIMIT)


def _head(draft: Draft, index: int, way: Road, config: SamplingConfig) -> Safe:
    step = draft.steps[index]
    glyph = _glyph(draft, step.id)
    context = _context(draft.tokenizer.decode([*draft.prompt.ids, *draft.written[:index]][-80:]))
    chosen = next(c for c in way.candidates if c.id == step.id)
    vocab_size = draft.config.vocab_size
    return pieces(
        tag("h3", words.panel_title(index, ""), tag("span", glyph, class_="gd-token-name")),
        tag("p", words.after(context), class_="gd-hint") if context else None,
        tag(
            "p",
            words.chosen(
                percent(math.exp(step.logprob)),
                step.rank,
                vocab_size,
                math.exp(step.entropy),
                taken=index in draft.taken,
            ),
        ),
        tag("p", words.settings(_rules(config), way.cuts, way.kept, vocab_size)),
        tag("p", words.now_cut(glyph, chosen.cut_by), class_="gd-now-cut") if chosen.cut_by else None,
    )


def _rules(config: SamplingConfig) -> list[str]:
    """The settings that act here, as they are called."""
    named = (
        ("repetition penalty", config.repetition_penalty if config.repetition_penalty != 1 else None),
        ("temperature", config.temperature),
        ("top-k", config.top_k),
        ("top-p", config.top_p),
        ("min-p", config.min_p),
    )
    return [f"{name} {value:g}" for name, value in named if value is not None]


def _context(text: str, length: int = 60) -> str:
    """The end of what came before, from the beginning of a word where there is one."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    end = text[-length:]
    return "… " + (end.split(" ", 1)[1] if " " in end[: length // 2] else end)


def _figure(draft: Draft, way: Road, chosen: int) -> dict[str, Any]:
    return probability_figure(
        [
            ProbabilityRow(
                token=_glyph(draft, c.id),
                before=min(1.0, c.before),
                after=min(1.0, c.after),
                cut=bool(c.cut_by),
                chosen=c.id == chosen,
            )
            for c in way.candidates
        ]
    )


def _table(draft: Draft, way: Road, chosen: int, config: SamplingConfig) -> Safe:
    penalty = config.repetition_penalty != 1
    heads = [
        words.RANK,
        words.TOKEN,
        words.SCORE,
        words.scaled(config.temperature),
        words.FILTERS,
        words.CHANCE,
    ]
    if penalty:
        heads.insert(3, words.PENALISED)
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    rows = [_row(draft, c, c.id == chosen, penalty=penalty) for c in way.candidates]
    if way.rest:
        rest = ["", f"{words.REST} ({way.rest:,})", *[""] * (len(heads) - 4)]
        rest += [words.rest_kept(way.rest_kept, way.rest), percent(way.rest_after)]
        rows.append(tag("tr", *(tag("td", text) for text in rest), class_="gd-road-rest"))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="gd-road")
    return tag("div", table, class_="gd-scroll", tabindex="0", role="region", aria_label=words.TABLE)


def _row(draft: Draft, candidate: Candidate, chosen: bool, *, penalty: bool) -> Safe:
    scaled = "–" if candidate.scaled is None else _score(candidate.scaled)
    filters = words.cut(candidate.cut_by) if candidate.cut_by else words.STAYS
    classes = ["gd-road-cut"] * bool(candidate.cut_by) + ["gd-road-chosen"] * chosen
    return tag(
        "tr",
        tag("td", candidate.rank),
        tag(
            "td",
            tag("span", _glyph(draft, candidate.id), class_="gd-token-name"),
            tag("small", words.CHOSEN) if chosen else None,
        ),
        tag("td", _score(candidate.logit)),
        tag("td", _score(candidate.penalised)) if penalty else None,
        tag("td", scaled),
        tag("td", filters),
        tag("td", percent(candidate.after)),
        class_=" ".join(classes) or None,
    )


def _score(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10_000 else f"{value:.3g}"


def _csv(draft: Draft, way: Road, chosen: int) -> str:
    """The table for a spreadsheet: every candidate's road in full precision."""
    lines = ["rank,id,token,logit,probability,after_penalty,after_temperature,cut_by,chance,written"]
    for c in way.candidates:
        glyph = _glyph(draft, c.id).replace('"', '""')
        token = f"'{glyph}" if glyph[:1] in "=+-@" else glyph  # a spreadsheet would calculate it
        scaled = "" if c.scaled is None else repr(c.scaled)
        written = int(c.id == chosen)
        lines.append(
            f'{c.rank},{c.id},"{token}",{c.logit!r},{c.before!r},{c.penalised!r},{scaled},{c.cut_by},'
            f"{c.after!r},{written}"
        )
    return "\ufeff" + "\r\n".join(lines) + "\r\n"
