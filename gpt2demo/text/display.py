"""How a token is drawn: a glyph for everything that the eye would miss or confuse.

Two different tokens are drawn differently, without exception, as long as nothing is cut off. So a character
that serves as a glyph is itself drawn by its number: a middle dot is <U+00B7>, because · is a space.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol

_GLYPHS = {" ": "·", "\n": "↵", "\t": "→"}
# What Unicode counts as printable although nothing is to be seen, and the circle that marks are drawn on.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u25cc" + "".join(_GLYPHS.values()))
_LOOKS_LIKE_A_NUMBER = re.compile(r"<(?=0x[0-9A-F]{2}>|U\+[0-9A-F]{4,6}>)")


class HasTokenBytes(Protocol):
    """What can say which bytes a token stands for: a Tokenizer."""

    def token_bytes(self, token_id: int) -> bytes: ...


def display_token(data: bytes, limit: int | None = None) -> str:
    """Draws the bytes of one token.

    Space ·, newline ↵, tab →; other control characters <0x07>; bytes that are no whole character <0xE4>;
    what is invisible, has a width of its own, or turns the writing direction <U+200B>; an accent that lacks
    its letter on a ◌.
    limit: cuts what is longer to this many characters, the last of them …, but never inside such a glyph.
    """
    text = data.decode("utf-8", errors="surrogateescape")  # a lone byte 0xE4 becomes U+DCE4
    numbers = {match.start() for match in _LOOKS_LIKE_A_NUMBER.finditer(text)}
    glyphs = ["<U+003C>" if i in numbers else _glyph(character) for i, character in enumerate(text)]
    if text and unicodedata.category(text[0]).startswith("M") and glyphs[0] == text[0]:
        glyphs[0] = "◌" + text[0]
    if limit is None or sum(map(len, glyphs)) <= limit:
        return "".join(glyphs)
    shown = ""
    for glyph in glyphs:
        if len(shown) + len(glyph) >= limit:
            break
        shown += glyph
    return shown + "…"


def display_tokens(tokenizer: HasTokenBytes, ids: Iterable[int], limit: int | None = None) -> list[str]:
    """Draws tokens by their ids, in their order."""
    return [display_token(tokenizer.token_bytes(token_id), limit) for token_id in ids]


def _glyph(character: str) -> str:
    """One character, or what is drawn instead."""
    code = ord(character)
    if character in _GLYPHS:
        return _GLYPHS[character]
    if code < 0x20 or code == 0x7F:
        return f"<0x{code:02X}>"
    if 0xDC80 <= code <= 0xDCFF:
        return f"<0x{code - 0xDC00:02X}>"
    variation = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
    if not character.isprintable() or character in _INVISIBLE or variation:
        return f"<U+{code:04X}>"
    return character
