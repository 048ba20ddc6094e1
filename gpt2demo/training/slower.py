"""After a run diverged: it goes on with a tenth of its learning rate, from before it went wrong."""

import shutil
from pathlib import Path

from gpt2demo.errors import ConfigError
from gpt2demo.training.checkpoint import discard_after, whole_steps
from gpt2demo.training.config import MAX_STEPS
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import Journal
from gpt2demo.training.lock import hold

SOUND = 2.0  # times the lowest loss so far: above that a run is on its way out


def diverged_checkpoints(folder: RunFolder) -> Path:
    """Where the weights of the step that broke are kept, for whoever wants to look."""
    return folder.path / "diverged"


def go_slower(folder: RunFolder) -> int:
    """Prepares a run that diverged to go on with a tenth of its learning rate. → the step it goes on from

    A loss depends on the weights and the batch, not on the rate: from the very step that broke, a slower run
    would break in the same way. So it goes back to the newest checkpoint from before its loss exploded, or to
    its beginning. What came after is struck from the diary, and the rate from there on is kept in it: the
    rate of every step stays a pure function of what is stored. Raises ConfigError for a run that did not
    diverge, BusyError while it is being trained.
    """
    folder.facts()  # refuses a folder without a run
    with hold(folder.lock):
        journal = folder.journal()
        status = journal.status()
        if status.diverged_at is None:
            raise ConfigError(
                "This run did not diverge.",
                "Only one that ended with numbers that are not finite goes on slower.",
                "Continue it as it is, or start a new run with another learning rate.",
            )
        step = _sound_step(folder, journal)
        discard_after(folder.path / "checkpoints", step)  # first: a crash in between changes nothing
        for path in folder.snapshots.glob("step-*.safetensors"):
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()
        shutil.rmtree(diverged_checkpoints(folder), ignore_errors=True)
        journal.rewind(
            step,
            slower=(*status.slower, step),
            diverged_at=None,
            checkpoint_step=step if step in whole_steps(folder.path / "checkpoints") else None,
            state="paused",
            wanted="run",
            message=f"It goes on from step {step:,} with a tenth of the learning rate.",
        )
        journal.add_event(
            f"It had diverged at step {status.diverged_at:,}. "
            f"From step {step:,} on the learning rate is a tenth of what was planned."
        )
    return step


def _sound_step(folder: RunFolder, journal: Journal) -> int:
    """The newest checkpoint whose loss is at most twice the lowest until then; if none is, the beginning."""
    sound, lowest = {0}, float("inf")
    for record in journal.steps(limit=MAX_STEPS):
        lowest = min(lowest, record.train_loss)
        if record.train_loss <= SOUND * lowest:
            sound.add(record.step)
    return next((step for step in whole_steps(folder.path / "checkpoints") if step in sound), 0)
