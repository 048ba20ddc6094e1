"""The controls of "How it learns, in detail": the numbers of the optimiser and its schedule."""

from typing import Any

import gradio as gr

from gpt2demo.ui.components import PlotlyPlot, SafeHTML
from gpt2demo.ui.text import learning as words
from gpt2demo.ui.theme import hint

RATES_HEIGHT = 300


class LearningLayout:
    """A folded part of the form. Its fields are empty until somebody knows better than the recipe."""

    def __init__(self) -> None:
        with gr.Accordion(words.LEARNING, open=False, elem_id="train-learning", elem_classes="gd-full"):
            SafeHTML(hint(words.LEARNING_HINT))
            with gr.Row(elem_classes="gd-cols"):
                with gr.Column():
                    self.decay = gr.Radio(
                        list(words.DECAYS),
                        value="",
                        label=words.DECAY,
                        info=words.DECAY_INFO,
                        elem_id="train-decay",
                    )
                with gr.Column():
                    with gr.Row(elem_classes="gd-pair"):
                        self.warmup = _field("warmup")
                        self.final_learning_rate = _field("final_learning_rate")
                    with gr.Row(elem_classes="gd-pair"):
                        self.weight_decay = _field("weight_decay")
                        self.gradient_clip = _field("gradient_clip")
                with gr.Column():
                    with gr.Row(elem_classes="gd-pair"):
                        self.accumulation = _field("accumulation")
                        self.evaluate_every = _field("evaluate_every")
                    self.patience = _field("patience")
            self.rates = RatesLayout()

    @property
    def controls(self) -> list[Any]:
        """All controls, in the order of the fields of Form."""
        return [
            self.decay,
            self.warmup,
            self.final_learning_rate,
            self.weight_decay,
            self.gradient_clip,
            self.accumulation,
            self.evaluate_every,
            self.patience,
        ]


class RatesLayout:
    """Where learning rates are tried out."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="gd-actions"):
            self.begin = gr.Button(words.TRY_RATES, elem_id="train-try-rates")
            self.use = gr.Button(words.USE_RATE, visible=False, elem_id="train-use-rate")
        self.found = gr.State(None)  # the rate that was found
        self.note = SafeHTML(hint(words.TRY_RATES_INFO), elem_id="train-rates-note")
        with gr.Column(visible=False) as self.drawn:
            self.plot = PlotlyPlot(label=words.RATES_LABEL, height=RATES_HEIGHT, elem_id="train-rates")


def _field(name: str) -> gr.Textbox:
    """A field for a number that may stay empty: gradio's own number field would show a 0 then."""
    return gr.Textbox(
        label=getattr(words, name.upper()),
        info=getattr(words, f"{name.upper()}_INFO"),
        placeholder=words.SUITS,
        max_lines=1,
        min_width=120,
        elem_id=f"train-{name.replace('_', '-')}",
    )
