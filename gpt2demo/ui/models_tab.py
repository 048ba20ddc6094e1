"""Models: everything one can take in hand, to be shared, taken home, renamed and deleted."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from gpt2demo.errors import ConfigError, NotFoundError, UserError
from gpt2demo.runs.export import Exported, export_zip
from gpt2demo.runs.models import ModelRef
from gpt2demo.ui.bring_part import BringPart
from gpt2demo.ui.compare_part import ComparePart
from gpt2demo.ui.components.model_list import ModelList
from gpt2demo.ui.components.safe_html import SafeHTML
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.escape import Safe
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.models_about import about
from gpt2demo.ui.models_rows import Shelf, list_value
from gpt2demo.ui.page import Page, Tab, said
from gpt2demo.ui.text import models as words
from gpt2demo.ui.theme import section

MOST_LINKED = 20  # runs of others that one session remembers
PACKING_AT_ONCE = 2


def build(page: Page) -> Tab:
    """Lays out the Models tab and wires it."""
    tab = ModelsTab(page)
    return Tab(refresh=tab.refresh, inputs=tab.inputs, outputs=tab.outputs, changes=tab.changes)


class ModelsTab:
    """The list, the panel beside it, and what the buttons of each row do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.models = page.services.models
        self.store = page.services.store
        self.exchange = page.services.exchange
        self.linked = gr.State(())  # ids of runs that were opened through a link in this session
        with gr.Column(elem_classes="gd-split-right", elem_id="models"):
            with gr.Column():
                SafeHTML(section(words.TITLE, words.HINT))
                self.list = ModelList(elem_id="models-list", words=IN_THE_BROWSER)
                BringPart(page)
            self.about = SafeHTML(elem_id="models-about")
        self.compared = ComparePart(page.services, "models-compare")
        self.now = [page.owner, page.ref, self.linked]
        self.inputs = [*self.now, self.compared.chosen]
        self.outputs = [self.list, self.about, self.linked, self.compared.chosen]
        self._wire()
        self._for_programs()

    def _wire(self) -> None:
        hidden: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": None,
        }
        packing = hidden | {"concurrency_limit": PACKING_AT_ONCE, "concurrency_id": "packing"}
        page = self.page
        page.ref.change(self.remember, self.now, self.linked, **hidden)
        self.list.look(self.look, self.now, self.list, **hidden)
        self.list.take(self.take, None, page.ref, **hidden)
        self.changes = [
            self.list.rename(self.rename, self.now, [self.list, self.about], **hidden),
            self.list.remove(self.remove, self.now, [page.ref, self.list], **hidden),
        ]
        self.list.pack(self.pack, self.now, self.list, **packing).failure(
            self.not_packed, self.now, self.list, **hidden
        )
        self.list.push(self.push, self.now, self.list, **hidden).failure(
            self.not_pushed, self.now, self.list, **hidden
        )

    def _for_programs(self) -> None:
        offer(self.list_models, "models", concurrency_limit=None)
        offer(self.rename_model, "rename_model", concurrency_limit=None)
        offer(self.delete_model, "delete_model", concurrency_limit=None)
        offer(
            self.export_model,
            "export_model",
            concurrency_limit=PACKING_AT_ONCE,
            concurrency_id="packing",
        )

    # -- what the frame and the page ask ---------------------------------------------------------------------

    @guarded
    def refresh(self, owner: str, ref: str, linked: tuple[str, ...], chosen: Any) -> tuple[Any, ...]:
        """→ the list, the panel about the model in hand, the runs known through links, those compared"""
        linked = self.remember(owner, ref, linked)
        in_hand = ModelRef.parse(ref)
        compared = self.compared.refresh(owner, in_hand, chosen, linked)
        return self.look(owner, ref, linked), about(self.models, in_hand), linked, compared

    @guarded
    def remember(self, owner: str, ref: str, linked: tuple[str, ...]) -> tuple[str, ...]:
        """Notes a run of somebody else that came in hand, so that it stays in the list afterwards."""
        run = ModelRef.parse(ref).run_id
        linked = tuple(linked or ())
        if run is None or run in linked or self.store.owns(owner, run):
            return linked
        return (*linked, run)[-MOST_LINKED:]

    @guarded
    def look(self, owner: str, ref: str, linked: tuple[str, ...]) -> str:
        """→ the list as it is now"""
        return list_value(self._rows(owner, ref, linked))

    @guarded
    def take(self, event: gr.EventData) -> str:
        """Takes a model in hand: → its reference."""
        ref = ModelRef.parse(_said(event, "ref"))
        if self.models.describe(ref).step is None:
            raise NotFoundError(*words.NOT_READY)
        return str(ref)

    @guarded
    def rename(self, owner: str, ref: str, linked: tuple[str, ...], event: gr.EventData) -> tuple[str, Safe]:
        """Gives a run of one's own another title. → the list and the panel, which name it"""
        self._rename(owner, _said(event, "ref"), _said(event, "title"))
        listing = list_value(self._rows(owner, ref, linked), renamed=_said(event, "ref"))
        return listing, about(self.models, ModelRef.parse(ref))

    @guarded
    def remove(self, owner: str, ref: str, linked: tuple[str, ...], event: gr.EventData) -> tuple[str, str]:
        """Deletes a run of one's own; when it was in hand, the starter takes its place. → reference, list"""
        run = _run_of(_said(event, "ref"))
        self._delete(owner, run)
        ref = "starter" if ModelRef.parse(ref).run_id == run else ref
        return ref, self.look(owner, ref, linked)

    @guarded
    def pack(self, owner: str, ref: str, linked: tuple[str, ...], event: gr.EventData) -> str:
        """Makes the zip file of a model and tells the list where it lies."""
        wanted = ModelRef.parse(_said(event, "ref"))
        packed = self._pack(wanted)
        file = packed.path
        code = words.ONLY_HERE if packed.notices else words.PYTHON  # else transformers does not load it
        export = {
            "ref": str(wanted),
            "address": _address(file),
            "name": file.name,
            "size": _size(file.stat().st_size),
            "notices": packed.notices,
            "code": code.format(folder=file.stem),
            "nonce": _said(event, "nonce"),
        }
        return list_value(self._rows(owner, ref, linked), export=export)

    @guarded
    def not_packed(self, owner: str, ref: str, linked: tuple[str, ...]) -> str:
        """Tells the list that no file will come; the message is on the page already."""
        return list_value(self._rows(owner, ref, linked), export={"failed": True})

    @guarded
    def not_pushed(self, owner: str, ref: str, linked: tuple[str, ...]) -> str:
        """Tells the list that nothing will arrive; the message is on the page already."""
        return list_value(self._rows(owner, ref, linked), push={"failed": words.PUSHING["push_fault"]})

    @guarded
    def push(self, owner: str, ref: str, linked: tuple[str, ...], event: gr.EventData) -> Iterator[str]:
        """Sends a model to the Hub as the visitor whose token came with the event, and tells the list."""
        wanted = ModelRef.parse(_said(event, "ref"))
        rows = self._rows(owner, ref, linked)
        news: dict[str, Any] = {"ref": str(wanted), "nonce": _said(event, "nonce")}
        sending = self.exchange.push(
            self.models.folder(wanted),
            _said(event, "name"),
            token=_said(event, "token"),
            private=said(event, "private") is not False,
            overwrite=said(event, "overwrite") is True,
        )
        try:
            for step in sending:
                yield list_value(rows, push=news | {"doing": step.doing, "url": step.url})
        except UserError as error:
            yield list_value(rows, push=news | {"failed": str(error)})

    # -- what people's programs may call ---------------------------------------------------------------------

    @guarded
    def list_models(self, owner: str = "") -> list[dict[str, Any]]:
        """Lists the starter and the runs of an owner, as the Models tab shows them.

        Args:
            owner: the secret token with which these runs were made; without it only the starter is listed.

        Returns:
            For each model its "ref", with which others call it, its title, state, size and loss.
        """
        return self._rows(owner, "starter", ())

    @guarded
    def rename_model(self, owner: str, model: str, title: str) -> str:
        """Gives a run of one's own another title.

        Args:
            owner: the secret token with which the run was made.
            model: "run:ID", the "ref" that `models` lists.
            title: at most 80 characters.

        Returns:
            A sentence with the title as it is now.
        """
        return words.RENAMED.format(title=self._rename(owner, model, title))

    @guarded
    def delete_model(self, owner: str, model: str) -> str:
        """Deletes a run of one's own for good, unless it is being trained.

        Args:
            owner: the secret token with which the run was made.
            model: "run:ID", the "ref" that `models` lists.

        Returns:
            A sentence that says what is gone.
        """
        return words.DELETED.format(title=self._delete(owner, _run_of(model)))

    @guarded
    def export_model(self, model: str) -> str:
        """Packs a model into a zip file that holds a folder which `transformers` loads.

        Args:
            model: "starter" or "run:ID"; whoever knows the id may have the model.

        Returns:
            The address to download it from within the hour, relative to that of the page.
        """
        return _address(self._pack(ModelRef.parse(model)).path)

    # -- what is done ----------------------------------------------------------------------------------------

    def _rows(self, owner: str, ref: str, linked: tuple[str, ...]) -> list[dict[str, Any]]:
        in_hand = ModelRef.parse(ref)
        return Shelf(models=self.models, owner=owner, in_hand=in_hand, linked=tuple(linked or ())).rows()

    def _rename(self, owner: str, model: str, title: str) -> str:
        run = _run_of(model)
        self.store.rename(owner, run, title)
        return self.store.summary(run).title

    def _delete(self, owner: str, run: str) -> str:
        """→ the title of the run that is gone"""
        title = self.store.check_owner(owner, run).title
        self.store.delete(owner, run)
        shutil.rmtree(self._exports(run), ignore_errors=True)
        return title

    def _pack(self, ref: ModelRef) -> Exported:
        """Makes a zip file in gradio's cache, from where it can be fetched and is swept away in time."""
        packed = export_zip(self.models.folder(ref), self._exports(ref.run_id or ref.kind))
        self.list.move_resource_to_block_cache(packed.path)
        return packed

    def _exports(self, name: str) -> Path:
        return Path(self.list.GRADIO_CACHE).resolve() / "exports" / name


IN_THE_BROWSER = (
    words.IN_THE_BROWSER
    | words.PUSHING
    | {
        "groups": [
            {"key": "starter", "title": words.STARTER_GROUP, "hint": "", "empty": ""},
            {"key": "own", "title": words.OWN_GROUP, "hint": words.OWN_HINT, "empty": words.EMPTY},
            {"key": "linked", "title": words.LINKED_GROUP, "hint": "", "empty": ""},
        ],
        "to_train": words.TO_TRAIN,
    }
)


def _said(event: gr.EventData, name: str) -> str:
    """What the browser said with an event: text, whatever it may have sent."""
    value = said(event, name)
    return value if isinstance(value, str) else ""


def _run_of(model: str) -> str:
    """The id in "run:ID". Raises ConfigError for the starter, NotFoundError for what is no model."""
    run = ModelRef.parse(model).run_id
    if run is None:
        raise ConfigError(*words.NOT_OWN)
    return run


def _address(file: Path) -> str:
    return f"gradio_api/file={file.as_posix()}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
