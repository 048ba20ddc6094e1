"""A training run as it goes on: the view asks the server by itself and survives reloads and lost lines."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from gpt2demo.ui.components.base import HERE, Widget
from gpt2demo.ui.components.plot import plotly_script
from gpt2demo.ui.palette import light_to_variable


def run_value(run: str | None) -> str:
    """The value of a RunView: the run to show. Each call is new, so that the view looks again."""
    return json.dumps({"run": run or "", "nonce": uuid.uuid4().hex[:8]})


class RunView(Widget):
    """Loss chart, numbers and samples of one run.

    `poll([run, after_step])` is called from the browser (check what it gets) and returns a dict
    {"run", "steps": [[step, train_loss, val_loss|None, learning_rate, gradient_norm, tokens_per_second,
    elapsed], …] with step > after_step, "samples": [{"step", "prompt", "text"}, …] all, "status": {"state",
    "message", "step", "steps_planned", "tokens", "time_left", "val_loss", "best_step", "bits_per_character",
    "accuracy", "parameters", "unsaved", "diverged_at", "slower"}, "snapshots": [step, …]}. It is asked again
    at once when it sent 1,000 steps, and from the first step on when a run went back to go on slower.
    Events: `view.snapshot(fn)` (`event.step`), `view.finished(fn)` (`event.state`), both with `event.run`.
    """

    def __init__(
        self,
        value: str = "",
        *,
        poll: Callable[[list[Any]], dict[str, Any]],
        label: str = "Training run",
        placeholder: str = "No run yet: choose a text and press Start.",
        chart_height: int = 420,
        feed_height: int = 320,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value,
            function="run",
            scripts=(plotly_script(), HERE / "plot.js", HERE / "run_view.js"),
            events=("snapshot", "finished"),
            server_functions=[poll],
            poll_name=poll.__name__,
            label=label,
            placeholder=placeholder,
            chart_height=chart_height,
            feed_height=feed_height,
            palette=light_to_variable(),
            **kwargs,
        )
