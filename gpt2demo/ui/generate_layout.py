"""The Generate tab's controls: what stands where. What they do is in generate_tab.py."""

import gradio as gr

from gpt2demo.generation.prompts import MAX_SAMPLES
from gpt2demo.ui.components import Number, PlotlyPlot, SafeHTML, Slider, TokenColumns
from gpt2demo.ui.generate_panel import BARS_HEIGHT
from gpt2demo.ui.generate_sheet import Spot, Turn
from gpt2demo.ui.text import generate as words
from gpt2demo.ui.text import precision
from gpt2demo.ui.theme import empty, hint, section

KEEP_SECONDS = 3600  # how long a session's text is remembered
EXAMPLE_SEED = 7
SLIDER_LENGTH, SLIDER_TOP_K = 300, 100
BEAMS = (2, 3, 4, 8)  # offered; of more than four the four likeliest are shown

COPY_JS = """(text) => {
  const fallback = () => {
    const area = document.body.appendChild(GD.el("textarea", { style: "position:fixed;opacity:0" }));
    area.value = text; area.select(); document.execCommand("copy"); area.remove();
  };
  if (navigator.clipboard && isSecureContext) navigator.clipboard.writeText(text).catch(fallback);
  else fallback();
  return [];
}"""
REVEAL_JS = """() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.getElementById("generate-token")
    ?.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
  return [];
}"""
SAVE_JS = f"""(text) => {{
  GD.download("{words.SAVE_NAME}", text, "text/plain;charset=utf-8");
  return [];
}}"""
SAVE_ALL_JS = f"""(text) => {{
  GD.download("{words.SAVE_ALL_NAME}", text, "application/json");
  return [];
}}"""


