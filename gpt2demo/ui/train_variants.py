"""The controls of "What if GPT-2 had …": one for each field of GPT2Config that people argue about."""

from typing import Any

import gradio as gr

from gpt2demo.model.config import MAX_CHANNELS, MAX_EXPERTS, MAX_LAYERS, MAX_POSITIONS, GPT2Config
from gpt2demo.ui.components import Number, SafeHTML
from gpt2demo.ui.text import variants as words
from gpt2demo.ui.theme import hint


class VariantsLayout:
    """A folded part of the form, for those who want to try out why GPT-2 is built as it is."""

    def __init__(self) -> None:
        with gr.Accordion(
            words.VARIANTS, open=False, elem_id="train-variants", elem_classes="gd-full"
        ) as self.part:
            SafeHTML(hint(words.VARIANTS_HINT))
            with gr.Row(elem_classes="gd-cols"):
                with gr.Column():
                    self._size()
                with gr.Column():
                    self._block()
                with gr.Column():
                    self._attention()

    def _size(self) -> None:
        self.architecture = self._choice("architecture", words.ARCHITECTURES)
        with gr.Row(elem_classes="gd-pair"):
            self.n_layer = self._number("n_layer", 0, MAX_LAYERS, 0)
            self.n_head = self._number("n_head", 0, 64, 0)
        with gr.Row(elem_classes="gd-pair"):
            self.n_embd = self._number("n_embd", 0, MAX_CHANNELS, 0)
            self.n_inner = self._number("n_inner", 0, 8 * MAX_CHANNELS, 0)
        self.init = self._choice("init", words.INITS)

    def _block(self) -> None:
        self.norm = self._choice("norm", words.NORMS)
        self.activation = self._choice("activation", words.ACTIVATIONS)
        self.positions = self._choice("positions", words.POSITIONS_CHOICES)
        self.parts = gr.CheckboxGroup(
            list(words.PARTS_CHOICES),
            value=list(words.USUAL_PARTS),
            label=words.PARTS,
            info=words.PARTS_INFO,
            elem_id="train-parts",
        )

    def _attention(self) -> None:
        self.attention = self._choice("attention", words.ATTENTIONS)
        with gr.Row(elem_classes="gd-pair"):
            self.attention_window = self._number("attention_window", 1, MAX_POSITIONS)
            self.global_tokens = self._number("global_tokens", 0, MAX_POSITIONS)
        with gr.Row(elem_classes="gd-pair"):
            self.n_experts = self._number("n_experts", 1, MAX_EXPERTS)
            self.experts_per_token = self._number("experts_per_token", 1, MAX_EXPERTS)

    @property
    def controls(self) -> list[Any]:
        """All controls, in the order of the fields of Variants."""
        return [
            self.architecture,
            self.n_layer,
            self.n_head,
            self.n_embd,
            self.n_inner,
            self.norm,
            self.activation,
            self.positions,
            self.attention,
            self.attention_window,
            self.global_tokens,
            self.n_experts,
            self.experts_per_token,
            self.parts,
            self.init,
        ]

    def _choice(self, name: str, choices: tuple[tuple[str, str], ...]) -> gr.Radio:
        label, info = _words(name)
        return gr.Radio(
            list(choices),
            value=getattr(GPT2Config(), name),
            label=label,
            info=info,
            elem_id=f"train-{_id(name)}",
        )

    def _number(self, name: str, low: int, high: int, value: int | None = None) -> Number:
        label, info = _words(name)
        return Number(
            getattr(GPT2Config(), name) if value is None else value,
            minimum=low,
            maximum=high,
            precision=0,
            min_width=120,
            label=label,
            info=info,
            elem_id=f"train-{_id(name)}",
        )


def _id(name: str) -> str:
    return name.replace("_", "-")


def _words(name: str) -> tuple[str, str]:
    """Label and explanation of a control."""
    return getattr(words, name.upper()), getattr(words, f"{name.upper()}_INFO")
