"""The Train tab: a text, a model, a budget; then the run as it goes on."""

import json
from typing import Any

from gpt2demo.ui.components import run_value
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Page, Tab
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint
from gpt2demo.ui.train_api import TrainAPI
from gpt2demo.ui.train_form import Form
from gpt2demo.ui.train_form_part import QUIET, FormPart
from gpt2demo.ui.train_live_part import LivePart
from gpt2demo.ui.train_rates import RatesPart

# A click on Start gets its name in the browser: the same form within these milliseconds is the same click.
CLICK = """(...values) => {
  const form = JSON.stringify(values.slice(2));
  const last = window.gdStart || {};
  const now = Date.now();
  const same = last.form === form && now - last.at < 4000;
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const name = same ? last.name : Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  window.gdStart = { form, name, at: same ? last.at : now };
  return [values[0], name, ...values.slice(2)];
}"""
TELL = f"() => {json.dumps(str(hint(words.PREPARING)))}"
SHOW_LIVE = """() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const live = document.getElementById("train-live");
  live?.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}"""


def build(page: Page) -> Tab:
    """Lays the tab out and wires it."""
    return TrainTab(page).tab()


class TrainTab:
    """The form, the live part, and Start, which leads from one to the other."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.form_part = FormPart(page)
        self.rates_part = RatesPart(self.form_part)
        self.live_part = LivePart(page)
        self.api = TrainAPI(
            page.services, self.form_part.planner, self.live_part.live, self.rates_part.searches
        )
        form, shown = self.form_part.form, self.live_part.shown
        form.start.click(None, None, form.said, js=TELL)
        started = form.start.click(
            self.start, [page.owner, form.nonce, *form.controls], [page.ref, shown.view], js=CLICK, **QUIET
        )
        for ended in (started.success, started.failure):  # `then` is not called after a failure
            ended(lambda: "", None, form.said, **QUIET)
        started.success(None, None, None, js=SHOW_LIVE)
        shown.view.finished(self.form_part.measure_after, form.controls, form.estimate, **QUIET)  # free again

    def tab(self) -> Tab:
        """How the frame brings the tab up to date."""
        shown = self.live_part.shown
        return Tab(
            refresh=self.live_part.refresh,
            inputs=[self.page.owner, self.page.ref, shown.probe, self.live_part.compared.chosen],
            outputs=self.live_part.outputs,
        )

    @guarded
    def start(self, owner: str, nonce: str, *values: Any) -> tuple[str, str]:
        """Starts the run that the form describes. → the model in hand, the run to watch"""
        plan = self.form_part.planner.plan(Form.of(values)).run
        run = self.page.services.manager.create_and_start(owner, nonce, plan)
        return f"run:{run}", run_value(run)
