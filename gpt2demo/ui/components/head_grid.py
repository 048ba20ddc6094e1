"""All attention heads of all layers as small pictures, and the chosen one large: one canvas component."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2demo.ui.components.base import HERE, Widget


def head_grid_value(
    attention: NDArray[np.floating[Any]],
    tokens: Sequence[str],
    badges: Sequence[Sequence[str]] | NDArray[np.str_] | None = None,
    layer: int | None = None,
    head: int | None = None,
    exact: Sequence[bytes] | None = None,
    title: str = "",
    allowed: NDArray[np.bool_] | None = None,
) -> str:
    """Attention (L, H, T, T) as the value of a HeadGrid.

    `tokens` are display glyphs, `exact` their bytes. Badges are (L, H) words such as "previous token" or "".
    Without `layer` and `head` the browser keeps the head that is chosen. `title` goes into saved pictures.
    `allowed` (T, T) says what may be read; the rest is drawn as masked, as the future always is.
    Only the lower triangle travels, as one byte per weight: round(sqrt(weight) · 255), exact to 0.004.
    """
    layers, heads, length, keys = attention.shape
    if length != keys or length != len(tokens):
        raise ValueError(f"attention is {attention.shape}, but there are {len(tokens)} tokens")
    rows, columns = np.tril_indices(length)
    hidden = np.zeros(0, dtype=bool) if allowed is None else ~allowed[rows, columns]
    weights = np.clip(np.nan_to_num(attention[:, :, rows, columns]), 0.0, 1.0)
    triangles = np.round(np.sqrt(weights) * 255).astype(np.uint8)
    value: dict[str, Any] = {
        "T": length,
        "L": layers,
        "H": heads,
        "tokens": list(tokens),
        "exact": [data.hex(" ") for data in exact] if exact is not None else [],
        "badges": [[str(badge) for badge in row] for row in badges] if badges is not None else [],
        "layer": layer,
        "head": head,
        "title": title,
        "hidden": base64.b64encode(hidden.tobytes()).decode("ascii") if hidden.any() else "",
        "tri": base64.b64encode(triangles.tobytes()).decode("ascii"),
    }
    return json.dumps(value)


class HeadGrid(Widget):
    """Layers × heads; `grid.select(fn)` hears the choice (`event.layer`, `event.head` of gr.EventData).

    `detail=False` shows the thumbnails only; `detail_height` is reserved for the large view.
    """

    def __init__(
        self,
        value: str = "",
        *,
        label: str = "Attention heads",
        placeholder: str = "No attention computed yet.",
        detail: bool = True,
        detail_height: int = 600,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value,
            function="heads",
            scripts=(HERE / "pen.js", HERE / "head_grid.js"),
            events=("select",),
            label=label,
            placeholder=placeholder,
            detail=detail,
            detail_height=detail_height,
            **kwargs,
        )
