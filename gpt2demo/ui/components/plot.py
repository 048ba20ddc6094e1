"""A Plotly picture that lives long: it is updated in place, keeps zoom and legend, and reports clicks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from gpt2demo.ui.components.base import HERE, Widget
from gpt2demo.ui.palette import light_to_variable


def plotly_script() -> Path:
    """The plotly.min.js inside the installed plotly package."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


def plot_value(figure: Mapping[str, Any] | None, *, name: str = "figure", csv: str | None = None) -> str:
    """Write a plotly figure dict as the value of a PlotlyPlot; `name` is the file name of what is saved."""
    if figure is None:
        return ""
    value: dict[str, Any] = {"figure": figure, "name": name}
    if csv is not None:
        value["csv"] = csv
    return json.dumps(value, default=_plain)


class PlotlyPlot(Widget):
    """One long-lived Plotly div. `plot.point(fn)` hears clicks on points when `click=True`."""

    def __init__(
        self,
        value: str = "",
        *,
        label: str = "Picture",
        height: int = 380,
        placeholder: str = "Nothing to draw yet.",
        click: bool = False,
        tools: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value,
            function="plot",
            scripts=(plotly_script(), HERE / "plot.js"),
            events=("point",),
            label=label,
            height=height,
            placeholder=placeholder,
            click=click,
            tools=tools,
            palette=light_to_variable(),
            **kwargs,
        )


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
