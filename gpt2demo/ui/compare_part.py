"""Runs laid over each other: their curves in one picture, and a table of what they are and how they ended."""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gpt2demo.errors import ConfigError, UserError, check_choice
from gpt2demo.figures.curves import Curve, loss_figure
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.live import bits_per_character, view
from gpt2demo.runs.models import ModelRef, ModelStore
from gpt2demo.training.folder import RunFacts, RunFolder
from gpt2demo.ui.components import PlotlyPlot, SafeHTML, plot_value
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.models_rows import duration
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import common
from gpt2demo.ui.text import compare as words
from gpt2demo.ui.theme import hint, notice, pieces, section
from gpt2demo.ui.variant_words import differences

STARTER = "starter"
CURVE_STEPS = 2_000
MOST_CURVES = 8
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


class ComparePart:
    """A choice of runs, their picture and their table; to be built inside a tab."""

    def __init__(self, services: Services, prefix: str) -> None:
        """prefix: of the ids in the page, as the part stands on two tabs."""
        self.services = services
        with gr.Column(elem_classes="gd-panel", elem_id=prefix):
            SafeHTML(section(words.COMPARE, words.COMPARE_HINT))
            with gr.Row(elem_classes="gd-compare-choice"):
                self.chosen = gr.Dropdown(
                    [], value=[], multiselect=True, label=words.CHOICE, elem_id=f"{prefix}-runs"
                )
                self.across = gr.Radio(
                    list(words.ACROSSES), value="steps", label=words.ACROSS, elem_id=f"{prefix}-across"
                )
            self.curves = PlotlyPlot(label=words.COMPARE, placeholder=words.EMPTY, elem_id=f"{prefix}-plot")
            self.results = SafeHTML(elem_id=f"{prefix}-results")
        self.shown = [self.curves, self.results]
        gr.on(
            [self.chosen.change, self.across.change],
            self.compare,
            [self.chosen, self.across],
            self.shown,
            trigger_mode="always_last",
            **QUIET,
        )

    def refresh(self, owner: Any, ref: ModelRef, chosen: Any, linked: Iterable[str] = ()) -> Any:
        """The dropdown with the runs there are: what was chosen stays, and the run in hand comes along."""
        choices = self._choices(owner, linked)
        known = [value for _, value in choices]
        run = ref.run_id or STARTER
        kept = [name for name in chosen if name in known] if isinstance(chosen, list) else []
        if kept == [STARTER]:
            kept = []  # nobody chooses that: it was there before there were runs
        in_hand = [run] if run in known and run != STARTER else []
        kept = kept or list(dict.fromkeys([*in_hand, *known[1:], STARTER]))[:2]
        if in_hand and run not in kept:
            kept = [*kept, run][-MOST_CURVES:]
        return gr.update(choices=choices, value=kept)

    def _choices(self, owner: Any, linked: Iterable[str]) -> list[tuple[str, str]]:
        own = [(run.title, run.id) for run in self.services.store.list(owner)]
        mine = {id for _, id in own}
        others = []
        for id in linked:
            with suppress(UserError):  # its owner has deleted it
                if id not in mine:
                    others.append((self.services.store.summary(id).title, id))
        return [(common.STARTER, STARTER), *own, *others]

    @guarded
    def compare(self, chosen: Any, across: Any) -> tuple[str, Safe]:
        """Lays the curves of the chosen runs over each other. → value of a PlotlyPlot, a table of results"""
        names = chosen if isinstance(chosen, list) else []
        if len(names) > MOST_CURVES:
            got, needed, todo = words.TOO_MANY
            raise ConfigError(got.format(count=len(names)), needed.format(most=MOST_CURVES), todo)
        check_choice("What curves are drawn across", across, [value for _, value in words.ACROSSES])
        runs = [_read(self.services.models, name) for name in names]
        if not runs:
            return "", pieces()
        curves = [curve(run.title, run.folder) for run in runs if run.facts.settings is not None]
        figure = plot_value(loss_figure(curves, x=across), name="runs-compared") if curves else ""
        no_curves = None if curves else notice(words.ALL_ELSEWHERE)
        return figure, pieces(no_curves, results(runs), hint(words.CAVEAT))


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A run that is compared with others."""

    title: str
    folder: RunFolder
    facts: RunFacts
    config: GPT2Config
    status: dict[str, Any]  # see `runs.live.view`

    @property
    def bits(self) -> float | None:
        """Bits per character of the model that was kept, or of the best so far."""
        final, best = self.status["final_val_loss"], self.status["best_val_loss"]
        loss = best if final is None else final
        return bits_per_character(loss, self.facts.tokens, self.facts.characters)


def _read(models: ModelStore, name: Any) -> Compared:
    ref = ModelRef.parse(name if name == STARTER else f"run:{name}")
    folder = models.folder(ref)
    return Compared(
        title=models.describe(ref).title,
        folder=folder,
        facts=folder.facts(),
        config=folder.config(),
        status=view(folder, -1)["status"],
    )


def curve(title: str, folder: RunFolder) -> Curve:
    """A run's curve as its diary has it; of a long one evenly chosen steps."""
    journal = folder.journal()
    last = journal.last_step()
    every = max(1, math.ceil((last.step if last else 0) / CURVE_STEPS))
    steps = journal.steps(every=every)
    checked = [(step.step, step.val_loss) for step in journal.validation() if step.val_loss is not None]
    return Curve(
        name=title,
        steps=[step.step for step in steps],
        train=[step.train_loss for step in steps],
        validation_steps=[step for step, _ in checked],
        validation=[loss for _, loss in checked],
        tokens=[step.tokens for step in steps],
        seconds=[step.elapsed for step in steps],
    )


def results(runs: list[Compared]) -> Safe:
    """A table of what the runs are and how they ended; the lowest bits per character are marked."""
    head = (tag("th", name, scope="col", title=why or None) for name, why in words.HEAD)
    known = [bits for run in runs if (bits := run.bits) is not None]
    lowest = min(known) if len(known) > 1 else None
    rows = [tag("tr", *_cells(run, is_lowest=lowest is not None and run.bits == lowest)) for run in runs]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_="gd-results")
    return tag("div", table, class_="gd-scroll")


def _cells(run: Compared, *, is_lowest: bool) -> list[Safe]:
    """What the table says of one run, in the order of its head."""
    facts, status = run.facts, run.status
    settings, seconds = facts.settings, status["elapsed"]
    how = words.OPTIMIZERS.get(settings.optimizer, settings.optimizer) if settings else common.ELSEWHERE
    small = [how, words.TOKENS.get(facts.tokenizer, facts.tokenizer)]
    if settings:
        small.insert(0, facts.preset)
    best = status["best_val_loss"]
    return [
        tag("th", run.title, tag("small", " · ".join(small)), scope="row"),
        tag("td", differences(run.config), class_="gd-results-words"),
        tag("td", f"{status['parameters']:,}"),
        tag("td", f"{status['step']:,}" if settings else words.UNKNOWN),
        tag("td", duration(seconds) if seconds else words.UNKNOWN),
        tag("td", f"{status['tokens'] / seconds:,.0f}" if seconds else words.UNKNOWN),
        tag("td", words.UNKNOWN)
        if best is None
        else tag("td", f"{best:.3f}", tag("small", words.AT_STEP.format(step=status["best_step"]))),
        tag(
            "td",
            words.UNKNOWN if run.bits is None else f"{run.bits:.2f}",
            tag("small", words.LOWEST) if is_lowest else None,
            class_="gd-results-lowest" if is_lowest else None,
        ),
    ]
