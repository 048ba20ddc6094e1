"""Reading a text through the model's eyes: how surprising each token was, and what was copied."""

from typing import Any

import gradio as gr

from gpt2demo.errors import NotFoundError, UserError
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.runs.reading import Learnt, Reading, compare, learnt, read, to_json
from gpt2demo.text.copies import LEAST, MIN_LEAST, passage_length
from gpt2demo.ui.components import SafeHTML, Slider, TokenStrip
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.page import Page, Tab
from gpt2demo.ui.reading_view import Comparison, copies, numbers, strip
from gpt2demo.ui.text import reading as words
from gpt2demo.ui.theme import hint, notice, section

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
TEXTS_KEPT = 4  # training texts, of up to 12 MB each
READINGS_KEPT = 64  # of pieces that everybody may ask for
PARTS = ("training", "held_out")
SLIDER_LEAST = 100


class ReadingPart:
    """The controls and what they do. `seen`: what one visitor was given to read, and which piece is next."""

    def __init__(self, page: Page) -> None:
        self.models = page.services.models
        self.texts: Memo[Learnt | None] = Memo(TEXTS_KEPT)
        self.comparisons: Memo[Comparison] = Memo(READINGS_KEPT)
        self.examples: Memo[Reading] = Memo(READINGS_KEPT)
        self.page = page
        self.seen = gr.State({})
        self.due = gr.State("")  # the model that shall be shown: it is read apart from the tab's refresh
        self._layout()
        self.outputs = [self.text, self.strip, self.copies, self.numbers, self.seen]
        self._wire(page)

    def tab(self) -> Tab:
        """What the frame calls when the tab is opened or another model is taken in hand."""
        return Tab(refresh=self.refresh, inputs=[self.page.ref], outputs=[self.due])

    def _layout(self) -> None:
        with gr.Column(elem_classes="gd-panel", elem_id="reading"):
            SafeHTML(section(words.TITLE, words.ABOUT))
            with gr.Row(elem_classes="gd-split"):
                with gr.Column():
                    self.text = gr.Textbox(
                        label=words.TEXT,
                        info=words.TEXT_INFO,
                        placeholder=words.TEXT_PLACEHOLDER,
                        lines=8,
                        max_lines=16,
                        elem_id="reading-own",
                    )
                    self.own = gr.Button(words.READ, variant="primary", elem_id="reading-go")
                    with gr.Row(elem_classes="gd-actions"):
                        self.training = gr.Button(words.TRAINING, size="sm", elem_id="reading-training")
                        self.held_out = gr.Button(words.HELD_OUT, size="sm", elem_id="reading-held-out")
                    SafeHTML(hint(words.PIECES_INFO))
                    with gr.Column(elem_classes="gd-full"):
                        self.least = Slider(
                            MIN_LEAST, SLIDER_LEAST, LEAST, step=1, label=words.LEAST, info=words.LEAST_INFO,
                            elem_id="reading-least", interactive=True,
                        )  # fmt: skip
                with gr.Column():
                    self.strip = TokenStrip(
                        label=words.STRIP,
                        mode="flow",
                        placeholder=words.STRIP_PLACEHOLDER,
                        legend=True,
                        min_lines=8,
                        max_lines=16,
                        elem_id="reading-text",
                    )
                    self.copies = SafeHTML(elem_id="reading-copies")
                    self.numbers = SafeHTML(elem_id="reading-numbers")
                    SafeHTML(hint(words.LIMITS))

    def _wire(self, page: Page) -> None:
        now = [page.ref, self.text, self.least, self.seen]
        self.due.change(self.show, now, self.outputs, **QUIET)
        self.own.click(self.read_own, now, self.outputs, **QUIET)
        self.training.click(self.read_training, now, self.outputs, **QUIET)
        self.held_out.click(self.read_held_out, now, self.outputs, **QUIET)
        self.least.change(self.read_again, now, self.outputs, trigger_mode="always_last", **QUIET)
        offer(self.read_text, "read_text", concurrency_limit=4)

    def refresh(self, ref: str) -> str:
        """Says which model shall be shown; the reading itself follows, so that the tab does not wait."""
        return f"{ref} {self.models.describe(ModelRef.parse(ref)).step}"

    @guarded
    def show(self, ref: str, text: str, least: Any, seen: dict[str, Any]) -> tuple[Any, ...]:
        """The visitor's own text read by the model in hand, or an example."""
        loaded = self.models.get(ModelRef.parse(ref))
        if text and text != seen.get("given"):
            try:
                return self._shown(loaded, self._read(loaded, text, least), seen)
            except UserError as error:
                return (gr.skip(), "", notice(str(error), "warning"), "", seen)
        known = self.known(loaded)
        for part in reversed(PARTS):
            if known is not None and getattr(known, part):
                return self._piece(loaded, part, least, seen | {part: 0})
        try:
            return self._shown(
                loaded, self._read(loaded, words.ANY_TEXT, least), seen | {"given": words.ANY_TEXT}
            )
        except UserError:  # its characters are others
            return ("", "", notice(words.NO_TEXT), "", seen)

    @guarded
    def read_own(self, ref: str, text: str, least: Any, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Reads the text that was pasted."""
        loaded = self.models.get(ModelRef.parse(ref))
        return self._shown(loaded, self._read(loaded, text, least), seen)

    @guarded
    def read_again(self, ref: str, text: str, least: Any, seen: dict[str, Any]) -> tuple[Any, ...]:
        """The same text with passages of another length; nothing changes while a number is typed."""
        loaded = self.models.get(ModelRef.parse(ref))
        try:
            return self._shown(loaded, self._read(loaded, text, least), seen)
        except UserError:
            return (gr.skip(),) * len(self.outputs)

    @guarded
    def read_training(self, ref: str, text: str, least: Any, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Reads the next piece of training text."""
        return self._piece(self.models.get(ModelRef.parse(ref)), "training", least, seen)

    @guarded
    def read_held_out(self, ref: str, text: str, least: Any, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Reads the next piece of held-out text."""
        return self._piece(self.models.get(ModelRef.parse(ref)), "held_out", least, seen)

    @guarded
    def read_text(self, text: str, model: str = "starter", least: int = LEAST) -> dict[str, Any]:
        """Read a text through the eyes of a GPT-2 that was trained on this page: how surprising it found it.

        Gives perplexity, bits per character, the share of tokens that were its first guess, every token with
        its surprise in bits and its rank, and the passages that stand word for word in the training text; for
        comparison, the same measures on training text and on held-out text, null where that is not here.

        Args:
            text: The text to read, at most 20,000 characters and 4,096 tokens.
            model: "starter", "run:ID" for the newest weights of a run, or either with "@STEP" behind it.
            least: How many characters a passage must have to count as copied, 8 to 1,000.
        """
        loaded = self.models.get(ModelRef.parse(model))
        reading = read(
            loaded.model, loaded.tokenizer, text, self.known(loaded), least=least, guard=loaded.lock
        )
        compared = self._compared(loaded, reading.least)
        return {"model": str(loaded.ref)} | to_json(reading, loaded.tokenizer, compared)

    def known(self, loaded: LoadedModel) -> Learnt | None:
        """The text that the model learnt from, prepared once for everybody; None where it is not here."""
        folder = self.models.folder(loaded.ref)

        def make() -> Learnt | None:
            try:
                return learnt(folder)
            except NotFoundError:
                return None

        return self.texts.get(folder.path, make)

    def _compared(self, loaded: LoadedModel, least: int) -> Comparison:
        """The measures on training and held-out text, taken once for everybody."""

        def make() -> Comparison:
            known = self.known(loaded)
            if known is None:
                return dict.fromkeys(PARTS)
            model, tokenizer, lock = loaded.model, loaded.tokenizer, loaded.lock
            return {
                part: compare(model, tokenizer, known, held_out=part == "held_out", least=least, guard=lock)
                for part in PARTS
            }

        return self.comparisons.get((loaded.ref, least), make)

    def _read(self, loaded: LoadedModel, text: object, least: Any) -> Reading:
        known = self.known(loaded)
        return read(loaded.model, loaded.tokenizer, text, known, least=least, guard=loaded.lock)

    def _piece(self, loaded: LoadedModel, part: str, least: Any, seen: dict[str, Any]) -> tuple[Any, ...]:
        """The next piece of a part of the model's own text."""
        known = self.known(loaded)
        pieces = () if known is None else getattr(known, part)
        if not pieces:
            raise NotFoundError(*words.NO_PIECE)
        place = seen.get(part, 0) % len(pieces)
        key = (loaded.ref, part, place, passage_length(least))
        reading = self.examples.get(key, lambda: self._read(loaded, pieces[place], least))
        return self._shown(loaded, reading, seen | {part: place + 1, "given": pieces[place]})

    def _shown(self, loaded: LoadedModel, reading: Reading, seen: dict[str, Any]) -> tuple[Any, ...]:
        """→ the text, the strip, what was copied, the numbers, and what this visitor has seen"""
        known = self.known(loaded)
        return (
            reading.text,
            strip(loaded, reading),
            copies(reading),
            numbers(reading, self._compared(loaded, reading.least), known),
            seen,
        )
