"""How a text that was read is drawn: its tokens, the passages that were copied, and its numbers."""

import math
from collections.abc import Iterator, Mapping

from gpt2demo.figures.text import percent
from gpt2demo.generation.reading import Measures
from gpt2demo.runs.models import LoadedModel
from gpt2demo.runs.reading import Compared, Learnt, Reading
from gpt2demo.text.display import display_token
from gpt2demo.ui.components import status_line, strip_value
from gpt2demo.ui.escape import Safe, join, tag
from gpt2demo.ui.generate_draft import Flow, step_line
from gpt2demo.ui.text import reading as words
from gpt2demo.ui.theme import hint, stats

HOVER_ALTERNATIVES = 5  # a text that is read is longer than one that is written

Comparison = Mapping[str, Compared | None]  # under "training" and "held_out"


def strip(loaded: LoadedModel, reading: Reading) -> str:
    """The text as tokens, tinted by surprise, those of copied passages marked."""
    start = display_token(loaded.tokenizer.token_bytes(loaded.tokenizer.start_id))
    said = words.read_by(loaded.facts.title, loaded.step, len(reading.ids), start)
    if reading.unknown:
        said += " " + words.unknown(reading.unknown)
    return strip_value([*_tokens(loaded, reading), status_line("done", said)])


def _tokens(loaded: LoadedModel, reading: Reading) -> Iterator[str]:
    flow = Flow()
    for step, marked in zip(reading.steps, reading.marked, strict=True):
        mark = words.COPIED_TOKEN if marked else ""
        yield step_line(loaded.tokenizer, step, flow, mark=mark, others=HOVER_ALTERNATIVES)


def copies(reading: Reading) -> Safe:
    """What the mark means, and the longest passage that was copied."""
    if reading.passages is None:
        return tag("p", words.NO_TEXT)
    if not reading.passages:
        return tag("p", words.nothing_copied(reading.least))
    key = tag("span", words.KEY, class_="gd-marked")
    return join(
        tag("p", key, words.key_means(reading.least)),
        tag("p", words.longest(len(reading.longest)), tag("q", _line(reading.longest))),
    )


def _line(text: str, most: int = 300) -> str:
    """A passage on one line, in the signs that tokens are drawn in where it breaks."""
    shown = text if len(text) <= most else text[:most] + " …"
    return shown.replace("\n", "↵")


def numbers(reading: Reading, compared: Comparison, known: Learnt | None) -> Safe:
    """The measures of the text, and beside them those of training and held-out text."""
    own = reading.measures
    cells = stats(
        [
            (words.TOKENS, f"{own.tokens:,}", ""),
            (words.CHARACTERS, f"{own.characters:,}", ""),
            (words.PERPLEXITY, _number(own.perplexity), words.PERPLEXITY_UNIT),
            (words.BITS, _number(own.bits_per_character), words.BITS_UNIT),
            (words.RIGHT, percent(own.accuracy), words.RIGHT_UNIT),
            (words.COPIED, _share(reading.copied), words.copied_unit(reading.least)),
        ]
    )
    if known is None:
        return cells
    rows: list[tuple[str, Measures, float | None]] = [(words.OWN, own, reading.copied)]
    for name, part in ((words.OF_TRAINING, "training"), (words.OF_HELD_OUT, "held_out")):
        if (found := compared[part]) is not None:
            rows.append((name, found.measures, found.copied))
    measured = next((one.measures.tokens for one in compared.values() if one is not None), 0)
    notes = [words.compared(measured, not known.whole, known.characters)]
    if compared["held_out"] is None:
        notes.append(words.NO_HELD_OUT)
    return join(cells, _table(rows), hint(" ".join(notes)))


def _table(rows: list[tuple[str, Measures, float | None]]) -> Safe:
    """One line for each text; a bar for its bits per character, the longest for the largest."""
    most = max([m.bits_per_character or 0.0 for _, m, _ in rows if math.isfinite(m.bits_per_character or 0)])
    heads = (words.BITS, words.PERPLEXITY, words.RIGHT_SHORT, words.COPIED)
    lines = []
    for name, measures, copied in rows:
        share = 100 * min(1.0, (measures.bits_per_character or 0) / (most or 1))
        bar = tag("i", style=f"--w: {share:.1f}%", aria_hidden="true")
        lines.append(
            tag(
                "tr",
                tag("th", name, scope="row"),
                tag("td", _number(measures.bits_per_character), bar),
                tag("td", _number(measures.perplexity)),
                tag("td", percent(measures.accuracy)),
                tag("td", _share(copied)),
            )
        )
    head = tag(
        "tr", tag("th", tag("span", words.WHICH, class_="gd-sr")), *(tag("th", h, scope="col") for h in heads)
    )
    return tag(
        "table",
        tag("caption", words.TABLE, class_="gd-sr"),
        tag("thead", head),
        tag("tbody", *lines),
        class_="gd-compared",
    )


def _number(value: float | None) -> str:
    if value is None:
        return words.NO_NUMBER
    return "∞" if math.isinf(value) else f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return words.NO_NUMBER if value is None else percent(value)
