"""The Generate tab: a prompt, the text that a model writes after it, and how each token was chosen."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from gpt2demo.errors import LimitError, TextError
from gpt2demo.generation.prompts import read_prompt, sampling
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.ui import reading_part
from gpt2demo.ui.generate_api import add_endpoint
from gpt2demo.ui.generate_draft import Draft, Turn, begin, most_undecided, select, stopped, take, write
from gpt2demo.ui.generate_examples import Beginnings
from gpt2demo.ui.generate_layout import COPY_JS, REVEAL_JS, SAVE_JS, Controls
from gpt2demo.ui.generate_panel import clicked_alternative, panel
from gpt2demo.ui.generate_source import source_sentence
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.page import Page, Tab, both, said
from gpt2demo.ui.text import generate as words
from gpt2demo.ui.theme import notice

EXAMPLE_TOKENS, EXAMPLE_SECONDS = 80, 1.5  # at most, for what is there before anybody asked
EXAMPLES_KEPT = 32
MAX_SEED = 999_999  # of those that the page makes up: short enough to be told to a neighbour


Updates = Iterator[tuple[Any, ...]]


class Settings(NamedTuple):
    """The controls' values as they come, from the page or from anybody else."""

    temperature: Any
    top_k: Any
    top_p: Any
    length: Any
    seed: Any
    fresh: Any = False  # a new seed for every new text

    def config(self, old: Draft | None = None, *, length: int | None = None) -> SamplingConfig:
        """Checks them; a text that is continued keeps its seed unless another one was asked for."""
        seed = self.seed
        if self.fresh:
            seed = old.seed if old is not None else secrets.randbelow(MAX_SEED + 1)
        return sampling(
            self.temperature, self.top_k, self.top_p, seed, self.length if length is None else length
        )


def build(page: Page) -> Tab:
    """Lays the tab out and wires it."""
    return both(GenerateTab(page).tab(), reading_part.build(page))


