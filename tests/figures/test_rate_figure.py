"""The learning-rate curve: on a logarithmic axis that stays, with the rates that matter marked."""

import numpy as np
import pytest

from gpt2demo.figures.rates import rate_figure
from tests.figures.read_figure import numbers, sent

SPAN = (1e-6, 1.0)


def test_rates_are_drawn_on_an_axis_that_holds_them_all():
    figure = rate_figure([1e-6, 1e-3], [4.0, 9.0], [4.0, 3.0], span=SPAN, present=0.001, suggested=0.03)
    layout = sent(figure)["layout"]
    assert layout["xaxis"]["type"] == "log" and layout["xaxis"]["range"] == [-6, 0]
    low, high = layout["yaxis"]["range"]
    assert low < 3.0 and 4.0 < high < 9.0  # one wild step does not flatten the rest
    each, calm, now, suggested = sent(figure)["data"]
    assert each["opacity"] < 0.5 and each["name"] != calm["name"]
    assert now["name"] == "now: 0.001" and suggested["name"] == "suggested: 0.03"
    assert np.allclose(numbers(suggested["x"]), 0.03)


def test_before_the_first_step_there_is_an_empty_picture():
    assert len(sent(rate_figure([], [], [], span=SPAN))["data"]) == 2
    with pytest.raises(ValueError):
        rate_figure([1], [1, 2], [1], span=SPAN)
