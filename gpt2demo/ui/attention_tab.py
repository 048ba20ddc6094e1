"""The Attention tab: where each token of a text looks, in every head of the model in hand."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from gpt2demo.errors import LimitError, TextError, UserError, check_range
from gpt2demo.inspection.attention import HeadScores, head_scores
from gpt2demo.inspection.capture import capture
from gpt2demo.inspection.probe import fitting_part, probe_ids
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.text.display import display_tokens
from gpt2demo.ui.attention_parts import (
    best_name,
    best_of,
    example_texts,
    expected,
    flow,
    grid,
    meanings,
    ranked,
    score_table,
    strip,
    token_limit,
)
from gpt2demo.ui.components import HeadGrid, PlotlyPlot, SafeHTML, TokenStrip
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.escape import tag
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.own_text import OwnTexts
from gpt2demo.ui.page import Page, Tab, said
from gpt2demo.ui.text import attention as words
from gpt2demo.ui.theme import hint, notice, pieces, section

SCORED_MODELS = 64  # so many models at a step have their head scores remembered
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
EXAMPLES = {"name": words.EXAMPLE_NAME, "own": words.EXAMPLE_OWN, "twice": words.EXAMPLE_TWICE}

Values = dict[Component, Any]


def build(page: Page) -> Tab:
    """Lays the tab out and wires it."""
    tab = AttentionTab(page)
    return Tab(refresh=tab.refresh, inputs=[page.ref, tab.text, tab.seen], outputs=tab.outputs)


class AttentionTab:
    """The tab's controls and what they do. `seen` is what one visitor sees: model, text, example, part."""

    def __init__(self, page: Page) -> None:
        self.models = page.services.models
        self.own_texts = OwnTexts(self.models)
        self.scores: Memo[HeadScores] = Memo(SCORED_MODELS)
        self.seen = gr.State({})
        self._layout()
        self.outputs: list[Component] = [
            self.seen, self.text, self.note, self.offer, *self.examples.values(), self.strip, self.next,
            self.grid, *self.best.values(), self.table, self.flow,
        ]  # fmt: skip
        self._wire(page)

    def _layout(self) -> None:
        with gr.Row(elem_classes="gd-split-right"):
            with gr.Column():
                SafeHTML(pieces(section(words.TITLE, words.INTRO), hint(words.NOT_AN_EXPLANATION)))
                self.text = gr.Textbox(
                    label=words.PROBE_LABEL,
                    info=words.PROBE_INFO,
                    lines=2,
                    max_lines=4,
                    elem_id="attention-text",
                )
                with gr.Row(elem_classes="gd-actions"):
                    self.look_button = gr.Button(words.LOOK, variant="primary", elem_id="attention-look")
                    SafeHTML(hint(words.TRY))
                    self.examples = {
                        key: gr.Button(
                            name, size="sm", elem_classes="gd-quiet", elem_id=f"attention-try-{key}"
                        )
                        for key, name in EXAMPLES.items()
                    }
                self.note = SafeHTML(elem_id="attention-note")
                with gr.Row(elem_classes="gd-actions"):
                    self.offer = gr.Button(visible=False, elem_id="attention-offer")
                self.strip = TokenStrip(
                    label=words.TOKENS_LABEL, min_lines=2, max_lines=6, elem_id="attention-tokens"
                )
                SafeHTML(hint(words.TOKENS_HINT))
            with gr.Column():
                self.next = SafeHTML(elem_id="attention-next")
        with gr.Column(elem_classes="gd-panel gd-of-heads"):
            SafeHTML(section(words.GRID_TITLE, words.GRID_HINT))
            with gr.Row(elem_classes="gd-actions"):
                SafeHTML(hint(words.GO_TO))
                self.best = {
                    kind: gr.Button(name, size="sm", elem_id=f"attention-best-{kind}")
                    for kind, name in words.KINDS.items()
                }
            self.grid = HeadGrid(
                label=words.GRID_LABEL, placeholder=words.GRID_EMPTY, elem_id="attention-grid"
            )
        with gr.Row(elem_classes="gd-panel gd-split-right gd-of-heads"):
            with gr.Column():
                self.table = SafeHTML(elem_id="attention-scores")
            with gr.Column():
                SafeHTML(meanings())
        with gr.Row(elem_classes="gd-panel gd-full gd-cols gd-of-heads"):
            with gr.Column():
                SafeHTML(section(words.ROLLOUT_TITLE, words.ROLLOUT_HINT))
            with gr.Column():
                self.flow = PlotlyPlot(label=words.ROLLOUT_LABEL, height=520, elem_id="attention-rollout")

    def _wire(self, page: Page) -> None:
        shown: dict[str, Any] = QUIET | {"show_progress": "minimal", "show_progress_on": self.look_button}
        gr.on(
            [self.look_button.click, self.text.submit],
            self.look,
            [page.ref, self.text, self.seen],
            self.outputs,
            **shown,
        )
        self.offer.click(self.look_at_part, [page.ref, self.seen], self.outputs, **shown)
        for key, button in self.examples.items():
            button.click(partial(self.look_at_example, key), [page.ref, self.seen], self.outputs, **shown)
        for kind, button in self.best.items():
            button.click(partial(self.show_best, kind), [page.ref, self.seen], self.grid, **QUIET)
        self.strip.token(self.after_token, [page.ref, self.seen], self.next, **QUIET)
        offer(self.attention_of, "attention", concurrency_limit=4)

    @guarded
    def refresh(self, ref: str, text: str, seen: dict[str, Any]) -> tuple[Any, ...]:
        """The model in hand with the text of before, or with an example where it cannot read that."""
        loaded = self.models.get(ModelRef.parse(ref))
        texts = self._examples(loaded)
        default = next(iter(texts.values()))
        typed = text if isinstance(text, str) else ""
        if seen.get("model") == _whole(loaded):
            wanted = typed or seen.get("text") or default
        else:
            wanted = typed if typed and typed != seen.get("example") else default
        if wanted == default:
            seen = seen | {"example": default}
        values = self._draw_somehow(loaded, wanted, default, seen)
        values[self.text] = default if wanted == default else gr.skip()
        values |= {button: gr.Button(visible=EXAMPLES[key] in texts) for key, button in self.examples.items()}
        return self._ordered(values)

    @guarded
    def look(self, ref: str, text: str, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Reads the text that was typed; where it is too long, offers the first part of it."""
        loaded = self.models.get(ModelRef.parse(ref))
        try:
            return self._ordered(self._draw(loaded, text, seen))
        except LimitError as error:
            part = fitting_part(loaded.tokenizer, text, token_limit(loaded.config))
            tokens = len(loaded.tokenizer.encode(part))
            offer = gr.Button(words.OFFER.format(tokens=tokens), visible=tokens > 0)
            note = notice(str(error), "warning")
            return self._ordered({self.seen: seen | {"part": part}, self.note: note, self.offer: offer})

    @guarded
    def look_at_part(self, ref: str, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Reads the first part of a text that was too long."""
        part = str(seen.get("part", ""))
        loaded = self.models.get(ModelRef.parse(ref))
        return self._ordered({self.text: part} | self._draw(loaded, part, seen))

    @guarded
    def look_at_example(self, key: str, ref: str, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Reads an example that suits the model in hand."""
        loaded = self.models.get(ModelRef.parse(ref))
        texts = self._examples(loaded)
        text = texts.get(EXAMPLES[key]) or next(iter(texts.values()))
        return self._ordered({self.text: text} | self._draw(loaded, text, seen | {"example": text}))

    @guarded
    def show_best(self, kind: str, ref: str, seen: dict[str, Any]) -> str:
        """Chooses the head that is most of a kind."""
        loaded = self.models.get(ModelRef.parse(ref))
        scores = self._scores(loaded)
        head = best_of(ranked(scores), kind)
        ids = probe_ids(loaded.tokenizer, seen.get("text"))
        return grid(loaded, capture(loaded.model, ids, guard=loaded.lock), ranked(scores), head)

    @guarded
    def after_token(self, ref: str, seen: dict[str, Any], event: gr.EventData) -> Any:
        """What the model expects after the token that was clicked."""
        loaded = self.models.get(ModelRef.parse(ref))
        ids = probe_ids(loaded.tokenizer, seen.get("text"))
        index = said(event, "index")
        check_range("The token's place", index, 0, len(ids) - 1, integer=True)
        return expected(loaded, ids[: int(index or 0) + 1])

    @guarded
    def attention_of(self, model: str, text: str, layer: int = 0, head: int = 0) -> dict[str, Any]:
        """The attention weights of one head while a model reads a text of at most 128 tokens.

        Args:
            model: "starter", "run:ID" for the newest weights of a run, or either with "@STEP" behind it.
            text: what the model reads.
            layer: of the head, from 0.
            head: of its layer, from 0.

        Returns:
            The tokens as they are drawn, their ids, and weights[i][j], the share of its attention that
            token i gives to token j.
        """
        loaded = self.models.get(ModelRef.parse(model))
        check_range("layer", layer, 0, loaded.config.n_layer - 1, integer=True)
        check_range("head", head, 0, loaded.config.n_head - 1, integer=True)
        ids = probe_ids(loaded.tokenizer, text)
        activations = capture(loaded.model, ids, guard=loaded.lock)
        return {
            "model": str(loaded.ref),
            "tokens": display_tokens(loaded.tokenizer, ids),
            "ids": ids,
            "weights": activations.attention[int(layer), int(head)].tolist(),
        }

    def _examples(self, loaded: LoadedModel) -> dict[str, str]:
        own = self.own_texts.beginning(loaded)
        return example_texts(loaded.tokenizer, token_limit(loaded.config), own)

    def _scores(self, loaded: LoadedModel) -> HeadScores:
        """Measured once for each model at each step, whoever asks."""

        def measure() -> HeadScores:
            return head_scores(loaded.model, tokens=self.own_texts.tokens(loaded), guard=loaded.lock)

        return self.scores.get(loaded.ref, measure)

    def _draw_somehow(self, loaded: LoadedModel, text: str, default: str, seen: dict[str, Any]) -> Values:
        """The text, or its first part, or else the example, with a sentence that says so."""
        try:
            return self._draw(loaded, text, seen)
        except LimitError as error:
            trouble: UserError = error
            with suppress(TextError):
                part = fitting_part(loaded.tokenizer, text, token_limit(loaded.config))
                values = self._draw(loaded, part, seen)
                tokens = len(loaded.tokenizer.encode(part))
                return values | {
                    self.note: notice(str(error), "warning", todo=words.SHOWN_PART.format(tokens=tokens))
                }
        except TextError as error:
            trouble = error
        note = notice(str(trouble), "warning", todo=words.SHOWN_INSTEAD)
        return self._draw(loaded, default, seen) | {self.note: note}

    def _draw(self, loaded: LoadedModel, text: str, seen: dict[str, Any]) -> Values:
        """Everything there is to see of a text. Raises TextError and LimitError before drawing anything."""
        ids = probe_ids(loaded.tokenizer, text)
        kind = loaded.config.architecture
        activations = capture(loaded.model, ids, guard=loaded.lock) if kind == "gpt2" else None
        values: Values = {
            self.next: expected(loaded, ids),
            self.seen: seen | {"model": _whole(loaded), "text": text, "part": ""},
            self.note: "",
            self.offer: gr.Button(visible=False),
            self.strip: strip(loaded, ids),
        }
        if activations is None:  # what came before GPT-2: there are no heads, and their places are not shown
            why = tag("div", notice(words.NO_ATTENTION[kind]), class_="gd-no-heads")
            return values | {self.note: why, self.grid: "", self.table: "", self.flow: ""}
        values[self.flow] = flow(loaded, activations)
        try:
            scores = self._scores(loaded)
        except (
            LimitError
        ) as error:  # a model too small to read a repetition has no scores, but it has attention
            hidden = {button: gr.Button(visible=False) for button in self.best.values()}
            plain = grid(loaded, activations, [], None)
            values |= {self.grid: plain, self.table: notice(str(error))}
            return values | hidden
        heads = ranked(scores)
        first = None if seen.get("model") == _whole(loaded) else heads[0]
        buttons = {
            button: gr.Button(best_name(best_of(heads, kind), kind), visible=True)
            for kind, button in self.best.items()
        }
        values[self.grid] = grid(loaded, activations, heads, first)
        values[self.table] = score_table(heads, scores, loaded.step)
        return values | buttons

    def _ordered(self, values: Values) -> tuple[Any, ...]:
        return tuple(values.get(component, gr.skip()) for component in self.outputs)


def _whole(loaded: LoadedModel) -> str:
    """The model's name without its step."""
    return str(replace(loaded.ref, step=None))
