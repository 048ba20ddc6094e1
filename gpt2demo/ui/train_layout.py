"""Where everything stands on the Train tab."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from gpt2demo.model.config import PRESETS
from gpt2demo.text.documents import ENCODINGS
from gpt2demo.text.samples import SampleText
from gpt2demo.training.config import usual_precision
from gpt2demo.ui.components import (
    HeadGrid,
    Number,
    RunView,
    SafeHTML,
    Slider,
    TokenStrip,
    run_value,
)
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint, section
from gpt2demo.ui.train_learning import LearningLayout
from gpt2demo.ui.train_variants import VariantsLayout

USUAL_SIZE = "nano"
MOST_VOCABULARY = 8_192


class FormLayout:
    """The controls of the form, and the places where it answers."""

    def __init__(self, samples: tuple[SampleText, ...], hand: gr.State) -> None:
        """hand: the model in hand, from which a run can go on."""
        self.hand = hand
        with gr.Row(elem_classes="gd-cols", elem_id="train-form"):
            with gr.Column():
                self._text(samples)
            with gr.Column():
                self._model()
            with gr.Column():
                self._run()
        self.variants = VariantsLayout()
        self.learning = LearningLayout()

    def _text(self, samples: tuple[SampleText, ...]) -> None:
        SafeHTML(section(words.TEXT, words.TEXT_HINT, step=1))
        self.source = gr.Radio(
            [(words.SAMPLE_SOURCE, "sample"), (words.UPLOAD_SOURCE, "upload"), (words.PASTE_SOURCE, "paste")],
            value="sample",
            label=words.SOURCE,
            elem_id="train-source",
        )
        self.sample = gr.Dropdown(
            [(sample.title, sample.key) for sample in samples],
            value=samples[0].key if samples else None,
            label=words.SAMPLE,
            info=samples[0].about if samples else "",
            elem_id="train-sample",
        )
        with gr.Column(visible=False) as self.upload_part:
            self.files = gr.File(label=words.UPLOAD, file_count="multiple", height=150, elem_id="train-files")
            SafeHTML(hint(words.UPLOAD_HINT))
        self.encoding = gr.Dropdown(
            list(ENCODINGS),
            value=None,
            label=words.ENCODING,
            info=words.ENCODING_INFO,
            visible=False,
            elem_id="train-encoding",
        )
        self.pasted = gr.Textbox(
            label=words.PASTE,
            info=words.PASTE_INFO,
            placeholder=words.PASTE_PLACEHOLDER,
            lines=8,
            max_lines=8,
            visible=False,
            elem_id="train-paste",
        )
        self.report = SafeHTML(hint(words.REPORT_WAIT), elem_id="train-report")
        with gr.Column(elem_classes="gd-first-lines"):
            SafeHTML(section(words.FIRST_LINES, words.FIRST_LINES_HINT, level=3))
            self.strip = TokenStrip(
                label=words.FIRST_LINES, placeholder=words.NO_TOKENS, min_lines=4, elem_id="train-tokens"
            )

    def _model(self) -> None:
        SafeHTML(section(words.MODEL, words.MODEL_HINT, step=2))
        self.begin = gr.Radio(
            list(words.BEGINNINGS),
            value="new",
            label=words.BEGIN,
            info=words.BEGIN_INFO,
            elem_id="train-begin",
        )
        with gr.Column() as self.new_part:
            self.tokenizer = gr.Radio(
                list(words.TOKENIZERS),
                value="char",
                label=words.TOKENIZER,
                info=words.TOKENIZER_INFO,
                elem_id="train-tokenizer",
            )
            self.vocabulary = Slider(
                260,
                MOST_VOCABULARY,
                1_024,
                step=4,
                label=words.VOCABULARY,
                info=words.VOCABULARY_INFO,
                visible=False,  # until word pieces are chosen
                elem_id="train-vocabulary",
                elem_classes="gd-full",
            )
            self.size = gr.Radio(
                [(words.SIZES[name], name) for name in PRESETS],
                value=USUAL_SIZE,
                label=words.SIZE,
                info=words.SIZE_INFO,
                elem_id="train-size",
            )
        self.context = Slider(
            8,
            1_024,
            PRESETS[USUAL_SIZE]["n_positions"],
            step=8,
            label=words.CONTEXT,
            info=words.CONTEXT_INFO,
            elem_id="train-context",
            elem_classes="gd-full",
        )
        self.dropout = Slider(
            0,
            0.5,
            PRESETS[USUAL_SIZE]["dropout"],
            step=0.05,
            label=words.DROPOUT,
            info=words.DROPOUT_INFO,
            elem_id="train-dropout",
            elem_classes="gd-full",
        )
        self.about_model = SafeHTML(elem_id="train-model-report")

    def _run(self) -> None:
        SafeHTML(section(words.RUN, words.RUN_HINT, step=3))
        self.budget = gr.Radio(
            list(words.BUDGETS),
            value="minutes",
            label=words.BUDGET,
            elem_id="train-budget",
            elem_classes="gd-full",
        )
        self.minutes = Slider(
            0.5, 30, 2, step=0.5, label=words.MINUTES, info=words.MINUTES_INFO, elem_id="train-minutes"
        )
        self.steps = Number(
            600, label=words.STEPS, info=words.STEPS_INFO, precision=0, visible=False, elem_id="train-steps"
        )
        self.epochs = Number(
            4, label=words.EPOCHS, info=words.EPOCHS_INFO, visible=False, elem_id="train-epochs"
        )
        with gr.Column(elem_classes="gd-full"):
            self.optimizer = gr.Radio(
                list(words.OPTIMIZERS),
                value="muon",
                label=words.OPTIMIZER,
                info=words.OPTIMIZER_INFO,
                elem_id="train-optimizer",
            )
            self.batch = Slider(
                1, 128, 12, step=1, label=words.BATCH, info=words.BATCH_INFO, elem_id="train-batch"
            )
            self.batches = gr.Radio(
                list(words.BATCHES),
                value="packed",
                label=words.BATCHES_LABEL,
                info=words.BATCHES_INFO,
                elem_id="train-batches",
            )
            with gr.Row(elem_classes="gd-pair"):
                self.rate = Number(
                    0, label=words.RATE, info=words.RATE_INFO, min_width=120, elem_id="train-rate"
                )
                self.seed = Number(
                    1337,
                    label=words.SEED,
                    info=words.SEED_INFO,
                    precision=0,
                    min_width=120,
                    elem_id="train-seed",
                )
            self.precision = gr.Radio(
                list(words.PRECISIONS),
                value=usual_precision(),
                label=words.PRECISION,
                info=words.PRECISION_INFO,
                elem_id="train-precision",
            )
            self.knobs = gr.CheckboxGroup(
                list(words.KNOBS),
                label=words.KNOBS_LABEL,
                info=words.KNOBS_INFO,
                elem_id="train-knobs",
            )
            self.title = gr.Textbox(label=words.TITLE, info=words.TITLE_INFO, elem_id="train-title")
            self.prompt = gr.Textbox(label=words.PROMPT, info=words.PROMPT_INFO, elem_id="train-prompt")
        self.estimate = SafeHTML(elem_id="train-estimate")
        self.start = gr.Button(words.START, variant="primary", size="lg", elem_id="train-start")
        self.said = SafeHTML(elem_id="train-said")
        self.nonce = gr.Textbox(visible="hidden", elem_id="train-nonce", label="nonce")

    @property
    def controls(self) -> list[Any]:
        """All that a person fills in, in the order of the fields of Form."""
        return [
            self.source,
            self.sample,
            self.files,
            self.encoding,
            self.pasted,
            self.begin,
            self.hand,
            self.tokenizer,
            self.vocabulary,
            self.size,
            self.context,
            self.dropout,
            *self.variants.controls,
            self.batches,
            self.precision,
            self.knobs,
            *self.learning.controls,
            self.budget,
            self.minutes,
            self.steps,
            self.epochs,
            self.optimizer,
            self.batch,
            self.rate,
            self.seed,
            self.title,
            self.prompt,
        ]


class LiveLayout:
    """The run in hand and its heads."""

    def __init__(self, poll: Callable[[list[Any]], dict[str, Any]]) -> None:
        with gr.Column(elem_classes="gd-panel", elem_id="train-live"):
            with gr.Row(elem_classes="gd-live-head"):
                with gr.Column(min_width=240):
                    SafeHTML(section(words.LIVE))
                    self.whose = SafeHTML(elem_id="train-whose")
                    self.note = SafeHTML(elem_id="train-note")
                with gr.Row(elem_classes="gd-actions"):
                    with gr.Row(
                        elem_classes="gd-actions", elem_id="train-actions", visible=False
                    ) as self.actions:
                        self.pause = gr.Button(words.PAUSE, elem_id="train-pause")
                        self.resume = gr.Button(words.RESUME, elem_id="train-resume")
                        self.slower = gr.Button(words.SLOWER, elem_id="train-slower")
                        self.stop = gr.Button(words.STOP, variant="stop", elem_id="train-stop")
                    self.link = gr.Button(words.LINK, elem_classes="gd-quiet", elem_id="train-link")
            with gr.Row(elem_classes="gd-split-right"):
                with gr.Column():
                    self.view = RunView(
                        run_value("starter"),
                        poll=poll,
                        label="Training run",
                        placeholder=words.LIVE_EMPTY,
                        elem_id="train-run",
                    )
                with gr.Column():
                    SafeHTML(section(words.HEADS, words.HEADS_HINT, level=3))
                    self.heads = HeadGrid(
                        label=words.HEADS, placeholder=words.NO_HEADS, detail=False, elem_id="train-heads"
                    )
                    self.heads_note = SafeHTML(elem_id="train-heads-note")
                    self.probe = gr.Textbox(
                        label=words.PROBE, info=words.PROBE_INFO, lines=2, max_lines=4, elem_id="train-probe"
                    )
