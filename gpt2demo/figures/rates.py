"""The learning-rate curve: what became of the loss while the rate grew until it was too large."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gpt2demo.figures.colours import ACCENT, MUTED, TRAINING
from gpt2demo.figures.frame import Figure, as_dict, axis, floats, new_figure

ABOVE = 1.2  # nats above its beginning, where the picture of a loss that explodes is cut off
BELOW = 0.1


def rate_figure(
    rates: ArrayLike,
    losses: ArrayLike,
    smoothed: ArrayLike,
    *,
    span: tuple[float, float],
    present: float | None = None,
    suggested: float | None = None,
    height: int = 300,
) -> Figure:
    """Shows at which learning rates a model learns: the loss falls, lies flat, and explodes.

    rates, losses, smoothed: (N,) each, N may be 0; losses in nats per token. span: the smallest and the
    largest rate of the whole search, so that the curve grows in a picture that stays. present: the rate that
    the run has now. suggested: the one that was found.
    """
    where, raw, calm = (np.asarray(values, dtype=float).ravel() for values in (rates, losses, smoothed))
    if not len(where) == len(raw) == len(calm):
        raise ValueError("rates, losses and smoothed must have the same length")
    figure = new_figure("loss over learning rates", height=height)
    figure.add_scatter(
        x=floats(where),
        y=floats(raw),
        name="each step",
        mode="lines",
        line={"color": TRAINING, "width": 1},
        opacity=0.35,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=floats(where),
        y=floats(calm),
        name="smoothed",
        mode="lines",
        line={"color": TRAINING, "width": 2},
        hovertemplate="rate %{x:.2g}: loss %{y:.3f}<extra></extra>",
    )
    low, high = (float(np.nanmin(calm)) - BELOW, float(calm[0]) + ABOVE) if len(calm) else (0.0, 1.0)
    _mark(figure, present, "now", {"color": MUTED, "width": 1.5, "dash": "dash"}, (low, high))
    _mark(figure, suggested, "suggested", {"color": ACCENT, "width": 2}, (low, high))
    ends = [math.log10(end) for end in span]
    figure.update_layout(
        xaxis=axis("learning rate", type="log", range=ends, exponentformat="power", dtick=1),
        yaxis=axis("loss (nats per token)", range=[low, high]),
    )
    return as_dict(figure)


def _mark(figure: go.Figure, rate: float | None, name: str, line: Figure, heights: Sequence[float]) -> None:
    """A line from the bottom to the top at one rate."""
    if rate is not None:
        figure.add_scatter(
            x=floats([rate, rate]),
            y=floats(heights),
            name=f"{name}: {rate:.2g}",
            mode="lines",
            line=line,
            hoverinfo="skip",
        )