class GenerateTab:
    """The controls and what hangs on them. A session's text is a Draft in `controls.draft`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.models = page.services.models
        self.beginnings = Beginnings(page.services.models)
        self.examples: Memo[Draft] = Memo(EXAMPLES_KEPT)
        self.controls = Controls()
        self._wire()
        add_endpoint(page)

    def _wire(self) -> None:
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": None,
        }
        c = self.controls
        request = [c.turn, self.page.ref, c.prompt, c.draft, *c.settings, c.fresh]
        outputs = [c.strip, c.draft, c.seed, c.notice, *c.buttons, c.selected, *c.panel]
        seen = [c.draft, c.selected, *c.rules]
        new = gr.on([c.generate.click, c.prompt.submit], self.write_new, request, outputs, **quiet)
        one = c.step.click(self.write_one, request, outputs, **quiet)
        branch = c.take.click(self.write_branch, [*request, c.selected, c.other], outputs, **quiet)
        writers = [new, one, branch]
        for writer in writers:
            for ended in (writer.success, writer.failure):  # `then` is not called after a failure
                ended(self.idle, None, c.buttons, **quiet)
        c.stop.click(self.stop_writing, c.turn, None, **quiet)
        self.page.ref.change(self.leave, c.turn, c.buttons, cancels=writers, **quiet)
        c.reset.click(self.start_over, request[1:], outputs, **quiet)
        c.offered.click(lambda sample: sample[0] if sample else gr.skip(), c.offered, c.prompt, **quiet)
        c.strip.token(self.look_at, seen, [c.selected, *c.panel], **quiet)
        c.strip.token(None, None, None, js=REVEAL_JS)
        moved = [control.change for control in c.rules]
        gr.on(moved, self.redraw, seen, c.panel, trigger_mode="always_last", **quiet)
        c.bars.point(self.choose_bar, seen, c.other, **quiet)
        for button, script in ((c.copy, COPY_JS), (c.save, SAVE_JS)):
            button.click(self.plain_text, c.draft, c.plain, **quiet).success(None, c.plain, None, js=script)

    def tab(self) -> Tab:
        """What the frame calls when the tab is opened or another model is taken in hand."""
        c = self.controls
        return Tab(
            refresh=self.refresh,
            inputs=[self.page.ref, c.prompt, c.given, *c.settings],
            outputs=[c.prompt, c.offered, c.given, c.strip, c.draft, c.notice, c.selected, *c.panel],
        )

    def refresh(self, ref: str, prompt: str, given: list[str], *settings: Any) -> tuple[Any, ...]:
        """Shows the model in hand with the visitor's own prompt, or with an example that suits it."""
        wanted = ModelRef.parse(ref)
        offered = self.beginnings.of(wanted)
        loaded = self.models.get(wanted)
        own = bool(prompt) and (prompt not in given or prompt in offered)
        unknown = loaded.tokenizer.unknown(prompt) if own else ""
        begin_with = prompt if own and not unknown else offered[0]
        config = Settings(*settings).config()
        config = replace(config, max_new_tokens=min(config.max_new_tokens, EXAMPLE_TOKENS))
        draft = self._example(ref, loaded, begin_with, config)
        selected = most_undecided(draft)
        return (
            prompt if own else begin_with,
            gr.Dataset(samples=[[text] for text in offered], visible=any(offered)),
            [*dict.fromkeys([*given, *offered])][-50:],
            draft.strip,
            draft,
            notice(words.unknown_prompt(" ".join(map(repr, unknown[:8])))) if unknown else "",
            selected,
            *panel(draft, selected, config),
        )

    def _example(self, ref: str, loaded: LoadedModel, text: str, config: SamplingConfig) -> Draft:
        """A short text by this model, written by this server once and shared by all who open the tab."""

        def make() -> Draft:
            prompt = read_prompt(loaded.tokenizer, text)
            draft = begin(loaded, ref, prompt, int(config.seed), source_sentence(self.page, ref, loaded))
            for grown in write(draft, loaded, config, seconds=EXAMPLE_SECONDS):
                draft = grown
            return select(draft, most_undecided(draft))

        return self.examples.get((ref, loaded.ref, loaded.facts.state, text, config), make)

    @guarded
    def write_new(self, turn: Turn, ref: str, prompt: str, draft: Draft | None, *values: Any) -> Updates:
        """Generate: a new text from the prompt."""
        config = Settings(*values).config()
        yield from self._write(turn, self._begin(ref, prompt, config), ref, config)

    @guarded
    def write_one(self, turn: Turn, ref: str, prompt: str, draft: Draft | None, *values: Any) -> Updates:
        """Step: one more token of the text that is there, or the first one of a new text."""
        old = draft if draft is not None and draft.belongs_to(ref, prompt) else None
        config = Settings(*values).config(old, length=1)
        yield from self._write(turn, old or self._begin(ref, prompt, config), ref, config)

    @guarded
    def write_branch(self, turn: Turn, ref: str, prompt: str, draft: Draft | None, *values: Any) -> Updates:
        """Takes another token at the selected place and writes on from there."""
        *settings, selected, other = values
        if draft is None or not isinstance(selected, int) or not isinstance(other, int) or selected < 0:
            raise TextError("No token is chosen.", words.CHOOSE_FIRST, "Click a token of the text.")
        config = Settings(*settings).config(draft)
        branch = take(draft, selected, other, config)
        yield from self._write(turn, branch, draft.ref, config, show=selected)

    @guarded
    def start_over(self, ref: str, prompt: str, draft: Draft | None, *values: Any) -> tuple[Any, ...]:
        """Back to the prompt, so that Step begins with its first token."""
        config = Settings(*values).config()
        draft = self._begin(ref, prompt, config)
        return (draft.strip, draft, draft.seed, "", *self.idle(), None, *panel(draft, None, config))

    def _begin(self, ref: str, text: object, config: SamplingConfig) -> Draft:
        loaded = self.models.get(ModelRef.parse(ref))
        prompt = read_prompt(loaded.tokenizer, text)
        return begin(loaded, ref, prompt, int(config.seed), source_sentence(self.page, ref, loaded))

    def _write(
        self, turn: Turn, draft: Draft, ref: str, config: SamplingConfig, show: int | None = None
    ) -> Updates:
        """Streams a text as it grows: strip, draft, seed, notice, buttons, and at the end the panel.

        show: the step that the panel shows afterwards; by default the one written, or the most undecided.
        """
        loaded = self.models.get(ModelRef.parse(ref))
        draft = draft.by(loaded, int(config.seed), source_sentence(self.page, ref, loaded))
        turn.wanted = "write"
        one = int(config.max_new_tokens) == 1
        same_buttons = [gr.skip()] * len(self.controls.buttons)
        same_panel = [gr.skip()] * (1 + len(self.controls.panel))  # with the token that is selected
        yield (draft.strip, draft, draft.seed, "", *_buttons(writing=not one), *same_panel)
        first = len(draft.steps)
        with closing(write(draft, loaded, config)) as growing:
            for grown in growing:
                if turn.wanted == "leave":
                    return
                draft = stopped(grown) if turn.wanted == "stop" else grown
                yield (draft.strip, draft, gr.skip(), gr.skip(), *same_buttons, *same_panel)
                if draft.finished:
                    break
        if show is None:
            show = len(draft.steps) - 1 if one else most_undecided(draft, first)
        draft = select(draft, show)
        yield (draft.strip, draft, gr.skip(), gr.skip(), *self.idle(), show, *panel(draft, show, config))

    def idle(self) -> tuple[Any, ...]:
        """The buttons while nothing is being written."""
        return _buttons(writing=False)

    def stop_writing(self, turn: Turn) -> None:
        """Asks whoever writes in this session to keep what there is, and to end."""
        turn.wanted = "stop"

    def leave(self, turn: Turn) -> tuple[Any, ...]:
        """Another model was taken in hand: whoever writes with the old one shall just go."""
        turn.wanted = "leave"
        return _buttons(writing=False)

    @guarded
    def look_at(
        self,
        draft: Draft | None,
        selected: int | None,
        temperature: Any,
        top_k: Any,
        top_p: Any,
        event: gr.EventData,
    ) -> tuple[Any, ...]:
        """The road of a token that was clicked."""
        place = said(event, "index")
        if draft is None or not isinstance(place, int) or not 0 <= place < draft.lead + len(draft.steps):
            raise TextError(words.PUT_AWAY, "", "Press Generate to write it anew.")
        return (place - draft.lead, *panel(draft, place - draft.lead, _rules((temperature, top_k, top_p))))

    @guarded
    def redraw(self, draft: Draft | None, selected: int | None, *rules: Any) -> tuple[Any, ...]:
        """The same token with other settings, from the stored scores; unchanged while a number is typed."""
        try:
            return panel(draft, selected, _rules(rules))
        except LimitError:
            return tuple(gr.skip() for _ in self.controls.panel)

    @guarded
    def choose_bar(
        self,
        draft: Draft | None,
        selected: int | None,
        temperature: Any,
        top_k: Any,
        top_p: Any,
        event: gr.EventData,
    ) -> Any:
        """A click on a bar chooses its token as the one to continue with."""
        config = _rules((temperature, top_k, top_p))
        found = clicked_alternative(draft, selected, config, said(event, "y"))
        return gr.skip() if found is None else found

    @guarded
    def plain_text(self, draft: Draft | None) -> str:
        """The text itself, to be copied or saved."""
        if draft is None:
            raise TextError(words.PUT_AWAY, "", "Press Generate to write it anew.")
        return draft.text


def _buttons(*, writing: bool) -> tuple[Any, ...]:
    """Generate, Step, Stop, Back, Continue: while the model writes only Stop can be pressed."""
    free = gr.update(interactive=not writing)
    return free, free, gr.update(interactive=writing), free, free


def _rules(rules: Sequence[Any]) -> SamplingConfig:
    """The three sliders that act on scores; seed and length do not matter for these."""
    temperature, top_k, top_p = rules
    return sampling(temperature, top_k, top_p, 0, 1)
