"""Bringing a model to the page: from files, or from the Hub with its size told before it is fetched."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from gpt2demo.errors import UserError
from gpt2demo.hub.announcement import OFFICIAL_MODELS
from gpt2demo.runs.exchange import Arrived, FetchStep, Offer
from gpt2demo.runs.identity import is_owner, new_owner
from gpt2demo.ui.components.safe_html import SafeHTML
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.models_rows import duration, millions
from gpt2demo.ui.page import Page
from gpt2demo.ui.text import models as words
from gpt2demo.ui.theme import hint, notice, pieces, section

OTHER = "other"
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


class BringPart:
    """The panel "Bring a model" and what its buttons do. What arrives is taken in hand at once."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.exchange = page.services.exchange
        with gr.Column(elem_classes="gd-panel", elem_id="bring"):
            SafeHTML(section(words.BRING, words.BRING_HINT))
            with gr.Row(elem_classes="gd-cols"):
                with gr.Column():
                    self._files()
                with gr.Column():
                    self._hub()
        self._wire()
        offer(self.announce_model, "announce_model", concurrency_limit=4)
        offer(self.fetch_model, "fetch_model", concurrency_limit=None)

    def _files(self) -> None:
        SafeHTML(section(words.FROM_FILES, level=3))
        self.files = gr.File(
            label=words.FILES_LABEL, file_count="multiple", height=150, elem_id="bring-files"
        )
        SafeHTML(hint(words.FILES_HINT))
        with gr.Row(elem_classes="gd-actions"):
            self.bring = gr.Button(words.BRING_BUTTON, variant="primary", elem_id="bring-go")
        self.files_said = SafeHTML(elem_id="bring-files-said")

    def _hub(self) -> None:
        SafeHTML(section(words.FROM_HUB, level=3))
        self.choice = gr.Radio(
            [*((name, name) for name in OFFICIAL_MODELS), (words.OTHER, OTHER)],
            value="gpt2",
            label=words.HUB_LABEL,
            elem_id="bring-hub-model",
        )
        self.other = gr.Textbox(
            label=words.OTHER_LABEL,
            placeholder=words.OTHER_PLACEHOLDER,
            max_lines=1,
            visible=False,
            elem_id="bring-hub-name",
        )
        SafeHTML(hint(words.HUB_HINT))
        with gr.Row(elem_classes="gd-actions"):
            self.ask = gr.Button(words.LOOK_UP, elem_id="bring-hub-ask")
            self.fetch = gr.Button(words.FETCH, variant="primary", visible=False, elem_id="bring-hub-fetch")
            self.stop = gr.Button(
                words.STOP_FETCHING, variant="stop", visible=False, elem_id="bring-hub-stop"
            )
        self.hub_said = SafeHTML(elem_id="bring-hub-said")

    def _wire(self) -> None:
        page, name = self.page, [self.choice, self.other]
        buttons = [self.ask, self.fetch, self.stop]
        taken = self.bring.click(
            self.take_files,
            [page.owner, self.files],
            [page.ref, self.files, self.files_said],
            **QUIET,
        )
        taken.failure(lambda: "", None, self.files_said, **QUIET)
        self.choice.input(self.choose, self.choice, [self.other, self.hub_said, *buttons], **QUIET)
        gr.on([self.ask.click, self.other.submit], self.look_up, name, [self.hub_said, *buttons], **QUIET)
        coming = self.fetch.click(
            self.take_from_hub, [page.owner, *name], [page.ref, self.hub_said, *buttons], **QUIET
        )
        coming.failure(self.stopped, None, [self.hub_said, *buttons], **QUIET)  # a cancelled one fails too
        self.stop.click(self.stopped, None, [self.hub_said, *buttons], cancels=[coming], **QUIET)

    # -- what the buttons do ---------------------------------------------------------------------------------

    @guarded
    def take_files(self, owner: str, files: list[str] | None) -> Iterator[tuple[Any, ...]]:
        """Makes a run of what was uploaded. Yields reference, files and words; refused files stay there."""
        yield gr.skip(), gr.skip(), _said("checking", hint(words.CHECKING_FILES))
        try:
            arrived = self.exchange.take_in(owner, [Path(file) for file in files or []])
        except UserError as error:
            yield gr.skip(), gr.skip(), _refused(error)
            return
        yield f"run:{arrived.run}", None, welcome(arrived)

    @guarded
    def choose(self, choice: str) -> tuple[Any, ...]:
        """Shows the field for a name where one is needed, and forgets what was said of another model."""
        return gr.update(visible=choice == OTHER), "", *_buttons("ask")

    @guarded
    def look_up(self, choice: str, other: str) -> Iterator[tuple[Any, ...]]:
        """Tells what a model on the Hub weighs."""
        yield _said("asking", hint(words.LOOKING_UP)), *_buttons("ask")
        try:
            offer = self.exchange.announce(_name(choice, other))
        except UserError as error:
            yield _refused(error), *_buttons("ask")
            return
        yield _said("offered", *_offered(offer)), *_buttons("fetch")

    @guarded
    def take_from_hub(self, owner: str, choice: str, other: str) -> Iterator[tuple[Any, ...]]:
        """Fetches a model and takes it in hand, telling how far it is."""
        try:
            with closing(self.exchange.fetch(owner, _name(choice, other))) as steps:
                for step in steps:
                    if step.arrived is not None:
                        yield f"run:{step.arrived.run}", welcome(step.arrived), *_buttons("ask")
                    else:
                        running = "stop" if step.folder is None else ""
                        yield gr.skip(), progress(step), *_buttons(running)
        except UserError as error:
            yield gr.skip(), _refused(error), *_buttons("fetch")

    @guarded
    def stopped(self) -> tuple[Any, ...]:
        """Says what became of a download that was stopped."""
        return _said("stopped", notice(words.STOPPED_FETCHING)), *_buttons("fetch")

    # -- what people's programs may call ---------------------------------------------------------------------

    @guarded
    def announce_model(self, name: str) -> dict[str, Any]:
        """Tells what a model on the Hub weighs, without fetching it.

        Args:
            name: "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", or "owner/name".

        Returns:
            Its repository, its size and what is here of it already, both in bytes, and its number of
            parameters where that is known.
        """
        offer = self.exchange.announce(name)
        found = offer.announcement
        return {"repo": found.repo, "size": found.size, "here": offer.here, "parameters": found.parameters}

    @guarded
    def fetch_model(self, name: str, owner: str = "") -> Iterator[dict[str, Any]]:
        """Fetches a model from the Hub and makes it a run, whose "ref" every other endpoint takes.

        Args:
            name: "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", or "owner/name".
            owner: the secret token with which runs were made before; without it a new one is made.

        Returns:
            Again and again the bytes that are "done" and their "size"; at last also "ref", "owner" and the
            "notices" about what was left out.
        """
        owner = owner if is_owner(owner) else new_owner()
        for step in self.exchange.fetch(owner, name):
            told: dict[str, Any] = {"done": step.done, "size": step.size}
            if step.arrived is not None:
                notices = list(step.arrived.notices)
                told |= {"ref": f"run:{step.arrived.run}", "owner": owner, "notices": notices}
            yield told


