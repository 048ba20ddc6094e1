"""What a run keeps while it trains, diary and weights, and what becomes of it when the disk refuses."""

import sqlite3
import time
from contextlib import suppress
from typing import Any

from gpt2demo.errors import FileError
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.training import checkpoint
from gpt2demo.training.course import Course
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import Journal, Sample
from gpt2demo.training.loop import TrainingState, TrainStep

DIARY_PATIENCE = 60.0  # seconds that a run goes on although nobody can read how it does


class Keeper:
    """Writes down what a run does and saves what it has learnt.

    A full or broken disk does not end the run at once. When it refuses a checkpoint the older ones stay what
    they are, the diary says so, and each later checkpoint is a new attempt. When it refuses the diary as well
    everything is remembered and written as soon as it can be; after a minute the run ends, because nobody can
    see it, pause it, or find its losses again. A folder that has vanished ends it at once.
    """

    def __init__(self, folder: RunFolder, journal: Journal) -> None:
        self.folder = folder
        self.journal = journal
        self.course = Course(1)  # the worker sets it
        self.steps: list[TrainStep] = []  # not written yet, as the next two
        self.samples: list[Sample] = []
        self.news: list[str] = []
        self.repeats = True  # so far, the steps after a resume are the ones from before
        self.flushed = self.saved = time.monotonic()  # when it was last tried
        self.save_cost = 0.0  # seconds that the last checkpoint took
        self.saved_step: int | None = None  # the newest step that a crash cannot take away; None: not known
        self.unsaved = ""  # what cannot be saved at the moment, and why
        self._known_course = self.course.to_json()  # what the diary says
        self._silent_since: float | None = None  # when the diary refused for the first time

    def correct(self, record: TrainStep) -> None:
        """Lets the course follow the clock: the run is to end when its time is over."""
        self.course.correct(record.step, record.elapsed)

    def flush(self) -> None:
        """Writes the diary, or remembers what it does not take for a while. Then raises OperationalError."""
        self.flushed = time.monotonic()
        try:
            self.write_down()
            self._silent_since = None
        except sqlite3.OperationalError:
            self.check_there()
            self._silent_since = self._silent_since or self.flushed
            if self.flushed - self._silent_since > DIARY_PATIENCE:
                raise

    def write_down(self) -> None:
        """Writes the diary: what stands there already, because the last attempt was cut off, is no harm."""
        if self.course.to_json() != self._known_course:  # before the steps that were made by it
            self._known_course = self.course.to_json()
            self.journal.tell(steps_planned=self.course.last, course=self._known_course)
        different = self.journal.add_steps(self.steps)
        self.steps.clear()
        if different and self.repeats:
            self.repeats = False
            self.news.append(f"From step {different[0]} on, the resume did not repeat exactly.")
        while self.samples:
            self.journal.add_sample(self.samples[0])
            del self.samples[0]
        while self.news:
            self.journal.add_event(self.news[0])
            del self.news[0]
        facts: dict[str, Any] = {"heartbeat": time.time(), "unsaved": self.unsaved}
        if self.saved_step is not None:
            facts["checkpoint_step"] = self.saved_step
        self.journal.tell(**facts)

    def wanted(self) -> str:
        """What people want: run, pause or stop. Nobody can want anything while the diary cannot be read."""
        try:
            return self.journal.status().wanted
        except sqlite3.OperationalError:
            return "run"

    def save(self, state: TrainingState) -> None:
        """Writes the diary, a checkpoint and the newest weights. Raises OSError or OperationalError.

        In this order: from a checkpoint that is ahead of the diary, the steps in between could never be
        written down.
        """
        self.write_down()
        began = time.monotonic()
        try:
            checkpoint.save(self.folder.path / "checkpoints", state)
            self.folder.save_model(state.team.whole(state.model), state.step)
        finally:
            self.saved = time.monotonic()
            self.save_cost = self.saved - began
        self.saved_step = state.step
        if self.unsaved:
            self.unsaved = ""
            self.news.append(f"Saving works again: everything up to step {state.step:,} is saved.")
        self.write_down()

    def try_to_save(self, state: TrainingState) -> None:
        """The same, but when the disk refuses, the page is told so and the run goes on."""
        try:
            self.save(state)
        except (OSError, sqlite3.OperationalError) as error:
            self.check_there()
            if not self.unsaved:
                self.news.append(f"At step {state.step:,} nothing could be saved ({why(error)}). {self.kept}")
            self.unsaved = (
                f"Nothing can be saved at the moment ({why(error)}). {self.kept} "
                "Training goes on and tries again; if it ended now, what came since then would be lost."
            )
            self.flush()

    def bring_up_to_date(self, state: TrainingState) -> None:
        """Saves, unless the newest weights are those of this step already."""
        with suppress(FileError):  # damaged weights are written anew
            if self.saved_step == state.step == self.folder.newest_step():
                return
        self.try_to_save(state)

    def try_to_keep_snapshot(self, model: LanguageModel, step: int) -> None:
        """Keeps the weights for looking back, or says that it could not."""
        try:
            self.folder.save_snapshot(model, step)
        except OSError as error:
            self.check_there()
            self.news.append(
                f"The weights of step {step:,} could not be kept for looking back ({why(error)})."
            )

    @property
    def kept(self) -> str:
        """A sentence that says what a crash cannot take away."""
        if self.saved_step is None:
            return "Nothing of this run is saved yet."
        return f"Everything up to step {self.saved_step:,} is saved."

    def check_there(self) -> None:
        """Raises FileError when the run's folder has vanished: then nothing can ever be saved again."""
        if not (self.folder.path / "run.json").is_file():
            raise FileError(
                "The run's folder has vanished, or somebody has emptied it.",
                "A run keeps its diary and its checkpoints there.",
                "Put it back and continue the run, or start a new one.",
            )

    def unwritable(self, error: Exception) -> FileError:
        """What is said when the run ends because of the disk."""
        return FileError(
            f"The run's folder cannot be read or written ({why(error)}).",
            f"A run keeps its diary and its checkpoints there. {self.kept}",
            "See that it has room and may be written, then continue the run from its last checkpoint.",
        )


def why(error: Exception) -> str:
    """Why the disk refused, in the system's words and without a path."""
    return getattr(error, "strerror", None) or str(error)
