"""How much room and time the runs of a server may take, and what is said to those who want more."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt2demo.errors import LimitError
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.training.config import MAX_MINUTES, TrainingConfig
from gpt2demo.training.plan import RunPlan

DIARY_BYTES = 10_000_000  # allowed for a run's curve and samples
MAKE_ROOM = "Delete runs that you no longer need, or choose a smaller model."


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """How much room and time the runs may take."""

    runs_per_owner: int = 20
    bytes_per_owner: int = 1_000_000_000  # all runs of one browser together
    bytes_in_all: int = 5_000_000_000
    bytes_free: int = 1_000_000_000  # of the disk, which are left to others
    minutes_per_run: float = MAX_MINUTES  # of training
    minutes_per_turn: float = 15.0  # after which a run makes way for others that wait

    def check_time(self, training: TrainingConfig) -> None:
        """Raises LimitError for a budget in minutes that is larger than a run may have."""
        most = self.minutes_per_run
        if training.minutes is not None and training.minutes > most:
            raise LimitError(
                f"The run asks for {training.minutes:g} minutes.",
                f"On this server a run may train for at most {most:g}.",
                f"Choose {most:g} minutes or fewer; what it has learnt can be the beginning of another run.",
            )

    def check_room(self, needed: int, *, own: int, together: int, free: int) -> None:
        """Raises LimitError where there is no room for so many bytes more.

        own, together: those that the runs of the same browser, and of everybody, fill. free: on the disk.
        """
        for owner, whose, used, most in (
            ("your runs", "The runs of one browser", own, self.bytes_per_owner),
            ("the runs on this server", "All runs together", together, self.bytes_in_all),
        ):
            if used + needed > most:
                raise LimitError(
                    f"This run may need {_size(needed)} of disk, and {owner} fill {_size(used)}.",
                    f"{whose} may fill {_size(most)}.",
                    MAKE_ROOM,
                )
        if free - needed < self.bytes_free:
            raise LimitError(
                f"The disk of this server is nearly full: {_size(free)} are free.",
                f"{_size(self.bytes_free)} must stay free, and this run may need {_size(needed)}.",
                MAKE_ROOM,
            )

    def too_many_runs(self) -> LimitError:
        """What to say to somebody who has as many runs as one browser may keep."""
        return LimitError(
            f"You have {self.runs_per_owner} runs.",
            "One browser may keep at most so many.",
            "Delete one that you no longer need, then start again.",
        )


def disk_needed(plan: RunPlan) -> int:
    """How many bytes a run's folder can grow to: weights, checkpoints, snapshots, text and diary."""
    weights, training = 4 * count_parameters(plan.model), plan.training
    checkpoints = 3 * 3 * weights  # two and one in the making, each with the optimiser's two averages
    snapshots = min(int(training.snapshot_megabytes * 1e6), training.milestones * weights // 2)
    start = weights if plan.start is not None else 0
    text = sum(4 * len(text) for text in plan.corpus.texts)
    return weights + start + checkpoints + snapshots + text + DIARY_BYTES


def folder_bytes(path: Path) -> int:
    """How many bytes the files in a folder take, all levels down; 0 for a folder that is not there."""
    return sum(_file_sizes(path))


def _file_sizes(path: Path) -> Iterator[int]:
    for file in path.rglob("*"):
        try:
            yield file.lstat().st_size
        except OSError:
            continue  # a worker has just replaced it


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