def welcome(arrived: Arrived) -> Safe:
    """What to say when a model has arrived, with what was left out of it."""
    todo = words.CAN_GO_ON if arrived.trainable else words.CANNOT_GO_ON
    left_out = [notice(text, "warning") for text in arrived.notices]
    return _said("done", notice(words.ARRIVED.format(title=arrived.title), "done", todo=todo), *left_out)


def progress(step: FetchStep) -> Safe:
    """How far a download is: a bar, and the same in words."""
    share = 100 * step.done / step.size
    if step.folder is not None:
        told = words.CHECKING
    else:
        told = (
            f"{words.FETCHING.format(done=_megabytes(step.done), size=_megabytes(step.size))}, {share:.0f} %"
        )
        if step.seconds_left is not None:
            told += f", {words.TIME_LEFT.format(time=duration(step.seconds_left))}"
    bar = tag(
        "div",
        tag("i", style=f"--w:{share:.1f}%"),
        class_="gd-progress",
        role="progressbar",
        aria_label=words.FROM_HUB,
        aria_valuemin="0",
        aria_valuemax="100",
        aria_valuenow=f"{share:.0f}",
    )
    return _said("checking" if step.folder is not None else "fetching", bar, hint(told))


def _offered(offer: Offer) -> list[Safe]:
    found = offer.announcement
    facts = [words.OFFERED.format(repo=found.repo, size=_megabytes(found.size))]
    if found.parameters is None:
        facts.append(words.OFFERED_UNKNOWN)
    else:
        facts.append(words.OFFERED_PARAMETERS.format(count=millions(found.parameters)))
    here = ""
    if offer.here >= found.size:
        here = words.HERE_ALREADY
    elif offer.here:
        here = words.HERE_PARTLY.format(size=_megabytes(offer.here))
    return [notice(", ".join(facts) + ".", todo=here), *(notice(text, "warning") for text in found.notices)]


def _refused(error: UserError) -> Safe:
    return _said("refused", notice(f"{error.got} {error.needed}", "error", todo=error.todo))


def _said(state: str, *parts: Safe) -> Safe:
    return tag("div", pieces(*parts), class_="gd-bring-said", data_state=state)


def _buttons(shown: str) -> tuple[Any, ...]:
    """Which of the buttons ask, fetch and stop are there: "ask", "fetch" (with ask), "stop", or none."""
    return (
        gr.update(visible=shown in ("ask", "fetch")),
        gr.update(visible=shown == "fetch"),
        gr.update(visible=shown == "stop"),
    )


def _name(choice: Any, other: Any) -> str:
    name = other if choice == OTHER else choice
    return name.strip() if isinstance(name, str) else ""


def _megabytes(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:,.2f} GB"
    return f"{count / 1e6:,.{0 if count >= 1e7 else 1}f} MB"
