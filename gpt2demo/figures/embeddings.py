"""The map of a model's vocabulary: token embeddings as points that can be turned, searched and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from gpt2demo.figures.colours import ACCENT, AMOUNT, INK, SURFACE, TOKEN_KINDS, kind_mark
from gpt2demo.figures.frame import (
    CLEAR,
    Figure,
    add_note,
    as_dict,
    axis,
    colour_bar,
    every_nth,
    floats,
    new_figure,
)
from gpt2demo.figures.text import plot_text, shorten

MAX_POINTS = 5000


@dataclass(frozen=True)
class Amount:
    """A number to colour by: what its colour bar and its hover say, and whether it spans decades."""

    title: str
    hover: str
    logarithmic: bool = False


AMOUNTS: Mapping[str, Amount] = {
    "frequency": Amount("times in the training text", "{:,.0f} times in the text", True),
    "norm": Amount("length of the vector", "vector length {:.3f}"),
    "drift": Amount("distance moved in training", "moved by {:.3f}"),
}


@dataclass(frozen=True)
class _Cloud:
    """The points with what is known of each, and the ids of those that are drawn."""

    points: NDArray[np.float32]
    tokens: Sequence[str]
    kinds: Sequence[str]
    ids: NDArray[np.intp]

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] not in (2, 3):
            raise ValueError(f"points must be (V, 2) or (V, 3), got {self.points.shape}")
        if not len(self.points) == len(self.tokens) == len(self.kinds):
            sizes = f"{len(self.points)}, {len(self.tokens)} and {len(self.kinds)}"
            raise ValueError(f"points, tokens and kinds must be equally many, got {sizes}")

    @property
    def flat(self) -> bool:
        return int(self.points.shape[1]) == 2

    def draw(self, figure: go.Figure, ids: NDArray[np.intp], **settings: Any) -> None:
        """These points as WebGL dots in 2D or as a turnable cloud in 3D, each with its token and its id."""
        across, up, *deep = self.points[ids].T
        kind = {"type": "scattergl"} if self.flat else {"type": "scatter3d", "z": deep[0]}
        text = [plot_text(self.tokens[i]) for i in ids]
        common = {"mode": "markers", "text": text, "customdata": ids.astype(np.int32)}
        figure.add_trace({**kind, "x": across, "y": up, **common, **settings})

    def dot_size(self) -> int:
        large = 9 if len(self.ids) <= 120 else 7 if len(self.ids) <= 1000 else 5
        return large if self.flat else large // 2


def embedding_figure(
    points: ArrayLike,
    tokens: Sequence[str],
    kinds: Sequence[str],
    *,
    colour_by: str = "kind",
    values: ArrayLike | None = None,
    explained: Sequence[float] | None = None,
    highlight: Sequence[tuple[int, str]] = (),
    height: int = 560,
) -> Figure:
    """Draws every token as a point: tokens that the model treats alike lie close together.

    points: (V, 2) or (V, 3). tokens: (V,) display forms, index = token id. kinds: (V,) names of kinds.
    colour_by: "kind", or "frequency", "norm" or "drift" with values (V,). explained: share of the variance
    (0–1) per axis. highlight: (id, label) pairs, the searched token first, then its neighbours; always drawn.
    Up to 5,000 points are shown, evenly spread over the ids, and a note says so. Each carries its id in
    `customdata`.
    """
    cloud = _Cloud(floats(points), tokens, kinds, every_nth(len(tokens), MAX_POINTS))
    figure = new_figure(f"embeddings in {2 if cloud.flat else 3}D", height=height)
    figure.update_layout(legend={"itemsizing": "constant"})
    if colour_by == "kind":
        _add_kinds(figure, cloud)
    else:
        _add_amounts(figure, cloud, colour_by, values)
    if highlight:
        figure.update_traces(marker={"opacity": 0.45})
        _add_highlight(figure, cloud, highlight)
    _label_axes(figure, 2 if cloud.flat else 3, explained)
    if len(cloud.ids) < len(tokens):
        add_note(figure, f"{len(cloud.ids):,} of {len(tokens):,} tokens drawn, evenly chosen")
    return as_dict(figure)


def _add_kinds(figure: go.Figure, cloud: _Cloud) -> None:
    known = list(TOKEN_KINDS)
    present = {cloud.kinds[i] for i in cloud.ids}
    for kind in sorted(present, key=lambda name: (known.index(name) if name in known else len(known), name)):
        chosen = np.array([i for i in cloud.ids if cloud.kinds[i] == kind])
        mark = kind_mark(kind)
        name = plot_text(kind)
        look = {"color": mark.colour, "symbol": mark.symbol, "size": cloud.dot_size(), "opacity": 0.75}
        hover = "%{text}<br>token %{customdata}, " + name + "<extra></extra>"
        cloud.draw(figure, chosen, name=name, marker=look, hovertemplate=hover)


def _add_amounts(figure: go.Figure, cloud: _Cloud, colour_by: str, values: ArrayLike | None) -> None:
    amount = AMOUNTS.get(colour_by)
    if amount is None:
        raise ValueError(f"colour_by must be kind, {', '.join(AMOUNTS)}, got {colour_by!r}")
    if values is None or np.shape(values) != (len(cloud.points),):
        raise ValueError(f"colour_by={colour_by!r} needs one value per token")
    exact = floats(values)[cloud.ids]
    bar: Figure = {}
    shade = exact
    if amount.logarithmic:
        shade = np.log10(np.maximum(exact, 0) + 1)
        highest = int(shade.max(initial=0))
        decades = [0, *(10**power for power in range(0, highest + 1, 1 if highest < 5 else 2))]
        bar = {"tickvals": [float(np.log10(n + 1)) for n in decades], "ticktext": [f"{n:,}" for n in decades]}
    scale = {"colorscale": AMOUNT, "showscale": True, "colorbar": colour_bar(amount.title, **bar)}
    details = zip((plot_text(cloud.kinds[i]) for i in cloud.ids), exact, strict=True)
    cloud.draw(
        figure,
        cloud.ids,
        name="tokens",
        showlegend=False,
        marker={"color": shade, "size": cloud.dot_size(), **scale},
        hovertext=[f"{kind}, {amount.hover.format(value)}" for kind, value in details],
        hovertemplate="%{text}<br>token %{customdata}, %{hovertext}<extra></extra>",
    )


def _add_highlight(figure: go.Figure, cloud: _Cloud, highlight: Sequence[tuple[int, str]]) -> None:
    """The searched token and rings round its neighbours, each with its label written beside it."""
    ids = np.array([index for index, _ in highlight])
    rings = len(ids) - 1
    cloud.draw(
        figure,
        ids,
        name="searched token and its neighbours",
        showlegend=False,
        marker={
            "color": ACCENT,
            "symbol": ["star" if cloud.flat else "diamond"] + ["circle-open"] * rings,
            "size": [16 if cloud.flat else 7] + [14 if cloud.flat else 8] * rings,
            "line": {"width": 2, "color": ACCENT},
            "opacity": 1,
        },
        hovertemplate="%{text}<br>token %{customdata}<extra></extra>",
    )
    places = [dict(zip("xyz", point, strict=False)) for point in cloud.points[ids].tolist()]
    texts = [shorten(label, 24) for _, label in highlight]
    spots = (
        _label_spots(cloud, ids, texts, figure.layout.height) if cloud.flat else [_spot(1, 1, 0)] * len(ids)
    )
    notes = [
        {**place, "text": plot_text(text), **_LABEL, **spot}
        for place, text, spot in zip(places, texts, spots, strict=True)
    ]
    figure.update_layout({"annotations": notes} if cloud.flat else {"scene": {"annotations": notes}})


def _label_spots(cloud: _Cloud, ids: NDArray[np.intp], texts: Sequence[str], height: float) -> list[Figure]:
    """Where each label stands: beside its point, or farther off with a line where it would cover another one.

    Plotly places a label without looking at the others. How many pixels a unit has is reckoned for a map as
    wide as it is high; on a wider or narrower one labels stand apart less exactly.
    """
    points = cloud.points[ids].astype(np.float64)
    known = cloud.points[np.isfinite(cloud.points).all(axis=1)]  # NaN: not drawn
    pixels = 0.75 * height / max(float(np.ptp(known, axis=0).max(initial=0)) if len(known) else 0, 1e-9)
    taken: list[tuple[float, float, float, float]] = []
    spots = []
    for (across, up), text in zip(np.nan_to_num(points * pixels), texts, strict=True):
        width = _LETTER * len(text) + 4
        best = (np.inf, _spot(1, 1, 0), (0.0, 0.0, 0.0, 0.0))
        for row, above, right in ((r, v, h) for r in range(_ROWS) for v in (1, -1) for h in (1, -1)):
            left = across + 8 if right > 0 else across - 8 - width
            low = up + above * (6 + _LINE * (row + 0.5)) - _LINE / 2
            box = (left, left + width, low, low + _LINE)
            covered = sum(_shared(box, other) for other in taken)
            if covered < best[0]:
                best = (covered, _spot(right, above, row), box)
            if covered == 0:
                break
        taken.append(best[2])
        spots.append(best[1])
    return spots


def _shared(one: tuple[float, float, float, float], two: tuple[float, float, float, float]) -> float:
    """The area that two boxes (left, right, low, high) have in common."""
    across = min(one[1], two[1]) - max(one[0], two[0])
    return max(0.0, across) * max(0.0, min(one[3], two[3]) - max(one[2], two[2]))


def _spot(right: int, above: int, row: int) -> Figure:
    """A label right or left of its point, above or below it; from the second row on a line leads there."""
    side: Figure = {"xanchor": "left" if right > 0 else "right"}
    if row == 0:
        beside = {"yanchor": "bottom" if above > 0 else "top", "xshift": 8 * right, "yshift": 6 * above}
        return {**side, **beside, "showarrow": False}
    away = {"ax": 8 * right, "ay": -above * (6 + _LINE * (row + 0.5)), "yanchor": "middle"}
    return {**side, **away, "showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": ACCENT}


_LINE, _LETTER, _ROWS = 21, 8.5, 5  # pixels of a label's height and of a letter's width; rows tried
_LABEL: Figure = {
    "font": {"color": INK, "size": 13},
    "bgcolor": SURFACE,
    "opacity": 0.9,
    "borderpad": 1,
}


def _label_axes(figure: go.Figure, dimensions: int, explained: Sequence[float] | None) -> None:
    if explained is not None and len(explained) < dimensions:
        raise ValueError(f"explained has {len(explained)} shares for {dimensions} axes")
    titles = [
        f"dimension {i + 1}" if explained is None else f"PC {i + 1} ({100 * explained[i]:.1f} % of variance)"
        for i in range(dimensions)
    ]
    if dimensions == 2:
        figure.update_layout(xaxis=axis(titles[0]), yaxis=axis(titles[1], scaleanchor="x"), dragmode="pan")
        return
    walls = {"backgroundcolor": CLEAR, "showspikes": False}
    grid = {"zeroline": False, "nticks": 5, "tickfont": {"size": 10}}
    axes = [{"title": {"text": title, "font": {"size": 12}}, **grid, **walls} for title in titles]
    camera = {"eye": {"x": 1.8, "y": 1.8, "z": 1.0}}
    figure.update_layout(
        scene={"xaxis": axes[0], "yaxis": axes[1], "zaxis": axes[2], "aspectmode": "data", "camera": camera}
    )
