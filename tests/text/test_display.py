"""Every token can be told from every other by what is drawn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2demo.text.display import display_token, display_tokens
from gpt2demo.text.tokenizers import train_tokenizer


@pytest.mark.parametrize(
    ("data", "drawn"),
    [
        (b" the", "·the"),
        (b"  ", "··"),
        (b"\n\n", "↵↵"),
        (b"\ta", "→a"),
        (b"\r", "<0x0D>"),
        (b"\x07", "<0x07>"),
        (b"\x00", "<0x00>"),
        (b"\x7f", "<0x7F>"),
        (b"\xe4", "<0xE4>"),
        (b"\xe4\xbd", "<0xE4><0xBD>"),
        ("你好".encode(), "你好"),
        ("ä\U0001f98a".encode(), "ä\U0001f98a"),
        (b"a\xff", "a<0xFF>"),
        (b"\xed\xa0\x80", "<0xED><0xA0><0x80>"),  # half a surrogate pair
        ("\u200b".encode(), "<U+200B>"),
        ("\u202e".encode(), "<U+202E>"),
        ("\ufeff".encode(), "<U+FEFF>"),
        ("\u00ad".encode(), "<U+00AD>"),
        ("\u00a0".encode(), "<U+00A0>"),
        ("\u3000".encode(), "<U+3000>"),
        ("\u0085".encode(), "<U+0085>"),
        ("\u2028".encode(), "<U+2028>"),
        ("\ufe0f".encode(), "<U+FE0F>"),
        ("\U000e0001".encode(), "<U+E0001>"),
        ("·".encode(), "<U+00B7>"),
        ("↵".encode(), "<U+21B5>"),
        ("→".encode(), "<U+2192>"),
        ("\u0301".encode(), "◌\u0301"),
        ("e\u0301".encode(), "e\u0301"),
        (b"<0xE4>", "<U+003C>0xE4>"),
        (b"<|endoftext|>", "<|endoftext|>"),
        (b"<script>", "<script>"),  # escaping for HTML is the page's business
        (b"", ""),
    ],
)
def test_a_token_is_drawn(data: bytes, drawn: str) -> None:
    assert display_token(data) == drawn


def test_all_short_tokens_are_drawn_differently() -> None:
    every = {chr(i).encode() for i in range(0x3100) if not 0xD800 <= i < 0xE000}
    every |= {bytes([i]) for i in range(256)}
    assert len({display_token(data) for data in every}) == len(every)


PIECES = [
    b"<",
    b"<0x",
    b"E4>",
    b"<U+",
    b"00B7>",
    b"\xe4",
    "·".encode(),
    b" ",
    "◌".encode(),
    "\u0301".encode(),
    b"\xbd",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)).map(b"".join), st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_different_tokens_are_drawn_differently(a: bytes, b: bytes) -> None:
    assert (display_token(a) == display_token(b)) == (a == b)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_nothing_invisible_is_drawn(data: bytes) -> None:
    drawn = display_token(data)
    assert drawn.isprintable()
    assert " " not in drawn


@pytest.mark.parametrize(
    ("limit", "drawn"),
    [(1, "…"), (6, "…"), (7, "<0xE4>…"), (8, "<0xE4>a…"), (9, "<0xE4>ab…"), (10, "<0xE4>abcd")],
)
def test_long_tokens_are_cut_between_glyphs(limit: int, drawn: str) -> None:
    assert display_token(b"\xe4abcd", limit) == drawn


def test_tokens_are_drawn_by_their_ids() -> None:
    tokenizer = train_tokenizer("char", ["a b\n"])
    assert display_tokens(tokenizer, tokenizer.encode("a b\n")) == ["a", "·", "b", "↵"]
    assert display_tokens(tokenizer, []) == []
