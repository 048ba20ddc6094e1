"""Learning curves: loss and learning rate over steps or tokens, of one run or of several together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from gpt2demo.figures.colours import INK, MUTED, RUNS, VALIDATION
from gpt2demo.figures.frame import Figure, add_note, as_dict, axis, counts, every_nth, floats, new_figure
from gpt2demo.figures.text import plot_text, shorten

MAX_CURVE_POINTS = 2000
ACROSS = {  # what curves can be drawn over: the axis' title, its ticks, and what hovering says
    "steps": ("step", ",d", ",d"),
    "tokens": ("tokens seen", "~s", ",d"),
    "seconds": ("seconds of training", ",~f", ",.1f"),
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one run noted while it learned. All sequences of a pair have the same length.

    name: for the legend. steps, train: (N,) step and training loss in nats per token. validation_steps,
    validation: (M,). learning_rate: (N,) or empty. tokens, seconds: (N,) tokens seen and time of training,
    only for `x="tokens"` and `x="seconds"`.
    """

    name: str
    steps: Sequence[float]
    train: Sequence[float]
    validation_steps: Sequence[float] = ()
    validation: Sequence[float] = ()
    learning_rate: Sequence[float] = ()
    tokens: Sequence[float] = field(default=())
    seconds: Sequence[float] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.steps)
        if len(self.train) != count or len(self.validation) != len(self.validation_steps):
            raise ValueError("steps and losses of a curve must have the same length")
        if any(len(v) not in (0, count) for v in (self.learning_rate, self.tokens, self.seconds)):
            raise ValueError("learning_rate, tokens and seconds must be empty or as long as steps")


