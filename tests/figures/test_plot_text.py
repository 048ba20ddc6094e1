"""Words on their way to Plotly: nothing is markup, nothing is lost, nothing merges."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2demo.figures.text import percent, plot_text, shorten, token_ticks

GLYPH_FORMS = {
    "<b>": "<b>",
    "a<br>b": "a<br>b",
    "$x$": "$x$",
    "%{x}": "%{x}",
    "<img onerror=alert(1)>": "<img onerror=alert(1)>",
    "&lt;": "&lt;",
    "\"quoted'": "\"quoted'",
    "\n": "↵",
    "a\tb\r": "a→b␍",
    " the": "·the",
    "a  b ": "a ·b·",
    "one two": "one two",
    "\x07": "<U+0007>",
    "\u00a0": "<U+00A0>",
    "\u202e": "<U+202E>",
    "\u200b": "<U+200B>",
    "\ud83d": "<U+D83D>",
    "é世界": "é世界",
    "👩\u200d🔬": "👩\u200d🔬",
    "": "",
}


@pytest.mark.parametrize(("token", "form"), GLYPH_FORMS.items())
def test_unescaping_gives_the_glyph_form_back(token: str, form: str) -> None:
    assert html.unescape(plot_text(token)) == form


@given(st.text())
def test_no_text_carries_markup_tex_or_a_template(text: str) -> None:
    drawn = plot_text(text)
    assert not any(mark in drawn for mark in ("<", ">", "$", "%{", "\n", "\t"))
    drawn.encode("utf-8")


@given(st.text())
def test_different_tokens_stay_different_unless_a_glyph_stands_for_both(text: str) -> None:
    assert html.unescape(plot_text(text + "x")) != html.unescape(plot_text(text + "y"))


def test_quotes_stay_as_they_are() -> None:
    assert plot_text("\"'") == "\"'"


def test_text_from_right_to_left_cannot_turn_its_neighbours_round() -> None:
    assert plot_text("שלום") == "\u2068שלום\u2069"
    assert plot_text("shalom") == "shalom"


def test_a_token_that_comes_twice_has_two_labels() -> None:
    assert token_ticks(["the", "cat", "the"]) == ["0: the", "1: cat", "2: the"]


def test_a_long_token_is_cut_before_it_is_escaped() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
    assert token_ticks(["<" * 50], 4) == ["0: &lt;&lt;&lt;…"]


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (1.0, "100.0 %"),
        (0.473, "47.3 %"),
        (0.0123, "1.2 %"),
        (0.000123, "0.012 %"),
        (1e-9, "< 0.0001 %"),
        (0.0, "0 %"),
        (float("nan"), "–"),
    ],
)
def test_a_small_probability_is_not_rounded_to_nothing(probability: float, words: str) -> None:
    assert percent(probability) == words
