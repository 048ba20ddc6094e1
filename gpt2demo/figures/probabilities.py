"""The next token as bars: what the model thought, what temperature and the filters left, what was chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from gpt2demo.figures.colours import ACCENT, INK, MUTED
from gpt2demo.figures.frame import CLEAR, Figure, as_dict, axis, floats, new_figure
from gpt2demo.figures.text import percent, plot_text, shorten


@dataclass(frozen=True, kw_only=True)
class ProbabilityRow:
    """One candidate for the next token.

    token: display form. before: its probability as the model gave it. after: its probability once temperature
    and filters were applied, 0 if cut. cut: a filter removed it. chosen: this one was written.
    """

    token: str
    before: float
    after: float
    cut: bool = False
    chosen: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(p) and -1e-6 <= p <= 1 + 1e-6 for p in (self.before, self.after)):
            raise ValueError(f"probabilities must be in [0, 1], got {self.before} and {self.after}")


def probability_figure(rows: Sequence[ProbabilityRow]) -> Figure:
    """Shows what could have come next: one bar per candidate, longer means more likely.

    rows: N candidates, drawn from top to bottom in the order given; equal tokens keep a row each. Outline:
    before temperature and filters; solid: after. Cut candidates are hatched and say "cut"; the chosen one has
    a ◆.
    """
    figure = new_figure("next token", height=96 + 26 * max(len(rows), 1))
    places = list(range(len(rows)))
    hover = [_hover(row) for row in rows]
    kept = [i for i in places if not rows[i].cut]
    removed = [i for i in places if rows[i].cut]
    _add_bars(figure, rows, kept, hover, "as the model gave it", "")
    _add_bars(figure, rows, removed, hover, "cut by a filter", "/")
    figure.add_bar(
        orientation="h",
        name="after temperature and filters",
        y=kept,
        x=floats([100 * rows[i].after for i in kept]),
        width=0.42,
        marker={"color": [ACCENT if rows[i].chosen else MUTED for i in kept]},
        hovertext=[hover[i] for i in kept],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    _add_labels(figure, rows)
    _label_axes(figure, rows)
    return as_dict(figure)


def _label_axes(figure: go.Figure, rows: Sequence[ProbabilityRow]) -> None:
    longest = max((max(row.before, row.after) for row in rows), default=1.0)
    figure.update_layout(
        barmode="overlay",
        bargap=0,
        xaxis=axis("probability (%)", range=[0, 130 * max(longest, 1e-6)], fixedrange=True),
        yaxis=axis(
            "",
            tickmode="array",
            tickvals=list(range(len(rows))),
            ticktext=[_tick(row) for row in rows],
            range=[len(rows) - 0.5, -0.5],
            showgrid=False,
            fixedrange=True,
        ),
    )


def _add_bars(
    figure: go.Figure,
    rows: Sequence[ProbabilityRow],
    places: list[int],
    hover: list[str],
    name: str,
    hatch: str,
) -> None:
    if not places:
        return
    figure.add_bar(
        orientation="h",
        name=name,
        y=places,
        x=floats([100 * rows[i].before for i in places]),
        width=0.78,
        marker={
            "color": CLEAR,
            "line": {"color": MUTED, "width": 1},
            "pattern": {"shape": hatch, "fgcolor": MUTED, "size": 6},
        },
        hovertext=[hover[i] for i in places],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _add_labels(figure: go.Figure, rows: Sequence[ProbabilityRow]) -> None:
    """The numbers at the ends of the bars; they take part in no hover and no legend."""
    figure.add_scatter(
        x=floats([100 * max(row.before, row.after) for row in rows]),
        y=list(range(len(rows))),
        mode="text",
        text=[f" {percent(row.before)} · cut" if row.cut else f" {percent(row.after)}" for row in rows],
        textposition="middle right",
        textfont={"color": INK, "size": 12},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _tick(row: ProbabilityRow) -> str:
    return ("◆ " if row.chosen else "") + plot_text(shorten(row.token))


def _hover(row: ProbabilityRow) -> str:
    end = "cut by a filter" if row.cut else f"after temperature and filters: {percent(row.after)}"
    chosen = "<br>◆ chosen" if row.chosen else ""
    return f"{plot_text(row.token)}<br>as the model gave it: {percent(row.before)}<br>{end}{chosen}"