def smooth(values: ArrayLike, weight: float = 0.9) -> NDArray[np.float64]:
    """Calms a noisy curve: each point becomes a mean of itself and its past, older values counting less.

    values: (N,) -> (N,). Exponential moving average m_i = weight·m_(i-1) + (1 - weight)·v_i, started at 0 and
    divided by 1 - weight^i, the sum of the weights so far (Adam's bias correction), so that the first point
    is the first value. `weight` 0 changes nothing, 0.9 averages about 10 steps. NaN stays a gap and is not
    averaged.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be in [0, 1), got {weight}")
    series = np.asarray(values, dtype=np.float64)
    smoothed = np.full_like(series, np.nan)
    mean = total = 0.0
    for i, value in enumerate(series):
        if math.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            total = weight * total + (1 - weight)
            smoothed[i] = mean / total
    return smoothed


def loss_figure(
    runs: Sequence[Curve], *, x: str = "steps", smoothing: float = 0.9, height: int = 380
) -> Figure:
    """Shows a model learning: the lower the curve, the less the next token surprises it.

    runs: one or several Curves. Faint: the loss of every step; line: smoothed (see `smooth`); markers:
    validation loss, the best one as a star. Below, on an axis of its own, the learning rate.
    x: "steps", "tokens" or "seconds". At most 2,000 points per line are drawn, evenly chosen, and a note
    says so.
    """
    if x not in ACROSS:
        raise ValueError(f"x must be one of {', '.join(ACROSS)}, got {x!r}")
    figure = new_figure(f"loss over {x}", height=height)
    for number, run in enumerate(runs):
        look = _Look(run, number, len(runs) == 1)
        _add_training(figure, run, look, x, smoothing)
        _add_validation(figure, run, look, x)
        _add_rate(figure, run, look, x)
        if not look.alone:
            figure.add_scatter(  # nothing but the legend's key, which shows line and marker together
                x=[None],
                y=[None],
                mode="lines+markers",
                name=look.name,
                line=look.line,
                marker=look.marker,
                **look.group,
            )
    _label_axes(figure, x, any(len(run.learning_rate) for run in runs))
    if len(runs) > 1:
        add_note(figure, "line: training · markers: validation · ★ best")
    longest = max((len(run.steps) for run in runs), default=0)
    if longest > MAX_CURVE_POINTS:
        add_note(figure, f"{MAX_CURVE_POINTS:,} of {longest:,} steps drawn, smoothed over all")
    return as_dict(figure)


class _Look:
    """How a run is drawn: alone in the colours of training and validation, beside others in its own."""

    def __init__(self, run: Curve, number: int, alone: bool) -> None:
        colour, dash, symbol = RUNS[number % len(RUNS)]
        self.alone = alone
        self.name = plot_text(shorten(run.name, 40))
        self.group = {} if alone else {"legendgroup": str(number)}
        self.line = {"color": colour, "width": 2, "dash": dash}
        self.marker = {"color": VALIDATION if alone else colour, "size": 7, "symbol": symbol}

    def called(self, what: str) -> Figure:
        """The name of one line, and whether the legend lists it by itself."""
        return {
            "name": what if self.alone else f"{self.name}, {what}",
            "showlegend": self.alone,
            **self.group,
        }


def _add_training(figure: go.Figure, run: Curve, look: _Look, x: str, smoothing: float) -> None:
    kept = every_nth(len(run.steps), MAX_CURVE_POINTS)
    where = counts(_x_values(run, run.steps, x)[kept])
    figure.add_scatter(
        x=where,
        y=floats(np.asarray(run.train, dtype=float)[kept]),
        mode="lines",
        line={"color": look.line["color"], "width": 1},
        opacity=0.35,
        hoverinfo="skip",
        **look.called("training, each step"),
    )
    figure.add_scatter(
        x=where,
        y=floats(smooth(run.train, smoothing)[kept]),
        mode="lines",
        line=look.line,
        hovertemplate="%{y:.3f}",
        **look.called("training, smoothed"),
    )


def _add_validation(figure: go.Figure, run: Curve, look: _Look, x: str) -> None:
    losses = np.asarray(run.validation, dtype=float)
    if not np.isfinite(losses).any():
        return
    where = _x_values(run, run.validation_steps, x)
    kept = every_nth(len(losses), MAX_CURVE_POINTS)
    figure.add_scatter(
        x=counts(where[kept]),
        y=floats(losses[kept]),
        mode="lines+markers",
        line={"color": look.marker["color"], "width": 1, "dash": "dot"},
        marker=look.marker,
        hovertemplate="%{y:.3f}",
        **look.called("validation"),
    )
    best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
    figure.add_scatter(
        x=counts(where[[best]]),
        y=floats(losses[[best]]),
        mode="markers",
        marker={**look.marker, "size": 15, "symbol": "star", "line": {"color": INK, "width": 1}},
        hoverinfo="skip",
        **look.called(f"best validation {losses[best]:.3f}"),
    )


def _add_rate(figure: go.Figure, run: Curve, look: _Look, x: str) -> None:
    if not len(run.learning_rate):
        return
    kept = every_nth(len(run.steps), MAX_CURVE_POINTS)
    figure.add_scatter(
        x=counts(_x_values(run, run.steps, x)[kept]),
        y=floats(np.asarray(run.learning_rate, dtype=float)[kept]),
        yaxis="y2",
        mode="lines",
        line={**look.line, "width": 1.5},
        hovertemplate="%{y:.2e}",
        **{**look.called("learning rate"), "showlegend": False},
    )


def _label_axes(figure: go.Figure, x: str, with_rate: bool) -> None:
    title, ticks, hover = ACROSS[x]
    across = axis(title, tickformat=ticks, hoverformat=hover, rangemode="tozero")
    figure.update_layout(
        hovermode="x unified",
        xaxis={**across, "anchor": "y2" if with_rate else "y"},
        yaxis=axis("loss (nats per token)", domain=[0.32 if with_rate else 0, 1]),
    )
    if not with_rate:
        return
    power = {"exponentformat": "power", "showexponent": "all", "nticks": 3}
    figure.update_layout(yaxis2=axis("", domain=[0, 0.18], rangemode="tozero", fixedrange=True, **power))
    figure.add_annotation(
        text="learning rate per step",
        showarrow=False,
        font={"size": 12, "color": MUTED},
        xref="paper",
        x=0,
        xanchor="left",
        yref="y2 domain",
        y=1,
        yanchor="bottom",
    )


def _x_values(run: Curve, steps: Sequence[float], x: str) -> NDArray[np.float64]:
    """The steps themselves, or tokens or time by then (between two notes: on the line between them)."""
    wanted = np.asarray(steps, dtype=float)
    if x == "steps" or not wanted.size:
        return wanted
    noted = run.tokens if x == "tokens" else run.seconds
    if not len(noted):
        raise ValueError(f"run {run.name!r} has no {x} to draw against")
    seen: NDArray[np.float64] = np.interp(wanted, np.asarray(run.steps), np.asarray(noted))
    return seen


def spark_svg(values: ArrayLike, width: int = 120, height: int = 32) -> str:
    """A curve as small as a word, for a list of models: an inline SVG in the colour of the text around it.

    values: (N,) numbers; NaN and infinity are left out. The string holds numbers only, no text of a visitor.
    """
    series = np.asarray(values, dtype=float).ravel()
    series = series[np.isfinite(series)]
    series = series[every_nth(len(series), width)]
    size = f'width="{width:d}" height="{height:d}" viewBox="0 0 {width:d} {height:d}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"'
    if not series.size:
        return f'{head} aria-label="no losses yet"></svg>'
    low, span = series.min(), np.ptp(series) or 1.0
    across = np.linspace(2, width - 2, len(series)) if len(series) > 1 else np.array([width / 2])
    down = (height - 2) - (height - 4) * (series - low) / span
    points = " ".join(f"{a:.1f},{d:.1f}" for a, d in zip(across, down, strict=True))
    return (
        f'{head} aria-label="loss from {series[0]:.2f} to {series[-1]:.2f} nats per token">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{across[-1]:.1f}" cy="{down[-1]:.1f}" r="2" fill="currentColor"/></svg>'
    )
