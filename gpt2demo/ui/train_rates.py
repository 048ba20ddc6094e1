"""Trying out learning rates on the Train tab: a button, a curve, a sentence, and "Use it"."""

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from gpt2demo.figures.rates import rate_figure
from gpt2demo.runs.rate_searches import RateSearches
from gpt2demo.training.finder import HIGHEST_RATE, LOWEST_RATE, Suggestion, Trial, suggest
from gpt2demo.ui.components import plot_value
from gpt2demo.ui.escape import Safe
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.text import learning as words
from gpt2demo.ui.theme import hint
from gpt2demo.ui.train_form import Form
from gpt2demo.ui.train_form_part import FormPart

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


class RatesPart:
    """The handlers behind the buttons."""

    def __init__(self, form_part: FormPart) -> None:
        self.planner = form_part.planner
        self.searches = RateSearches(form_part.services.store, form_part.estimator)
        form, shown = form_part.form, form_part.form.learning.rates
        outputs = [shown.note, shown.drawn, shown.plot, shown.found, shown.use]
        searched = shown.begin.click(self.search, form.controls, outputs, **QUIET)
        searched.failure(lambda: hint(words.TRY_RATES_INFO), None, shown.note, **QUIET)  # no step goes on
        shown.use.click(self.use, shown.found, [form.rate, shown.use], **QUIET)

    @guarded
    def search(self, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Tries out rates for the run that the form describes.

        Yields the sentence, the part with the curve, the curve, the rate that was found, and "Use it".
        """
        plan = self.planner.plan(Form.of(values)).run
        present = plan.training.learning_rate
        disturbs = words.DISTURBS if self.searches.training_now() else ""
        hidden = gr.update(visible=False)
        yield hint(words.BEGINS + disturbs), gr.skip(), gr.skip(), None, hidden
        trials: tuple[Trial, ...] = ()
        for seen in self.searches.watch(plan):
            if len(seen) > len(trials):
                trials = seen
                going = words.GOING.format(step=len(trials), steps=trials[-1].steps)
                curve = _curve(trials, present)
                yield hint(going + disturbs), gr.update(visible=True), curve, None, hidden
        found = suggest(trials)
        curve = _curve(trials, present, found.learning_rate)
        yield (
            said(found, present),
            gr.update(visible=True),
            curve,
            found.learning_rate,
            gr.update(visible=True),
        )

    @guarded
    def use(self, found: Any) -> tuple[Any, Any]:
        """Fills in the rate that was found. → the field of the rate, the button, which has done its work"""
        if not isinstance(found, float):
            return gr.skip(), gr.update(visible=False)
        return found, gr.update(visible=False)


def said(found: Suggestion, present: float) -> Safe:
    """What was found, beside the rate that the run has now, and what it does not tell."""
    explodes = words.EXPLODES.format(rate=found.explodes) if found.explodes else words.NEVER_EXPLODES
    rates = {"suggested": found.learning_rate, "present": present, "lowest": found.lowest}
    return hint(words.FOUND.format(**rates, explodes=explodes))


def _curve(trials: Sequence[Trial], present: float, suggested: float | None = None) -> str:
    figure = rate_figure(
        [trial.learning_rate for trial in trials],
        [trial.loss for trial in trials],
        [trial.smoothed for trial in trials],
        span=(LOWEST_RATE, HIGHEST_RATE),
        present=present,
        suggested=suggested,
    )
    return plot_value(figure, name="learning-rates")
