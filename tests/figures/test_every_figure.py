"""What holds for every picture: plain data, no look of its own, and no room but its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2demo.figures
from gpt2demo.figures.attention import attention_figure
from gpt2demo.figures.colours import DARK
from gpt2demo.figures.curves import Curve, loss_figure
from gpt2demo.figures.embeddings import embedding_figure
from gpt2demo.figures.positions import position_figure
from gpt2demo.figures.probabilities import ProbabilityRow, probability_figure
from gpt2demo.figures.rates import rate_figure
from tests.figures.read_figure import imports, sent, strings

EVERY = {
    "loss": loss_figure([Curve(name="a", steps=[0, 1], train=[2, 1], learning_rate=[1, 0])]),
    "attention": attention_figure(np.eye(2), ["a", "b"]),
    "embedding 2D": embedding_figure(np.eye(2), ["a", "b"], ["byte", "byte"], highlight=[(0, "a")]),
    "embedding 3D": embedding_figure(
        np.eye(3), list("abc"), ["byte"] * 3, colour_by="norm", values=[1, 2, 3]
    ),
    "position": position_figure(np.eye(2)),
    "probability": probability_figure([ProbabilityRow(token="a", before=0.5, after=1.0, chosen=True)]),
    "rates": rate_figure([0.1, 1], [2, 1], [2, 1], span=(0.1, 1), present=0.1, suggested=1),
}


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_a_figure_is_plain_data_without_a_look_of_its_own(figure: dict[str, Any]) -> None:
    layout = sent(figure)["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert layout["uirevision"]
    assert "family" not in layout["font"] and "color" not in layout["font"]
    assert len(str(layout["template"])) < 100
    axes = [axis for key, axis in layout.items() if "axis" in key]
    assert not any(key in axis for axis in axes for key in ("gridcolor", "linecolor", "color"))


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_every_colour_that_is_named_is_known_to_a_dark_page(figure: dict[str, Any]) -> None:
    used = {s for s in strings(sent(figure)) if s.startswith("#")}
    assert used <= set(DARK)


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_nothing_is_drawn_on_an_axis_of_names(figure: dict[str, Any]) -> None:
    for trace in sent(figure)["data"]:
        for key in "xyz":
            assert not any(isinstance(value, str) for value in np.ravel(trace.get(key, [])))


def test_figures_know_neither_torch_nor_gradio() -> None:
    files = sorted(Path(gpt2demo.figures.__file__).parent.glob("*.py"))
    assert len(files) > 5
    used = set().union(*(imports(path) for path in files))
    assert "plotly" in used
    assert not used & {"torch", "gradio", "transformers"}
