"""What two texts share: exactly what a naive search finds, and nothing that is not there"""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2demo.errors import LimitError
from gpt2demo.text import copies
from gpt2demo.text.copies import LEAST, MIN_LEAST, Copies, Passage, covered

CHARACTERS = st.sampled_from("ab é山\U0001f99a")


@st.composite
def text_and_source(draw: st.DrawFn) -> tuple[str, str]:
    """Two texts put together from the same few pieces, so that they share passages of all lengths."""
    pieces = draw(st.lists(st.text(CHARACTERS, min_size=1, max_size=12), min_size=1, max_size=5))
    both = st.lists(st.sampled_from(pieces) | st.text(CHARACTERS, max_size=3), max_size=14).map("".join)
    return draw(both), draw(both)


def naive(text: str, source: str, least: int) -> list[tuple[int, int]]:
    """Every shared part that is part of no longer one."""
    spans = []
    for start in range(len(text)):
        end = start + least
        if end <= len(text) and text[start:end] in source:
            while end < len(text) and text[start : end + 1] in source:
                end += 1
            spans.append((start, end))
    return [(a, b) for a, b in spans if not any(c <= a and b <= d and (a, b) != (c, d) for c, d in spans)]


@settings(max_examples=150, deadline=None)
@given(text_and_source(), st.integers(MIN_LEAST, 13), st.sampled_from([7, 16, copies.CHUNK]))
def test_it_finds_what_a_naive_search_finds(pair: tuple[str, str], least: int, chunk: int) -> None:
    text, source = pair
    with mock.patch.object(copies, "CHUNK", chunk):
        found = Copies(source).passages(text, least)
    assert [(p.start, p.end) for p in found] == naive(text, source, least)
    for p in found:
        assert source[p.place : p.place + p.end - p.start] == text[p.start : p.end]
    assert covered(found) == len({i for p in found for i in range(p.start, p.end)})


@settings(max_examples=50, deadline=None)
@given(text_and_source())
def test_equal_hashes_deceive_nobody(pair: tuple[str, str]) -> None:
    """The first hash is the same for all pieces, and the table lets everything through."""
    text, source = pair
    rolling = copies._hashes

    def poor(codes: copies.Codes, length: int, multiplier: int) -> copies.Hashes:
        return rolling(codes, length, 0 if multiplier == copies.MULTIPLIER else multiplier)

    with mock.patch.object(copies, "TABLE_BITS", 1), mock.patch.object(copies, "_hashes", poor):
        found = Copies(source).passages(text, MIN_LEAST)
    assert [(p.start, p.end) for p in found] == naive(text, source, MIN_LEAST)


@settings(max_examples=50, deadline=None)
@given(text_and_source(), st.integers(1, 30))
def test_with_too_many_pairs_it_is_still_true_and_covers_the_same(pair: tuple[str, str], most: int) -> None:
    text, source = pair
    whole = Copies(source).passages(text, MIN_LEAST)
    with mock.patch.object(copies, "MAX_PAIRS", most):
        found = Copies(source).passages(text, MIN_LEAST)
    assert covered(found) == covered(whole)
    for p in found:
        assert source[p.place : p.place + p.end - p.start] == text[p.start : p.end]
        assert any(w.start <= p.start and p.end <= w.end for w in whole)


def test_an_example_by_hand() -> None:
    source = "Once upon a time there was a hedgehog. It had no umbrella."
    text = "Zap. There was a hedgehog. It had an umbrella. Once upon a time there!"
    found = Copies(source).passages(text)
    assert found == (Passage(start=6, end=34, place=18), Passage(start=47, end=69, place=0))
    assert [text[p.start : p.end] for p in found] == [
        "here was a hedgehog. It had ",
        "Once upon a time there",
    ]
    assert covered(found) == 50
    assert Copies(source).passages(text, 23) == found[:1]


def test_a_text_in_itself_and_texts_that_are_too_short() -> None:
    text = "the cat sat on the mat, and the dog sat on the log.\n" * 3
    assert Copies(text).passages(text) == (Passage(start=0, end=len(text), place=0),)
    assert Copies(text).passages(text[:19]) == Copies(text[:19]).passages(text) == ()
    assert Copies("").passages(text) == Copies(text).passages("") == ()
    assert len(Copies(text)) == len(text) and LEAST == 20


def test_one_character_that_differs_parts_a_passage() -> None:
    source = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for place in range(len(source)):
        text = source[:place] + "\N{SNOWMAN}" + source[place + 1 :]
        spans = [(a, b) for a, b in [(0, place), (place + 1, len(source))] if b - a >= LEAST]
        assert [(p.start, p.end, p.place) for p in Copies(source).passages(text)] == [
            (*s, s[0]) for s in spans
        ]


@pytest.mark.parametrize("least", [MIN_LEAST - 1, 1_001, 20.5, None, "20", float("nan"), True])
def test_a_length_that_cannot_be(least: object) -> None:
    with pytest.raises(LimitError, match="length of a passage"):
        Copies("x" * 30).passages("x" * 30, least)  # type: ignore[arg-type]
