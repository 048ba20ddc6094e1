"""The live part of the Train tab: its buttons and pictures, and how it follows the model in hand."""

from typing import Any

import gradio as gr

from gpt2demo.errors import ConfigError, UserError
from gpt2demo.runs.models import ModelRef
from gpt2demo.ui.compare_part import STARTER, ComparePart
from gpt2demo.ui.components import run_value
from gpt2demo.ui.escape import tag
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Page, said
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint, notice
from gpt2demo.ui.train_layout import LiveLayout
from gpt2demo.ui.train_live import Live

COPY = """() => {
  const run = document.querySelector("#train-whose [data-run]")?.dataset.run;
  if (!run) return;
  const address = `${location.origin}${location.pathname}?run=${run}`;
  const byHand = () => {  // where the browser lends no clipboard: pages without https
    const field = document.createElement("textarea");
    field.value = address;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(address).catch(byHand);
  else byHand();
}"""

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


class LivePart:
    """The handlers behind the live part."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.services = page.services
        self.live = Live(page.services)

        def poll(question: list[Any]) -> dict[str, Any]:  # gradio marks it, which a method does not allow
            return self.live.poll(question)

        self.shown = LiveLayout(poll)
        self.compared = ComparePart(page.services, "train-compare")
        self._wire()

    @property
    def outputs(self) -> list[Any]:
        """What `refresh` answers, in order."""
        shown = self.shown
        return [
            shown.whose,
            shown.actions,
            shown.view,
            shown.heads,
            shown.heads_note,
            self.compared.chosen,
            shown.note,
        ]

    def _wire(self) -> None:
        shown, page = self.shown, self.page
        for button, work in (
            (shown.pause, self.pause),
            (shown.resume, self.resume),
            (shown.slower, self.slower),
            (shown.stop, self.stop),
        ):
            button.click(work, [page.owner, page.ref], [shown.note, shown.view], **QUIET)
        shown.link.click(None, None, None, js=COPY)
        shown.link.click(self.link, page.ref, shown.note, **QUIET)
        picture = [shown.heads, shown.heads_note]
        shown.view.snapshot(self.snapshot, [page.ref, shown.probe], picture, **QUIET)
        shown.probe.submit(self.picture, [page.ref, shown.probe], picture, **QUIET)
        shown.probe.blur(self.picture, [page.ref, shown.probe], picture, **QUIET)
        compared = self.compared
        shown.view.finished(
            self.finished,
            [page.ref, compared.chosen, compared.across],
            [shown.note, *compared.shown],
            **QUIET,
        )

    def refresh(self, owner: Any, ref: str, probe: Any, chosen: Any) -> tuple[Any, ...]:
        """Shows the run of the model in hand."""
        wanted = ModelRef.parse(ref)
        about, own = self.live.whose(owner, wanted)
        run = wanted.run_id or STARTER
        picture, note = self._picture(wanted, probe)
        return (
            about,
            gr.update(visible=own),
            run_value(run),
            picture,
            note,
            self.compared.refresh(owner, wanted, chosen),
            "",
        )

    def _picture(self, ref: ModelRef, probe: Any) -> tuple[str, Any]:
        """The heads, or why there is no picture: said in place, because it was not asked for by a click."""
        try:
            return self.live.heads(ref, probe)
        except UserError as error:
            return "", notice(f"{error.got} {error.needed}", todo=error.todo)

    @guarded
    def picture(self, ref: str, probe: str) -> tuple[str, Any]:
        """The heads on another probe sentence."""
        return self._picture(ModelRef.parse(ref), probe)

    @guarded
    def snapshot(self, ref: str, probe: str, event: gr.EventData) -> tuple[Any, Any]:
        """The heads as they are at the step whose weights have just been kept."""
        wanted = ModelRef.parse(ref)
        if said(event, "run") != (wanted.run_id or STARTER) or wanted.step is not None:
            return gr.skip(), gr.skip()
        return self._picture(wanted, probe)

    def _own(self, ref: str) -> str:
        run = ModelRef.parse(ref).run_id
        if run is None:
            raise ConfigError(*words.STARTER_STAYS)
        return run

    @guarded
    def pause(self, owner: str, ref: str) -> tuple[Any, Any]:
        """Lets the run save and rest."""
        self.services.manager.pause(owner, self._own(ref))
        return hint(words.PAUSING), gr.skip()

    @guarded
    def resume(self, owner: str, ref: str) -> tuple[Any, Any]:
        """Lets the run go on from where it was saved; the view looks again."""
        run = self._own(ref)
        self.services.manager.resume(owner, run)
        return hint(words.RESUMING), run_value(run)

    @guarded
    def slower(self, owner: str, ref: str) -> tuple[Any, Any]:
        """Lets a run that diverged go on with a tenth of its learning rate; the view looks again."""
        run = self._own(ref)
        self.services.manager.resume_slower(owner, run)
        return hint(words.SLOWER_NOTE), run_value(run)

    @guarded
    def stop(self, owner: str, ref: str) -> tuple[Any, Any]:
        """Lets the run save, measure its result and end."""
        self.services.manager.stop(owner, self._own(ref))
        return hint(words.STOPPING), gr.skip()

    @guarded
    def link(self, ref: str) -> Any:
        """The address that shows this run to others."""
        run = self._own(ref)
        return tag("p", words.LINK_COPIED, " ", tag("a", f"?run={run}", href=f"?run={run}"), class_="gd-hint")

    @guarded
    def finished(self, ref: str, chosen: Any, across: Any, event: gr.EventData) -> tuple[Any, ...]:
        """Says what to do with a finished model, and draws the comparison with its whole curve."""
        state = said(event, "state")
        learned = self.services.models.describe(ModelRef.parse(ref)).documents
        ended = state in ("done", "stopped") and learned
        return hint(words.FINISHED) if ended else "", *self.compared.compare(chosen, across)
