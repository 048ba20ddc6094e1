"""The bars of the next token: before, after, cut and chosen, without relying on colour."""

import html

import pytest

from gpt2demo.figures.probabilities import ProbabilityRow, probability_figure
from tests.figures.read_figure import HOSTILE, named, numbers, sent, size

ROWS = [
    ProbabilityRow(token="·the", before=0.5, after=0.75),
    ProbabilityRow(token="·a", before=0.25, after=0.25, chosen=True),
    ProbabilityRow(token="·the", before=0.0001, after=0.0, cut=True),
]


def test_bars_show_the_probability_before_and_after() -> None:
    figure = sent(probability_figure(ROWS))
    before, after = named(figure, "as the model gave it"), named(figure, "after temperature and filters")
    assert (numbers(before["y"]).tolist(), numbers(before["x"]).tolist()) == ([0, 1], [50.0, 25.0])
    assert (numbers(after["y"]).tolist(), numbers(after["x"]).tolist()) == ([0, 1], [75.0, 25.0])
    assert before["marker"]["color"] == "rgba(0,0,0,0)"
    assert before["width"] > after["width"]
    assert figure["layout"]["xaxis"]["title"]["text"] == "probability (%)"
    assert figure["layout"]["xaxis"]["range"][1] > 75


def test_what_a_filter_cut_is_hatched_and_says_so() -> None:
    figure = sent(probability_figure(ROWS))
    cut = named(figure, "cut by a filter")
    assert cut["marker"]["pattern"]["shape"] == "/"
    assert numbers(cut["y"]).tolist() == [2]
    assert numbers(cut["x"]).tolist() == pytest.approx([0.01])
    (labels,) = [t["text"] for t in figure["data"] if t.get("mode") == "text"]
    assert labels == [" 75.0 %", " 25.0 %", " 0.010 % · cut"]
    assert "cut by a filter" in cut["hovertext"][0]


def test_without_a_cut_the_legend_does_not_speak_of_it() -> None:
    assert "cut by a filter" not in [t.get("name") for t in probability_figure(ROWS[:2])["data"]]


def test_the_chosen_one_has_a_sign_beside_its_colour() -> None:
    figure = sent(probability_figure(ROWS))
    assert figure["layout"]["yaxis"]["ticktext"] == ["·the", "◆ ·a", "·the"]
    colours = named(figure, "after temperature and filters")["marker"]["color"]
    assert colours[0] != colours[1]


def test_equal_tokens_keep_a_row_each_from_top_to_bottom() -> None:
    axis = probability_figure(ROWS)["layout"]["yaxis"]
    assert list(axis["tickvals"]) == [0, 1, 2]
    assert list(axis["range"]) == [2.5, -0.5]


def test_hostile_tokens_are_drawn_and_not_obeyed() -> None:
    rows = [ProbabilityRow(token=token, before=0.1, after=0.1) for token in HOSTILE]
    figure = sent(probability_figure(rows))
    labels = figure["layout"]["yaxis"]["ticktext"]
    assert not any(mark in label for label in labels for mark in ("<", "$", "%{", "\n", "\t"))
    assert html.unescape(labels[1]) == "a<br>b"
    for hover in named(figure, "as the model gave it")["hovertext"]:
        assert "<" not in hover.split("<br>as the model gave it")[0]


def test_height_grows_with_the_rows_and_the_payload_stays_small() -> None:
    few, many = probability_figure(ROWS), probability_figure(ROWS * 7)
    assert many["layout"]["height"] - few["layout"]["height"] == 18 * 26
    assert size(many) < 12_000
    sent(probability_figure([]))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), float("-inf")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        ProbabilityRow(token="a", before=wrong, after=0.5)
