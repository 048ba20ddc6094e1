"""The few custom parts that every tab shares."""

from gpt2demo.ui.components.head_grid import HeadGrid, head_grid_value
from gpt2demo.ui.components.numbers import Number, Slider
from gpt2demo.ui.components.plot import PlotlyPlot, plot_value
from gpt2demo.ui.components.run_view import RunView, run_value
from gpt2demo.ui.components.safe_html import SafeHTML
from gpt2demo.ui.components.token_columns import TokenColumns, column_line, in_column
from gpt2demo.ui.components.token_strip import (
    TokenStrip,
    select_line,
    status_line,
    strip_start,
    strip_value,
    token_line,
)

__all__ = [
    "HeadGrid",
    "Number",
    "PlotlyPlot",
    "RunView",
    "SafeHTML",
    "Slider",
    "TokenColumns",
    "TokenStrip",
    "column_line",
    "head_grid_value",
    "in_column",
    "plot_value",
    "run_value",
    "select_line",
    "status_line",
    "strip_start",
    "strip_value",
    "token_line",
]