class Controls:
    """All components of the tab: the prompt, the text, the rules, and how one token was chosen."""

    def __init__(self) -> None:
        self.sheet = gr.State(None, time_to_live=KEEP_SECONDS)
        self.turn = gr.State(Turn())
        # apart from the sheet, as they change while it is being written
        self.spot = gr.State(Spot())
        self.pins = gr.State(frozenset())  # the keys of the texts that are to stay
        self.given = gr.State([])  # the beginnings that this tab has put into the prompt or offered
        with gr.Row(elem_classes="gd-generate"):
            with gr.Column(elem_classes="gd-generate-left"):
                with gr.Column(elem_classes="gd-generate-prompt"):
                    self._lay_out_prompt()
                with gr.Column(elem_classes="gd-generate-rules"):
                    self._lay_out_rules()
            with gr.Column(elem_classes="gd-generate-middle"):
                with gr.Column(elem_classes="gd-generate-text"):
                    self._lay_out_text()
                with gr.Column(elem_classes="gd-generate-road"):
                    self.table = SafeHTML(elem_id="generate-road")
            with gr.Column(elem_classes="gd-generate-panel"):
                self._lay_out_panel()
        self.rules = [self.temperature, self.top_k, self.top_p, self.min_p, self.penalty]
        self.settings = [*self.rules, self.length, self.seed, self.stops, self.precision, self.samples]
        self.settings += [self.beams]
        self.buttons = [self.generate, self.step, self.stop, self.reset, self.take]
        self.panel = [self.head, self.bars, self.table, self.other]

    def _lay_out_prompt(self) -> None:
        SafeHTML(section(words.TITLE, words.ABOUT))
        self.prompt = gr.Textbox(
            label=words.PROMPT,
            info=words.PROMPT_INFO,
            placeholder=words.PROMPT_PLACEHOLDER,
            lines=2,
            max_lines=6,
            elem_id="generate-prompt",
        )
        self.offered = gr.Dataset(
            components=[gr.Textbox(render=False)],
            samples=[],
            label=words.EXAMPLES,
            elem_id="generate-examples",
        )
        with gr.Row(elem_classes="gd-actions"):
            self.generate = gr.Button(words.GENERATE, variant="primary", elem_id="generate-go")
            self.step = gr.Button(words.STEP, elem_id="generate-step")
            self.stop = gr.Button(words.STOP, variant="stop", interactive=False, elem_id="generate-stop")
        SafeHTML(hint(words.BUTTONS))

    def _lay_out_text(self) -> None:
        SafeHTML(section(words.TEXT, words.HOW_TO_LOOK))
        self.notice = SafeHTML(elem_id="generate-notice")
        self.strip = TokenColumns(
            label=words.TEXT,
            placeholder=words.TEXT_PLACEHOLDER,
            pin=words.KEEP,
            pin_hint=words.KEEP_HINT,
            min_lines=7,
            max_lines=18,
            elem_id="generate-text",
        )
        with gr.Row(elem_classes="gd-actions"):
            self.copy = gr.Button(words.COPY, size="sm", elem_id="generate-copy")
            self.save = gr.Button(words.SAVE, size="sm", elem_id="generate-save")
            self.save_all = gr.Button(words.SAVE_ALL, size="sm", elem_id="generate-save-all")
            self.reset = gr.Button(words.RESET, size="sm", elem_id="generate-reset")
        self.plain = gr.Textbox(visible=False)

    def _lay_out_rules(self) -> None:
        SafeHTML(section(words.CHOOSING, words.CHOOSING_ABOUT))
        self.temperature = Slider(
            0, 2, 0.8, step=0.05, label=words.TEMPERATURE, info=words.TEMPERATURE_INFO,
            elem_id="generate-temperature", interactive=True,
        )  # fmt: skip
        self.top_k = Slider(
            0, SLIDER_TOP_K, 0, step=1, label=words.TOP_K, info=words.TOP_K_INFO,
            elem_id="generate-top-k", interactive=True,
        )  # fmt: skip
        with gr.Column(elem_classes="gd-full"):
            self.top_p = Slider(
                0.01, 1, 1, step=0.01, label=words.TOP_P, info=words.TOP_P_INFO,
                elem_id="generate-top-p", interactive=True,
            )  # fmt: skip
            self.min_p = Slider(
                0, 1, 0, step=0.01, label=words.MIN_P, info=words.MIN_P_INFO,
                elem_id="generate-min-p", interactive=True,
            )  # fmt: skip
            self.penalty = Slider(
                1, 2, 1, step=0.05, label=words.PENALTY, info=words.PENALTY_INFO,
                elem_id="generate-penalty", interactive=True,
            )  # fmt: skip
            SafeHTML(section(words.HOW_MUCH))
            self.length = Slider(
                1, SLIDER_LENGTH, 100, step=1, label=words.LENGTH, info=words.LENGTH_INFO,
                elem_id="generate-length", interactive=True,
            )  # fmt: skip
            self.samples = gr.Radio(
                list(range(1, MAX_SAMPLES + 1)), value=1, label=words.SAMPLES, info=words.SAMPLES_INFO,
                elem_id="generate-samples", interactive=True,
            )  # fmt: skip
            self.stops = gr.Textbox(
                label=words.STOPS, info=words.STOPS_INFO, lines=2, max_lines=4,
                elem_id="generate-stops", interactive=True,
            )  # fmt: skip
            self.beams = gr.Radio(
                [(words.BEAMS_OFF, 0), *BEAMS], value=0, label=words.BEAMS, info=words.BEAMS_INFO,
                elem_id="generate-beams", interactive=True,
            )  # fmt: skip
            self.precision = gr.Radio(
                list(words.PRECISIONS), value="fp32", label=words.PRECISION, info=words.PRECISION_INFO,
                elem_id="generate-precision", interactive=True,
            )  # fmt: skip
            self.measure = gr.Button(precision.MEASURE, size="sm", elem_id="generate-measure")
            self.cost = SafeHTML(elem_id="generate-cost")
            self.seed = Number(
                EXAMPLE_SEED, label=words.SEED, info=words.SEED_INFO, precision=0,
                elem_id="generate-seed", interactive=True,
            )  # fmt: skip
            self.fresh = gr.Checkbox(
                True, label=words.FRESH, container=False, elem_id="generate-fresh", interactive=True
            )

    def _lay_out_panel(self) -> None:
        self.head = SafeHTML(empty(words.NO_TOKEN), elem_id="generate-token")
        self.bars = PlotlyPlot(
            label=words.BARS,
            height=BARS_HEIGHT,
            placeholder=words.BARS_PLACEHOLDER,
            click=True,
            elem_id="generate-bars",
        )
        with gr.Row(elem_classes="gd-actions gd-take"):
            self.other = gr.Dropdown(
                [], label=words.TAKE, info=words.TAKE_INFO, elem_id="generate-other", min_width=200
            )
            self.take = gr.Button(words.TAKE_BUTTON, elem_id="generate-take")
