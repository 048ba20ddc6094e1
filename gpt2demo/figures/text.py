"""How words reach Plotly: the one escaping function, tick labels that never merge, numbers with a unit."""

import html
import math
import unicodedata
from collections.abc import Sequence

GLYPHS = {"\n": "↵", "\t": "→", "\r": "␍"}
_JOINERS = "\u200c\u200d"  # zero-width, but they shape the letters and emoji around them
_OPEN_ISOLATE, _CLOSE_ISOLATE = "\u2068", "\u2069"


def plot_text(text: str) -> str:
    """Makes any text safe and exact for Plotly, so that a token is drawn as it is and never as markup.

    Every string of a visitor (token, run name, label) goes through here once. `html.unescape` of the result
    is the glyph form: newline ↵, tab →, other invisible characters as <U+00AD>, spaces Plotly would swallow
    as ·. `$` and `%{` are written as entities too, since Plotly would read them as TeX and as a template.
    Text that runs right to left is wrapped in isolate marks, so that it cannot turn round what stands beside
    it.
    """
    escaped = html.escape(_glyph_form(text), quote=False)
    escaped = escaped.replace("$", "&#36;").replace("%{", "&#37;{")
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        return f"{_OPEN_ISOLATE}{escaped}{_CLOSE_ISOLATE}"
    return escaped


def _glyph_form(text: str) -> str:
    last = len(text) - 1
    pieces: list[str] = []
    for i, character in enumerate(text):
        if character == " " and (i in (0, last) or text[i - 1] == " "):
            pieces.append("·")
        elif character in _JOINERS and 0 < i < last:
            pieces.append(character)
        else:
            pieces.append(GLYPHS.get(character) or _visible(character))
    return "".join(pieces)


def _visible(character: str) -> str:
    """The character itself, or its code point where nothing (or a plain gap) would be drawn."""
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
    return f"<U+{ord(character):04X}>" if hidden and character != " " else character


def shorten(text: str, length: int = 16) -> str:
    """Cuts a long token for an axis; to be called on the display form, before `plot_text`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def token_ticks(tokens: Sequence[str], length: int = 16) -> list[str]:
    """Tick labels "3: ·the": index and token, so that a token that comes twice keeps both rows.

    tokens: display forms, in order. They belong on a numeric axis at 0, 1, 2 …; as categories they would
    merge.
    """
    return [f"{i}: {plot_text(shorten(token, length))}" for i, token in enumerate(tokens)]


def percent(probability: float) -> str:
    """A probability in words that do not lie about small numbers: "47.3 %", "0.012 %", "< 0.0001 %"."""
    if not math.isfinite(probability):
        return "–"
    value = 100 * probability
    if value == 0:
        return "0 %"
    if value < 0.0001:
        return "< 0.0001 %"
    digits = max(1, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} %"
