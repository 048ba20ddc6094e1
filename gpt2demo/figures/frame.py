"""What every figure shares: a bare transparent frame, and the way from a plotly object to plain JSON."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from gpt2demo.figures.colours import MUTED

Figure = dict[str, Any]
CLEAR = "rgba(0,0,0,0)"


def new_figure(revision: str, *, height: int) -> go.Figure:
    """An empty picture; fonts, axes and hover labels get their look from the page's theme.

    revision: equal as long as the axes mean the same, so that zoom and hidden curves survive an update.
    """
    return go.Figure(
        layout={
            "template": "none",
            "uirevision": revision,
            "height": height,
            "autosize": True,
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "font": {"size": 13},
            "margin": {"l": 8, "r": 16, "t": 16, "b": 8},
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        }
    )


def axis(title: str, **settings: Any) -> Figure:
    """An axis with its title and room for its labels; the page's theme gives it its colours."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 13}},
        "automargin": True,
        "zeroline": False,
        **settings,
    }


def colour_bar(title: str, **settings: Any) -> Figure:
    """The legend of a colour scale with its title, lying above the picture, where it costs no width."""
    return {
        "title": {"text": title, "side": "top", "font": {"size": 13}},
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": 1.0,
        "yanchor": "bottom",
        "ypad": 6,
        "lenmode": "pixels",
        "len": 240,
        "xpad": 0,
        "thickness": 10,
        "outlinewidth": 0,
        "ticklen": 3,
        **settings,
    }


def add_note(figure: go.Figure, text: str) -> None:
    """Writes a sentence under the picture, such as what was left out. `text` is ours, never a visitor's."""
    if figure.layout.xaxis.title.text is None:
        place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 0, "yanchor": "bottom"}
        figure.add_annotation(text=text, showarrow=False, font={"size": 12, "color": MUTED}, **place)
        return
    figure.layout.xaxis.title.text += f'<br><span style="font-size:12px">{text}</span>'


def floats(values: ArrayLike) -> NDArray[np.float32]:
    """The numbers as float32, which travel as 4 bytes each instead of 20 digits."""
    return np.ascontiguousarray(values, dtype=np.float32)


def counts(values: ArrayLike) -> NDArray[np.int32] | NDArray[np.float64]:
    """Whole numbers such as steps or tokens seen, in 4 bytes each where they fit."""
    whole: NDArray[np.float64] = np.asarray(values, dtype=np.float64).round()
    return whole.astype(np.int32) if bool((np.abs(whole) < 2**31).all()) else whole


def square(matrix: ArrayLike, name: str) -> NDArray[np.float32]:
    """The (N, N) matrix as float32; ValueError for another shape, which is the caller's mistake."""
    array = floats(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise ValueError(f"{name} must be (N, N) with N > 0, got {array.shape}")
    return array


def every_nth(total: int, limit: int) -> NDArray[np.intp]:
    """At most `limit` of the indices 0 … total - 1, evenly spread, always with the first and the last."""
    if total <= limit:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, limit).round().astype(np.intp))


def as_dict(figure: go.Figure) -> Figure:
    """The figure as plain data: dicts, lists, strings, numbers, and arrays as base64 of their bytes."""
    plain: Figure = _plain(figure.to_dict())
    return plain


def _plain(value: Any) -> Any:
    """Lists for the arrays that plotly leaves as they are: the empty ones."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
