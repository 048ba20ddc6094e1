"""The form of the Train tab: it answers while it is filled in, and says what a run would be."""

import json
import time
from typing import Any

import gradio as gr
from gradio.context import Context

from gpt2demo.errors import UserError
from gpt2demo.model.config import PRESETS
from gpt2demo.text.documents import ENCODINGS, EncodingError
from gpt2demo.training.estimate import Estimator
from gpt2demo.ui import train_report
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Page, said
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint, pieces
from gpt2demo.ui.train_form import Form
from gpt2demo.ui.train_layout import FormLayout
from gpt2demo.ui.train_planner import Planned, Planner

# A size brings its own context and dropout: set in the browser, so that a quick Start finds them set.
BROUGHT = {name: [shape["n_positions"], shape["dropout"]] for name, shape in PRESETS.items()}
SIZE_BRINGS = f"(size) => ({json.dumps(BROUGHT)})[size] || []"
LAST_WORDS = 5.0  # seconds
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


class FormPart:
    """The handlers behind the form."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.planner = Planner(page.services.samples, page.services.models)
        self.estimator = Estimator()
        self.form = FormLayout(page.services.samples, page.ref)
        self._wire()

    def _wire(self) -> None:
        form = self.form
        form.source.change(
            self.choose_source, form.source, [form.sample, form.upload_part, form.pasted], **QUIET
        )
        form.sample.change(self.about_sample, form.sample, form.sample, **QUIET)
        form.budget.change(self.choose_budget, form.budget, [form.minutes, form.steps, form.epochs], **QUIET)
        form.tokenizer.change(
            lambda kind: gr.update(visible=kind != "char"), form.tokenizer, form.vocabulary, **QUIET
        )
        form.begin.change(self.choose_beginning, form.begin, [form.new_part, form.variants.part], **QUIET)
        form.size.input(None, form.size, [form.context, form.dropout], js=SIZE_BRINGS)
        form.files.change(lambda: None, None, form.encoding, **QUIET)
        answers = [form.report, form.strip, form.encoding, form.about_model, form.estimate]
        changes = [
            *(part.change for part in (form.source, form.sample, form.files, form.encoding, form.pasted)),
            *(part.change for part in (form.tokenizer, form.size, form.context, form.dropout, form.budget)),
            *(part.change for part in (form.minutes, form.steps, form.epochs, form.optimizer, form.batch)),
            *(part.change for part in (form.vocabulary, form.rate, form.seed, form.prompt, form.batches)),
            *(part.change for part in (form.precision, form.knobs)),
            *(part.change for part in (form.begin, form.hand)),
            *(part.change for part in (*form.variants.controls, *form.learning.controls)),
        ]
        looked = gr.on(changes, self.look, form.controls, answers, trigger_mode="always_last", **QUIET)
        looked.then(self.measure, form.controls, form.estimate, trigger_mode="always_last", **QUIET)
        if Context.root_block is not None:
            Context.root_block.load(self.look, form.controls, answers, **QUIET).then(
                self.measure, form.controls, form.estimate, **QUIET
            )

    def choose_source(self, source: Any) -> tuple[Any, ...]:
        """Shows the controls of the chosen source only."""
        return (
            gr.update(visible=source == "sample"),
            gr.update(visible=source == "upload"),
            gr.update(visible=source == "paste"),
        )

    def choose_beginning(self, begin: Any) -> tuple[Any, ...]:
        """A model that goes on learning brings its size and its tokens."""
        return (gr.update(visible=begin == "new"),) * 2

    def about_sample(self, key: Any) -> Any:
        """Says what the chosen sample is."""
        sample = self.planner.samples.get(key) if isinstance(key, str) else None
        return gr.update(info=sample.about) if sample else gr.skip()

    def choose_budget(self, budget: Any) -> tuple[Any, ...]:
        """Shows the control of the chosen budget only."""
        return tuple(gr.update(visible=budget == name) for name in ("minutes", "steps", "epochs"))

    @guarded
    def look(self, *values: Any) -> tuple[Any, ...]:
        """What the form comes to: → report, first tokens, encodings to choose, model, estimate"""
        form = Form.of(values)
        asks = gr.update(visible=form.source == "upload" and bool(form.encoding))
        try:
            planned = self.planner.plan(form)
            self.services.store.quotas.check_time(planned.run.training)
        except EncodingError as error:
            return train_report.refusal(error), "", self._ask_encoding(error, form), pieces(), pieces()
        except UserError as error:
            return train_report.refusal(error), "", asks, pieces(), pieces()
        return (
            train_report.text_report(planned),
            train_report.first_lines(planned),
            asks,
            train_report.model_report(planned, self.services.store.memory_bytes),
            self._estimate(planned, measure=False),
        )

    @guarded
    def measure(self, *values: Any) -> Any:
        """Tries out how fast this machine trains such a model, if that is not known yet."""
        try:
            planned = self.planner.plan(Form.of(values))
        except UserError:
            return pieces()
        return self._estimate(planned, measure=True)

    def measure_after(self, event: gr.EventData, *values: Any) -> Any:
        """The same once a run has ended: its worker leaves the queue a moment after its last word."""
        until = time.monotonic() + LAST_WORDS
        while time.monotonic() < until and said(event, "run") in [
            entry.id for entry in self.services.store.index.queue()
        ]:
            time.sleep(0.1)
        return self.measure(*values)

    def _estimate(self, planned: Planned, *, measure: bool) -> Any:
        facts, window = planned.report, planned.run.training.length
        if min(facts.train_tokens, facts.validation_tokens) <= window:
            return pieces(hint(words.TOO_SHORT))  # the report says what is missing
        queue = self.services.store.index.queue()
        idle = not queue
        if not measure and idle and not self.estimator.knows(planned.run.model, planned.run.training):
            return pieces(hint(words.TRYING))
        pace = self.estimator.pace(planned.run.model, planned.run.training, measure=measure and idle)
        return train_report.estimate(planned, pace, len(queue), self.services.store.forecast.seconds())

    def _ask_encoding(self, error: EncodingError, form: Form) -> Any:
        guess = error.guess.replace("windows-", "cp") if error.guess else None
        first = [(f"{error.guess} ({words.GUESS})", guess)] if guess in ENCODINGS else []
        known = form.encoding if form.encoding in ENCODINGS else None
        others = [(encoding, encoding) for encoding in ENCODINGS if encoding != guess]
        return gr.update(visible=True, value=known, choices=[*first, *others])
