"""The Generate tab: a prompt, the texts that a model writes after it, and how each token was chosen."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from gpt2demo.errors import TextError
from gpt2demo.generation.prompts import read_prompt
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.ui.generate_api import add_endpoint
from gpt2demo.ui.generate_beams import search
from gpt2demo.ui.generate_draft import Draft, begin, most_undecided, take
from gpt2demo.ui.generate_examples import Beginnings
from gpt2demo.ui.generate_layout import COPY_JS, REVEAL_JS, SAVE_ALL_JS, SAVE_JS, Controls
from gpt2demo.ui.generate_look import Look
from gpt2demo.ui.generate_panel import panel
from gpt2demo.ui.generate_settings import Settings
from gpt2demo.ui.generate_sheet import COLUMNS, Sheet, Spot, Turn, add_branch, grow, lay_out, start, title
from gpt2demo.ui.generate_source import source_sentence
from gpt2demo.ui.generate_writing import write
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.page import Page, Tab, both
from gpt2demo.ui.precision_part import PrecisionPart
from gpt2demo.ui.reading_part import ReadingPart
from gpt2demo.ui.text import generate as words
from gpt2demo.ui.theme import notice, pieces

EXAMPLE_TOKENS, EXAMPLE_SECONDS = 80, 1.5  # at most, for what is there before anybody asked
EXAMPLES_KEPT = 32

Updates = Iterator[tuple[Any, ...]]


def build(page: Page) -> Tab:
    """Lays the tab out and wires it."""
    writer, reader = GenerateTab(page), ReadingPart(page)
    PrecisionPart(page, writer.controls, reader)
    return both(writer.tab(), reader.tab())


class GenerateTab:
    """The controls and what hangs on them. A session's texts are a Sheet in `controls.sheet`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.models = page.services.models
        self.beginnings = Beginnings(page.services.models)
        self.examples: Memo[Draft] = Memo(EXAMPLES_KEPT)
        self.controls = Controls()
        self.look = Look()
        self._wire()
        add_endpoint(page)

    def _wire(self) -> None:
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": None,
        }
        c, look = self.controls, self.look
        request = [c.turn, self.page.ref, c.prompt, c.sheet, c.spot, c.pins, *c.settings, c.fresh]
        outputs = [c.strip, c.sheet, c.seed, c.notice, *c.buttons, c.spot, *c.panel]
        seen = [c.sheet, c.spot, *c.rules]
        new = gr.on([c.generate.click, c.prompt.submit], self.write_new, request, outputs, **quiet)
        one = c.step.click(self.write_one, request, outputs, **quiet)
        branch = c.take.click(self.write_branch, [*request, c.other], outputs, **quiet)
        writers = [new, one, branch]
        for writer in writers:
            for ended in (writer.success, writer.failure):  # `then` is not called after a failure
                ended(self.idle, None, c.buttons, **quiet)
        c.stop.click(self.stop_writing, c.turn, None, **quiet)
        self.page.ref.change(self.leave, c.turn, c.buttons, cancels=writers, **quiet)
        c.reset.click(self.start_over, request[1:], outputs, **quiet)
        c.offered.click(lambda sample: sample[0] if sample else gr.skip(), c.offered, c.prompt, **quiet)
        c.strip.token(look.look_at, seen, [c.spot, *c.panel], **quiet)
        c.strip.token(None, None, None, js=REVEAL_JS)
        c.strip.pin(look.pin, [c.sheet, c.pins], c.pins, **quiet)
        moved = [control.change for control in c.rules]
        gr.on(moved, look.redraw, seen, c.panel, trigger_mode="always_last", **quiet)
        c.bars.point(look.choose_bar, seen, c.other, **quiet)
        for button, text, script in (
            (c.copy, look.plain_text, COPY_JS),
            (c.save, look.plain_text, SAVE_JS),
            (c.save_all, look.whole_sheet, SAVE_ALL_JS),
        ):
            button.click(text, [c.sheet, c.spot], c.plain, **quiet).success(None, c.plain, None, js=script)

    def tab(self) -> Tab:
        """What the frame calls when the tab is opened or another model is taken in hand."""
        c = self.controls
        return Tab(
            refresh=self.refresh,
            inputs=[self.page.ref, c.prompt, c.given, c.sheet, c.pins, *c.settings],
            outputs=[c.prompt, c.offered, c.given, c.strip, c.sheet, c.notice, c.spot, *c.panel],
        )

    def refresh(
        self,
        ref: str,
        prompt: str,
        given: list[str],
        old: Sheet | None,
        pins: Collection[str],
        *values: Any,
    ) -> tuple[Any, ...]:
        """Shows the model in hand with the visitor's own prompt, or with an example that suits it.

        Texts that were pinned stay beside it, also those of other models.
        """
        wanted = ModelRef.parse(ref)
        offered = self.beginnings.of(wanted)
        loaded = self.models.get(wanted)
        own = bool(prompt) and (prompt not in given or prompt in offered)
        unknown = loaded.tokenizer.unknown(prompt) if own else ""
        begin_with = prompt if own and not unknown else offered[0]
        config = Settings(*values).config()
        config = replace(config, max_new_tokens=min(config.max_new_tokens, EXAMPLE_TOKENS))
        draft = self._example(ref, loaded, begin_with, config)
        kept = [text for text in (old.drafts if old else ()) if text.key in pins and text.key != draft.key]
        sheet = lay_out([*kept[1 - COLUMNS :], draft], pins)
        spot = Spot(column=len(sheet.drafts) - 1, step=most_undecided(draft))
        sheet = sheet.marked(spot)
        return (
            prompt if own else begin_with,
            gr.Dataset(samples=[[text] for text in offered], visible=any(offered)),
            [*dict.fromkeys([*given, *offered])][-50:],
            sheet.strip,
            sheet,
            pieces(
                notice(words.unknown_prompt(" ".join(map(repr, unknown[:8])))) if unknown else None,
                notice(words.column_gone(title(kept[0]))) if len(kept) == COLUMNS else None,
            ),
            spot,
            *panel(draft, spot.step, config),
        )

    def _example(self, ref: str, loaded: LoadedModel, text: str, config: SamplingConfig) -> Draft:
        """A short text by this model, written by this server once and shared by all who open the tab."""

        def make() -> Draft:
            prompt = read_prompt(loaded.tokenizer, text)
            draft = begin(loaded, ref, prompt, config, source_sentence(self.page, ref, loaded))
            with closing(write([draft], loaded, seconds=EXAMPLE_SECONDS)) as growing:
                for (grown,) in growing:
                    draft = grown
            return draft

        return self.examples.get((ref, loaded.ref, loaded.facts.state, text, config), make)

    @guarded
    def write_new(
        self, turn: Turn, ref: str, prompt: str, sheet: Sheet | None, spot: Spot, pins: Any, *values: Any
    ) -> Updates:
        """Generate: new texts from the prompt, one for each sample, or those that beam search finds."""
        settings = Settings(*values)
        drafts = self._begin(ref, prompt, settings.configs(), settings.bits)
        if settings.followed:
            sheet, (column,) = start(sheet, drafts[:1], pins)
            yield from self._search(turn, sheet, column, ref, settings, pins)
            return
        sheet, columns = start(sheet, drafts, pins)
        yield from self._write(turn, sheet, columns, ref, [d.rules for d in drafts], settings.bits)

    @guarded
    def write_one(
        self, turn: Turn, ref: str, prompt: str, sheet: Sheet | None, spot: Spot, pins: Any, *values: Any
    ) -> Updates:
        """Step: one more token of the text in hand, or the first one of a new text."""
        settings = Settings(*values)
        old = sheet.at(spot) if sheet is not None else None
        if sheet is not None and old is not None and old.belongs_to(ref, prompt):
            config = settings.config(old, length=1)
            yield from self._write(turn, sheet, [spot.column], ref, [config], settings.bits)
            return
        drafts = self._begin(ref, prompt, [settings.config(length=1)])
        sheet, columns = start(sheet, drafts, pins)
        yield from self._write(turn, sheet, columns, ref, [drafts[0].rules], settings.bits)

    @guarded
    def write_branch(
        self, turn: Turn, ref: str, prompt: str, sheet: Sheet | None, spot: Spot, pins: Any, *values: Any
    ) -> Updates:
        """Takes another token at the selected place, and writes on from there beside the old text."""
        *controls, other = values
        draft = sheet.at(spot) if sheet is not None else None
        if sheet is None or draft is None or spot.step is None or spot.step < 0 or not isinstance(other, int):
            raise TextError("No token is chosen.", words.CHOOSE_FIRST, "Click a token of the text.")
        settings = Settings(*controls)
        config = settings.config(draft)
        branch = take(draft, spot.step, other, config)
        sheet, column, gone = add_branch(sheet, spot.column, branch, pins)
        said_ = notice(words.column_gone(title(gone))) if gone is not None else ""
        yield from self._write(
            turn, sheet, [column], draft.ref, [config], settings.bits, show=spot.step, message=said_
        )

    @guarded
    def start_over(
        self, ref: str, prompt: str, sheet: Sheet | None, spot: Spot, pins: Any, *values: Any
    ) -> tuple[Any, ...]:
        """Back to the prompt, so that Step begins with its first token."""
        config = Settings(*values).config()
        sheet, (column,) = start(sheet, self._begin(ref, prompt, [config]), pins)
        spot = Spot(column=column)
        return (sheet.strip, sheet, config.seed, "", *self.idle(), spot, *panel(sheet.at(spot), None, config))

    def _begin(
        self, ref: str, text: object, configs: Sequence[SamplingConfig], bits: str = "fp32"
    ) -> list[Draft]:
        loaded = self.models.get(ModelRef.parse(ref))
        prompt = read_prompt(loaded.tokenizer, text)
        by = source_sentence(self.page, ref, loaded)
        drafts = [begin(loaded, ref, prompt, config, by) for config in configs]
        return [replace(draft, sample=i, precision=bits) for i, draft in enumerate(drafts)]

    def _there(self, ref: str) -> Callable[[], object]:
        """Raises NotFoundError once the model is deleted."""
        wanted = ModelRef.parse(ref)
        return lambda: self.models.folder(wanted)

    def _write(
        self,
        turn: Turn,
        sheet: Sheet,
        columns: list[int],
        ref: str,
        configs: Sequence[SamplingConfig],
        bits: str,
        *,
        show: int | None = None,
        message: str = "",
    ) -> Updates:
        """Lets the model write on in some columns, each by its own settings. The rest as for `_show`."""
        loaded = self.models.get(ModelRef.parse(ref))
        by = source_sentence(self.page, ref, loaded)
        drafts = [
            sheet.drafts[c].by(loaded, config, bits, by) for c, config in zip(columns, configs, strict=True)
        ]
        sheet = sheet.grown(columns, drafts).marked(Spot(column=columns[0]))
        growing = write(drafts, loaded, share=sheet.share, there=self._there(ref))
        sheets = grow(sheet, columns, growing, turn)
        yield from self._show(turn, sheet, columns[0], sheets, show=show, message=message)

    def _search(
        self, turn: Turn, sheet: Sheet, column: int, ref: str, settings: Settings, pins: Collection[str]
    ) -> Updates:
        """Lets a beam search find the texts from the last column on. The rest as for `_show`."""
        loaded = self.models.get(ModelRef.parse(ref))
        sheet = sheet.marked(Spot(column=column))
        beams, there = settings.followed, self._there(ref)
        sheets = search(sheet, column, loaded, beams=beams, turn=turn, pins=pins, there=there)
        yield from self._show(turn, sheet, column, sheets)

    def _show(
        self,
        turn: Turn,
        sheet: Sheet,
        column: int,
        sheets: Generator[Sheet, None, None],
        *,
        show: int | None = None,
        message: str = "",
    ) -> Updates:
        """Streams a sheet as it grows: strip, sheet, seed, notice, buttons, and at the end the panel.

        show: the step that the panel shows afterwards; by default the one written, or the most undecided.
        """
        turn.wanted = "write"
        old = sheet.drafts[column]
        one = old.rules.max_new_tokens == 1
        spot = Spot(column=column)
        same_buttons = [gr.skip()] * len(self.controls.buttons)
        same_panel = [gr.skip()] * len(self.controls.panel)
        seed = old.seed - old.sample
        yield (sheet.strip, sheet, seed, message, *_buttons(writing=not one), spot, *same_panel)
        with closing(sheets):
            for sheet in sheets:
                if turn.wanted == "leave":
                    return
                yield (sheet.strip, sheet, gr.skip(), gr.skip(), *same_buttons, gr.skip(), *same_panel)
        draft = sheet.drafts[column]
        if show is None:
            show = len(draft.steps) - 1 if one else most_undecided(draft, len(old.steps))
        spot = replace(spot, step=show)
        sheet = sheet.marked(spot)
        shown = panel(draft, show, old.rules)
        yield (sheet.strip, sheet, gr.skip(), gr.skip(), *self.idle(), spot, *shown)

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


def _buttons(*, writing: bool) -> tuple[Any, ...]:
    """Generate, Step, Stop, Back, Continue: while the model writes only Stop can be pressed."""
    free = gr.update(interactive=not writing)
    return free, free, gr.update(interactive=writing), free, free
