"""The models one can take in hand, each as the plain record that the list on the Models tab shows."""

import json
import math
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any

from gpt2demo.errors import UserError
from gpt2demo.figures.curves import spark_svg
from gpt2demo.runs.foreign import IMPORTED
from gpt2demo.runs.index import Entry
from gpt2demo.runs.live import bits_per_character
from gpt2demo.runs.models import STARTER_TITLE, ModelRef, ModelStore
from gpt2demo.runs.summary import RunSummary, summarise
from gpt2demo.training.folder import AT_WORK
from gpt2demo.training.journal import Journal
from gpt2demo.ui.text import common
from gpt2demo.ui.text import models as words
from gpt2demo.ui.variant_words import differences

CURVE_WIDTH, CURVE_HEIGHT = 120, 36  # pixels
CURVE_POINTS = 240  # read of one curve, about
UNREADABLE = (UserError, sqlite3.DatabaseError, OSError, ValueError, KeyError)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What one visitor finds: the models of the server, who asks, what is in hand, what came by a link."""

    models: ModelStore
    owner: str
    in_hand: ModelRef
    linked: tuple[str, ...]  # ids of runs of others

    def rows(self) -> list[dict[str, Any]]:
        """The starter, the visitor's own runs, the newest first, and those opened through a link."""
        store = self.models.store
        own = store.list(self.owner)
        mine = {run.id for run in own}
        rows = [self._row("starter", ModelRef("starter"), _starter(self.models))]
        rows += [self._row("own", ModelRef("run", run.id), run) for run in own]
        for id in self.linked:
            if id in mine:
                continue
            try:
                rows.append(self._row("linked", ModelRef("run", id), store.summary(id)))
            except UserError:
                continue  # its owner has deleted it
        return rows

    def _row(self, group: str, ref: ModelRef, run: RunSummary) -> dict[str, Any]:
        held = (self.in_hand.kind, self.in_hand.run_id) == (ref.kind, ref.run_id)
        curve, kind, command = "", "", ""
        variant: list[str] = []
        try:
            folder = self.models.folder(ref)
            curve, kind = curve_of(folder.journal())
            command = folder.facts().command
            config = folder.config()
            variant = [differences(config)] if config.variants else []
        except UNREADABLE:
            pass  # the row says that the run is damaged
        bits = bits_per_character(run.val_loss, run.tokens, run.characters)
        return {
            "ref": str(ref),
            "id": ref.run_id,
            "group": group,
            "title": run.title,
            "state": run.state,
            "state_words": state_words(run) if run.optimizer else words.BROUGHT,
            "working": run.state in AT_WORK,
            "message": run.message if run.state in ("failed", "interrupted") else "",
            "facts": [*_facts(run), *variant],
            "created": run.created,
            "loss": number(run.val_loss, 3),
            "loss_note": words.LOSS_FINAL if run.val_loss_is_final else words.LOSS_BEST,
            "bits": number(bits, 2),
            "curve": curve,
            "curve_kind": kind,
            "ready": bool(run.snapshot_steps),
            "in_hand": held,
            "at_step": self.in_hand.step if held else None,
            "command": command,
        }


def list_value(rows: list[dict[str, Any]], **news: Any) -> str:
    """The value of the list: its rows, and what has just come of a wish, such as `export`.

    A value with news is never equal to an earlier one, so that the browser notices it.
    """
    mark = {"mark": secrets.token_hex(4)} if news else {}
    return json.dumps({"rows": rows, **news, **mark})


def curve_of(journal: Journal) -> tuple[str, str]:
    """The validation loss of a run, or before there are two of them the training loss. → SVG, which one"""
    checked = [step.val_loss for step in journal.validation() if step.val_loss is not None]
    if len(checked) > 1:
        return spark_svg(checked, CURVE_WIDTH, CURVE_HEIGHT), words.VALIDATION
    last = journal.last_step()
    if last is None:
        return "", ""
    every = max(1, last.step // CURVE_POINTS)
    losses = [step.train_loss for step in journal.steps(every=every)]
    return spark_svg(losses, CURVE_WIDTH, CURVE_HEIGHT), words.TRAINING


def state_words(run: RunSummary) -> str:
    """How a run stands, in a few words."""
    said = words.STATES.get(run.state, run.state)
    return f"{said}, number {run.position} in the queue" if run.position is not None else said


def number(value: float | None, digits: int) -> str:
    """A measured number, or a dash."""
    return words.UNMEASURED if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def millions(parameters: int) -> str:
    """How big a model is: "0.81 M parameters"."""
    if parameters < 100_000:
        return f"{parameters:,} parameters"
    size = parameters / 1e6
    return f"{size:,.0f} M parameters" if size >= 99.5 else f"{size:.2g} M parameters"


def duration(seconds: float) -> str:
    """A time of training, as people say it."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5_400:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60:02d} min"


def _facts(run: RunSummary) -> list[str]:
    """The line below the title: text, tokens, size, steps, time."""
    if not run.preset:
        return []  # its files cannot be read
    more = len(run.documents) - 2
    texts = ", ".join(run.documents[:2]) + (f" and {more} more" if more > 0 else "")
    planned = f" of {run.steps_planned:,}" if run.steps_planned and run.steps_planned != run.step else ""
    size = millions(run.parameters)
    facts = [
        texts or common.ELSEWHERE,
        words.TOKENIZERS.get(run.tokenizer, run.tokenizer),
        size if run.preset == IMPORTED else f"{run.preset}, {size}",
    ]
    if run.step:
        facts += [f"{run.step:,}{planned} steps", f"{duration(run.seconds)} of training"]
    return facts


def _starter(models: ModelStore) -> RunSummary:
    """The starter as if it were a run in the list."""
    folder = models.folder(ModelRef("starter"))
    entry = Entry(id="starter", owner="", created=folder.facts().created, title=STARTER_TITLE)
    return summarise(entry, folder, position=None)
