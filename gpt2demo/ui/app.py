"""The page as a whole: the header with the model in hand, and the tabs that look at it."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from gpt2demo.errors import UserError
from gpt2demo.runs.identity import is_owner, new_owner
from gpt2demo.runs.models import ModelDescription, ModelRef
from gpt2demo.ui import attention_tab, embeddings_tab, generate_tab, models_tab, train_tab
from gpt2demo.ui.components.safe_html import SafeHTML
from gpt2demo.ui.escape import Safe
from gpt2demo.ui.guard import GuardedBlocks, guarded
from gpt2demo.ui.models_rows import millions
from gpt2demo.ui.page import Page, Services, Tab
from gpt2demo.ui.text import common as words
from gpt2demo.ui.theme import masthead, model_chip

TABS: tuple[tuple[str, str, Callable[[Page], Tab]], ...] = (
    ("train", "Train", train_tab.build),
    ("generate", "Generate", generate_tab.build),
    ("attention", "Attention", attention_tab.build),
    ("embeddings", "Embeddings", embeddings_tab.build),
    ("models", "Models", models_tab.build),
)
CHIP_SECONDS = 3.0  # how often the chip looks whether a training model has moved on
MODE_KEY = "gpt2demo-mode"
SET_MODE = f"""(mode) => {{
  document.body.classList.toggle("gd-simple", mode === "{words.SIMPLE}");
  try {{ localStorage.setItem("{MODE_KEY}", mode); }} catch (error) {{ /* private window */ }}
  return [];
}}"""
GET_MODE = f"""() => {{
  let mode = null;
  try {{ mode = localStorage.getItem("{MODE_KEY}"); }} catch (error) {{ /* private window */ }}
  mode = mode === "{words.FULL}" ? mode : "{words.SIMPLE}";
  document.body.classList.toggle("gd-simple", mode === "{words.SIMPLE}");
  return mode;
}}"""


def build(services: Services) -> gr.Blocks:
    """Lays the page out and wires it. Nothing is computed before somebody opens it."""
    demo = GuardedBlocks(title=words.NAME, analytics_enabled=False, delete_cache=(600, 3600))
    with demo:
        page = Page(
            services=services,
            owner=gr.BrowserState("", storage_key="gpt2demo-owner", secret="gpt2demo"),
            ref=gr.State("starter"),
        )
        Header(page, demo)
    return demo


class Header:
    """The header and what hangs on it: which model is in hand, at which step, and which tab is open."""

    def __init__(self, page: Page, demo: gr.Blocks) -> None:
        self.page = page
        self.kept_ref = gr.BrowserState("starter", storage_key="gpt2demo-model", secret="gpt2demo")
        # per tab, which model at which step it shows; None until the visitor is known
        self.shown: gr.State = gr.State(None)
        self.active = gr.State("train")
        self._layout()
        self._wire(demo)

    def _layout(self) -> None:
        with gr.Row(elem_classes="gd-header", elem_id="header"):
            SafeHTML(masthead(words.NAME, words.SUBTITLE))
            self.mode = gr.Radio(
                [words.SIMPLE, words.FULL],
                value=words.SIMPLE,
                label=words.MODE_LABEL,
                elem_id="mode",
                container=False,
                scale=0,
                min_width=160,
            )
        with gr.Row(elem_classes="gd-header gd-hand", elem_id="hand"):
            self.choice = gr.Dropdown(
                [(words.STARTER, "starter")],
                value="starter",
                label=words.MODEL_LABEL,
                elem_id="model",
                scale=1,
                min_width=220,
            )
            with gr.Column(scale=3, min_width=280):
                self.chip = SafeHTML(elem_id="chip")
                self.steps = gr.Radio(
                    [], label=words.STEP_LABEL, elem_id="steps", elem_classes="gd-steps", visible=False
                )
        self.tabs: list[tuple[str, gr.Tab, Tab]] = []
        with gr.Tabs(overflow_behavior="wrap", elem_id="tabs"):  # a phone shows all of them
            for key, title, build_tab in TABS:
                with gr.Tab(title, id=key, elem_id=f"tab-{key}") as tab:
                    self.tabs.append((key, tab, build_tab(self.page)))

    def _wire(self, demo: gr.Blocks) -> None:
        hidden: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": None,
        }
        page = self.page
        header = [self.choice, self.chip, self.steps]
        arrived = demo.load(
            self.arrive,
            [page.owner, self.kept_ref],
            [page.owner, page.ref, *header, self.kept_ref, self.shown],
            **hidden,
        )
        demo.load(None, None, self.mode, js=GET_MODE)
        self.mode.change(None, self.mode, None, js=SET_MODE)
        self.choice.input(lambda ref: ref, self.choice, page.ref, **hidden)
        self.steps.input(self.at_step, [page.ref, self.steps], page.ref, **hidden)
        changed = page.ref.change(self.describe, [page.owner, page.ref], [*header, self.kept_ref], **hidden)
        arrived.then(self._show("train"), *self._show_ends("train"), **hidden)
        for key, tab, parts in self.tabs:
            for change in parts.changes:
                change.success(self.describe, [page.owner, page.ref], [*header, self.kept_ref], **hidden)
            tab.select(lambda key=key: key, None, self.active, **hidden).then(
                self._show(key), *self._show_ends(key), **hidden
            )
            changed.then(self._show(key, only_if_active=True), *self._show_ends(key), **hidden)
        # whoever opened the list before the visitor was known has shown nobody's runs
        page.owner.change(self._show("models", only_if_active=True), *self._show_ends("models"), **hidden)
        gr.Timer(CHIP_SECONDS).tick(
            self.tick, [page.owner, page.ref, self.chip], header, queue=False, **hidden
        )

    @guarded
    def arrive(self, owner: str, kept: str, request: gr.Request) -> tuple[Any, ...]:
        """Greets a visitor: a secret token at the first visit, and the model of the link or of last time."""
        owner = owner if is_owner(owner) else new_owner()
        linked = dict(request.query_params).get("run", "")
        ref = "starter"
        for wish in (f"run:{linked}" if linked else "", kept):
            try:
                self.page.services.models.describe(ModelRef.parse(wish))
            except UserError:
                continue
            ref = wish
            break
        if linked and ref != f"run:{linked}":
            gr.Warning(words.LINK_UNKNOWN)
        return owner, ref, *self.describe(owner, ref), {}

    @guarded
    def describe(self, owner: str, ref: str) -> tuple[Any, ...]:
        """→ the dropdown of models, the chip's words, the steps to look at, and the reference to remember"""
        models = self.page.services.models
        wanted = ModelRef.parse(ref)
        about = models.describe(wanted)
        whole = str(ModelRef(kind=wanted.kind, run_id=wanted.run_id, step=None))
        choices = self._choices(owner)
        if whole not in [value for _, value in choices]:
            choices.append((about.title, whole))
        return (
            gr.Dropdown(choices=choices, value=whole),
            chip(about),
            self._step_choice(wanted),
            ref,
        )

    def _choices(self, owner: str) -> list[tuple[str, str]]:
        """The models this visitor can take in hand: the starter and the own runs, newest first."""
        runs = self.page.services.store.list(owner) if owner else []
        mark = {"running": f" {words.TRAINING_MARK}", "starting": f" {words.TRAINING_MARK}"}
        own = [(run.title + mark.get(run.state, ""), f"run:{run.id}") for run in runs]
        return [(words.STARTER, "starter"), *own]

    def _step_choice(self, ref: ModelRef) -> gr.Radio:
        steps = self.page.services.models.steps(ref)
        value = ref.step if ref.step is not None else (steps[-1] if steps else None)
        return gr.Radio(choices=[(f"{step:,}", step) for step in steps], value=value, visible=len(steps) > 1)

    @guarded
    def at_step(self, ref: str, step: int) -> str:
        """The same model at another step of its training; the newest step follows the run."""
        now = ModelRef.parse(ref)
        steps = self.page.services.models.steps(now)
        chosen = None if steps and step == steps[-1] else step
        return str(ModelRef.parse(str(ModelRef(kind=now.kind, run_id=now.run_id, step=chosen))))

    def tick(self, owner: str, ref: str, shown: str) -> tuple[Any, ...]:
        """Keeps the chip true while the model in hand is in training; changes nothing otherwise."""
        try:
            about = self.page.services.models.describe(ModelRef.parse(ref))
            if chip(about) == shown:
                return gr.skip(), gr.skip(), gr.skip()
            choice, words_, steps, _ = self.describe(owner, ref)
        except (UserError, gr.Error):
            return gr.skip(), gr.skip(), gr.skip()
        return choice, words_, steps

    def _tab(self, key: str) -> Tab:
        return next(tab for name, _, tab in self.tabs if name == key)

    def _show_ends(self, key: str) -> tuple[list[Any], list[Any]]:
        tab = self._tab(key)
        return [self.page.ref, self.active, self.shown, *tab.inputs], [self.shown, *tab.outputs]

    def _show(self, key: str, *, only_if_active: bool = False) -> Callable[..., Any]:
        tab = self._tab(key)
        models = self.page.services.models

        @guarded
        def show(ref: str, active: str, shown: dict[str, str] | None, *values: Any) -> Any:
            if only_if_active and active != key:
                return gr.skip()
            if shown is None and key == TABS[0][0]:  # open from the start: `arrive` will show it
                return gr.skip()
            now = f"{ref} {models.describe(ModelRef.parse(ref)).step}"
            shown = shown or {}
            if shown.get(key) == now:
                return gr.skip()
            result = tab.refresh(*values)
            return (shown | {key: now}, *(result if isinstance(result, tuple) else (result,)))

        return show


def chip(about: ModelDescription) -> Safe:
    """The model in hand in words: its name, size, step, loss and text."""
    facts = [millions(about.parameters)]
    if about.step is not None and about.documents:
        facts.append(f"step {about.step:,}")
    if about.val_loss is not None:
        facts.append(f"validation loss {about.val_loss:.2f}")
    facts.append("trained on " + ", ".join(about.documents) if about.documents else words.ELSEWHERE)
    if about.state in ("running", "starting"):
        facts.append(words.TRAINING_MARK)
    return model_chip(about.title, facts)
