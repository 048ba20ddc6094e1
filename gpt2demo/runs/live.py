"""What a page asks for again and again while a run goes on: everything that is new, as plain JSON."""

import math
from dataclasses import asdict
from typing import Any

from gpt2demo.errors import check_range
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.training.config import MAX_STEPS
from gpt2demo.training.folder import RunFacts, RunFolder
from gpt2demo.training.journal import Journal, RunStatus
from gpt2demo.training.loop import TrainStep

MOST_ROWS = 2_000  # in one answer


def view(
    folder: RunFolder, after_step: int = -1, *, status: RunStatus | None = None, position: int | None = None
) -> dict[str, Any]:
    """The steps later than `after_step`, and how the run stands.

    status: instead of what the folder says about itself. position: the run's place in the queue. A backlog of
    more than 2,000 steps comes thinned out evenly, but with every validation and with the last step. →

    | key         | value                                                                                    |
    |-------------|------------------------------------------------------------------------------------------|
    | "run"       | the name of the folder, which is the run's id                                            |
    | "steps"     | rows of step, training loss, validation loss or None, learning rate, length of the       |
    |             | gradient, tokens per second, seconds of training                                         |
    | "samples"   | all of them, each with step, prompt and text                                             |
    | "status"    | see `_status`                                                                            |
    | "snapshots" | the steps whose weights can be looked at                                                 |
    """
    check_range("The step", after_step, -1, MAX_STEPS, integer=True)
    status = status or folder.status()
    journal = folder.journal()
    validation = journal.validation()
    last = journal.last_step()
    backlog = last.step - after_step if last else 0
    every = math.ceil(backlog / max(1, MOST_ROWS - len(validation) - 1))
    new = journal.steps(after=int(after_step), limit=MOST_ROWS, every=max(1, every))
    return {
        "run": folder.path.name,
        "steps": [_row(step) for step in new],
        "samples": [asdict(sample) for sample in journal.samples()],
        "status": _status(folder, status, last, validation) | {"position": position},
        "snapshots": list(folder.snapshot_steps()),
    }


def best_validation(journal: Journal) -> TrainStep | None:
    """The step with the lowest validation loss so far, the earliest of several; None before the first."""
    return _best(journal.validation())


def steps_made(status: RunStatus, last: TrainStep | None) -> int:
    """How many updates a run has made, as far as is known: its last record was written before an update."""
    return max(last.step if last else 0, status.checkpoint_step or 0)


def bits_per_character(loss: float | None, tokens: int, characters: int) -> float | None:
    """A loss in nats per token, in the unit in which models with different tokenizers can be compared.

    tokens, characters: of the whole text. None for a loss that is not known, or a text that was not counted.
    """
    if loss is None or not tokens or not characters:
        return None
    return loss / math.log(2) * tokens / characters


def _best(validation: list[TrainStep]) -> TrainStep | None:
    return min(
        validation, key=lambda step: math.inf if step.val_loss is None else step.val_loss, default=None
    )


def _row(step: TrainStep) -> list[float | int | None]:
    return [
        step.step,
        step.train_loss,
        step.val_loss,
        step.learning_rate,
        step.gradient_norm,
        step.tokens_per_second,
        step.elapsed,
    ]


def _status(
    folder: RunFolder, status: RunStatus, last: TrainStep | None, validation: list[TrainStep]
) -> dict[str, Any]:
    """Losses are in nats per token, times in seconds; None stands for what is not known yet."""
    facts = folder.facts()
    newest = validation[-1] if validation else None
    val_loss = newest.val_loss if newest else None
    best = _best(validation)
    return {
        "state": status.state,
        "message": status.message,
        "step": steps_made(status, last),
        "steps_planned": status.steps_planned,
        "tokens": last.tokens if last else 0,
        "time_left": _time_left(facts, status, last),
        "elapsed": last.elapsed if last else 0.0,
        "val_loss": val_loss,
        "best_val_loss": best.val_loss if best else None,
        "best_step": best.step if best else None,
        "final_val_loss": status.final_val_loss,
        "bits_per_character": bits_per_character(val_loss, facts.tokens, facts.characters),
        "accuracy": newest.val_accuracy if newest else None,
        "tokens_per_second": last.tokens_per_second if last else None,
        "learning_rate": last.learning_rate if last else None,
        "parameters": count_parameters(folder.config()),
        "checkpoint_step": status.checkpoint_step,
        "unsaved": status.unsaved,
        "diverged_at": status.diverged_at,
        "slower": list(status.slower),
    }


def _time_left(facts: RunFacts, status: RunStatus, last: TrainStep | None) -> float | None:
    """Seconds of training to go: at the speed of the last moments, or of the whole run if that is slower.

    The speed of the last moments leaves out the evaluations, that of the whole run knows them.
    """
    if status.state != "running" or status.steps_planned is None or last is None or last.step == 0:
        return None
    now = facts.training.rows * facts.training.length / max(last.tokens_per_second, 1e-9)
    overall = last.elapsed / (last.step + 1)
    return max(0, status.steps_planned - last.step) * max(now, overall)
