"""Learning curves: what is drawn is what was noted, and nothing is invented between."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gpt2demo.figures.curves import MAX_CURVE_POINTS, Curve, loss_figure, smooth, spark_svg
from tests.figures.read_figure import HOSTILE, named, numbers, sent, size, strings

ONE = Curve(
    name="first",
    steps=[0, 1, 2, 3],
    train=[4.0, 2.0, 3.0, 1.0],
    validation_steps=[0, 2, 3],
    validation=[4.5, 2.5, 2.75],
    learning_rate=[0.0, 1e-3, 5e-4, 0.0],
    tokens=[0, 100, 200, 300],
)


def test_smoothing_starts_at_the_first_value_and_weighs_the_past() -> None:
    assert smooth([4.0, 2.0, 3.0], 0.5).tolist() == pytest.approx([4.0, 8 / 3, 20 / 7])
    assert smooth([7.0] * 50, 0.99).tolist() == pytest.approx([7.0] * 50)
    assert smooth([4.0, 2.0], 0.0).tolist() == [4.0, 2.0]


def test_smoothing_leaves_a_gap_where_there_is_no_number() -> None:
    calm = smooth([2.0, math.nan, math.inf, 2.0], 0.9)
    assert np.isnan(calm).tolist() == [False, True, True, False]
    assert calm[3] == pytest.approx(2.0)
    assert smooth([]).tolist() == []


@pytest.mark.parametrize("weight", [-0.1, 1.0, math.nan])
def test_an_impossible_smoothing_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        smooth([1.0], weight)


def test_one_run_shows_raw_smoothed_validation_best_and_rate() -> None:
    figure = sent(loss_figure([ONE], smoothing=0.5))
    assert numbers(named(figure, "training, each step")["y"]).tolist() == [4.0, 2.0, 3.0, 1.0]
    assert numbers(named(figure, "training, smoothed")["y"]) == pytest.approx(smooth(ONE.train, 0.5))
    validation = named(figure, "validation")
    assert numbers(validation["x"]).tolist() == [0, 2, 3]
    assert numbers(validation["y"]).tolist() == [4.5, 2.5, 2.75]
    best = named(figure, "best validation 2.500")
    assert (numbers(best["x"]).tolist(), numbers(best["y"]).tolist()) == ([2], [2.5])
    assert best["marker"]["symbol"] == "star"
    rate = named(figure, "learning rate")
    assert numbers(rate["y"]) == pytest.approx(ONE.learning_rate)
    assert rate["yaxis"] == "y2"


def test_the_learning_rate_has_an_axis_of_its_own_that_overlaps_nothing() -> None:
    layout = loss_figure([ONE])["layout"]
    assert layout["yaxis2"]["domain"][1] < layout["yaxis"]["domain"][0]
    assert "yaxis2" not in loss_figure([Curve(name="x", steps=[0], train=[1.0])])["layout"]


def test_axes_say_what_they_count() -> None:
    layout = loss_figure([ONE])["layout"]
    assert layout["xaxis"]["title"]["text"] == "step"
    assert layout["yaxis"]["title"]["text"] == "loss (nats per token)"
    assert loss_figure([ONE], x="tokens")["layout"]["xaxis"]["title"]["text"] == "tokens seen"
    assert any("learning rate" in note["text"] for note in layout["annotations"])


def test_tokens_can_be_the_axis() -> None:
    figure = sent(loss_figure([ONE], x="tokens"))
    assert numbers(named(figure, "training, smoothed")["x"]).tolist() == [0, 100, 200, 300]
    assert numbers(named(figure, "validation")["x"]).tolist() == [0, 200, 300]


def test_many_tokens_stay_exact() -> None:
    run = Curve(name="x", steps=[1, 2], train=[1, 1], tokens=[2**24 + 1, 2**40 + 1])
    x = numbers(named(sent(loss_figure([run], x="tokens")), "training, smoothed")["x"])
    assert x.tolist() == [2**24 + 1, 2**40 + 1]


def test_tokens_that_were_not_noted_are_not_made_up() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        loss_figure([Curve(name="x", steps=[0], train=[1.0])], x="tokens")
    with pytest.raises(ValueError, match="steps"):
        loss_figure([ONE], x="hours")


def test_zoom_survives_an_update_but_not_a_change_of_axis() -> None:
    steps, later, tokens = loss_figure([ONE]), loss_figure([ONE, ONE]), loss_figure([ONE], x="tokens")
    assert steps["layout"]["uirevision"] == later["layout"]["uirevision"] != tokens["layout"]["uirevision"]


def test_several_runs_have_one_legend_key_each_and_differ_without_colour() -> None:
    runs = [
        Curve(name=name, steps=[0, 1], train=[2, 1], validation_steps=[1], validation=[1]) for name in "abc"
    ]
    figure = sent(loss_figure(runs))
    keys = [trace for trace in figure["data"] if trace.get("showlegend", True)]
    assert [key["name"] for key in keys] == ["a", "b", "c"]
    assert len({(key["line"]["dash"], key["marker"]["symbol"]) for key in keys}) == 3
    assert [t["legendgroup"] for t in figure["data"] if t["name"].startswith("b")] == ["1"] * 5


def test_the_name_of_a_run_is_no_markup() -> None:
    for name in HOSTILE:
        run = Curve(name=name, steps=[0], train=[1.0], validation_steps=[0], validation=[1.0])
        for drawn in (strings(loss_figure([run, run])["data"]), strings(loss_figure([run])["data"])):
            assert not any("<" in s or "$" in s or "%{x}" in s for s in drawn)


def test_a_run_without_validation_or_steps_is_drawn_as_it_is() -> None:
    assert len(loss_figure([Curve(name="new", steps=[], train=[])])["data"]) == 2
    assert loss_figure([])["data"] == []
    nothing = Curve(name="x", steps=[0], train=[1.0], validation_steps=[0], validation=[math.nan])
    assert not [t for t in loss_figure([nothing])["data"] if "validation" in t["name"]]


def test_the_best_is_not_a_nan() -> None:
    run = Curve(name="x", steps=[], train=[], validation_steps=[1, 2, 3], validation=[math.nan, 2.0, 3.0])
    assert numbers(named(sent(loss_figure([run])), "best validation 2.000")["x"]).tolist() == [2]


def test_a_long_run_is_thinned_and_says_so() -> None:
    many = list(range(10 * MAX_CURVE_POINTS))
    run = Curve(name="long", steps=many, train=[1.0] * len(many), learning_rate=[1e-3] * len(many))
    figure = loss_figure([run])
    x = numbers(named(sent(figure), "training, smoothed")["x"])
    assert len(x) == MAX_CURVE_POINTS
    assert (x[0], x[-1]) == (0, many[-1])
    assert "2,000 of 20,000 steps" in figure["layout"]["xaxis"]["title"]["text"]
    assert size(figure) < 80_000


def test_lengths_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="same length"):
        Curve(name="x", steps=[0, 1], train=[1.0])
    with pytest.raises(ValueError, match="learning_rate"):
        Curve(name="x", steps=[0, 1], train=[1.0, 1.0], learning_rate=[1.0])


def test_the_small_curve_is_an_svg_of_numbers_that_falls_where_the_loss_falls() -> None:
    svg = ET.fromstring(spark_svg([4.0, math.nan, 2.0, 1.0], width=100, height=20))
    points = [tuple(map(float, p.split(","))) for p in svg[0].attrib["points"].split()]
    assert points == [(2.0, 2.0), (50.0, 12.7), (98.0, 18.0)]
    assert svg.attrib["aria-label"] == "loss from 4.00 to 1.00 nats per token"


@pytest.mark.parametrize("values", [[], [math.nan], [2.0], [3.0, 3.0], list(range(5000))])
def test_the_small_curve_of_anything_is_a_small_valid_svg(values: list[float]) -> None:
    svg = spark_svg(values)
    ET.fromstring(svg)
    assert "nan" not in svg
    assert len(svg) < 2500
