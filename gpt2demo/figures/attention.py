"""The attention map of one head: which earlier tokens each token reads, and how much."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gpt2demo.figures.colours import ATTENTION, MASKED, Scale
from gpt2demo.figures.frame import Figure, as_dict, axis, colour_bar, every_nth, new_figure, square
from gpt2demo.figures.text import token_ticks

MAX_ATTENTION_TOKENS = 512
MAX_LABELS = 28
STRETCH = 3.0


def attention_figure(
    weights: ArrayLike, tokens: Sequence[str], *, stretch: bool = False, height: int = 560
) -> Figure:
    """Shows what one attention head reads: each row is a token, and its cells say where it looked.

    weights: (T, T), row = query, column = key, each row a share that sums to 1. tokens: (T,) display forms.
    The colours always span 0 to 1, so that two heads or two steps of training can be compared. The triangle
    above the diagonal is the future, which a token cannot read: grey, and silent on hover; so are NaN cells.
    `stretch` gives small weights more of the colours (weight^(1/3)); the numbers and the colour bar stay
    true.
    """
    matrix = square(weights, "weights")
    count = len(matrix)
    if len(tokens) != count:
        raise ValueError(f"{count} rows of weights but {len(tokens)} tokens")
    if count > MAX_ATTENTION_TOKENS:
        raise ValueError(f"at most {MAX_ATTENTION_TOKENS} tokens fit in one picture, got {count}")
    visible = np.where(np.tri(count, dtype=bool), matrix, np.float32(np.nan))
    figure = new_figure(f"attention of {count} tokens", height=height)
    _add_mask(figure, count)
    title = "share of attention (stretched colours)" if stretch else "share of attention"
    figure.add_heatmap(
        z=visible,
        zmin=0,
        zmax=1,
        colorscale=_stretched(ATTENTION) if stretch else ATTENTION,
        colorbar=colour_bar(title),
        hoverongaps=False,
        hovertemplate="%{y} → %{x} : %{z:.3f}<extra></extra>",
        name="attention",
    )
    _add_axes(figure, tokens)
    return as_dict(figure)


def _add_mask(figure: go.Figure, count: int) -> None:
    """One grey cell as large as the map: it lies underneath and shows wherever the map has no number."""
    middle = (count - 1) / 2
    grey = [(0, MASKED), (1, MASKED)]
    place = {"x0": middle, "dx": count, "y0": middle, "dy": count}
    figure.add_heatmap(z=[[0]], **place, colorscale=grey, showscale=False, hoverinfo="skip", name="masked")


def _add_axes(figure: go.Figure, tokens: Sequence[str]) -> None:
    """Two pairs of axes: x and y name every cell on hover, x2 and y2 show as many labels as fit."""
    count = len(tokens)
    shown = every_nth(count, MAX_LABELS).tolist()
    short, full = token_ticks(tokens, 10), token_ticks(tokens, 60)
    few = {"tickmode": "array", "tickvals": shown, "ticktext": [short[i] for i in shown]}
    every = {"tickmode": "array", "tickvals": list(range(count)), "ticktext": full}
    bare = {"showgrid": False, "showline": False, "zeroline": False, "ticks": ""}
    small = {**bare, "tickfont": {"size": 11 if count <= 18 else 9}}
    wide = {"range": [-0.5, count - 0.5], "constrain": "domain", "constraintoward": "left"}
    tall = {"range": [count - 0.5, -0.5], "constrain": "domain", "constraintoward": "top", "scaleanchor": "x"}
    over = {"side": "bottom", "overlaying": "x", "matches": "x", "anchor": "y2", **wide, **small, **few}
    left = {"side": "left", "overlaying": "y", "matches": "y", "anchor": "x2", **tall, **small, **few}
    figure.update_layout(
        xaxis={"showticklabels": False, **wide, **bare, **every},
        yaxis={"showticklabels": False, **tall, **bare, **every},
        xaxis2=axis("key (is read)", tickangle=-60, **over),
        yaxis2=axis("query (reads)", **left),
    )
    figure.add_scatter(x=[None], y=[None], xaxis="x2", yaxis="y2", showlegend=False, hoverinfo="skip")


def _stretched(scale: Scale) -> Scale:
    """The same colours moved towards 0: a weight w gets about the colour that w^(1/3) had."""
    return [(stop**STRETCH, colour) for stop, colour in scale]
