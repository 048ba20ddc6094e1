"""A run told epoch by epoch: how well it did on average each time through its text, and how long it took."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gpt2demo.training.folder import RunFacts
from gpt2demo.training.journal import Journal

MOST_ROWS = 40  # of a table; where a run goes through its text more often, each row stands for several times


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of the table: once through the text, or several times. Losses are in nats per token."""

    first: int  # which time through the text, from 1
    last: int  # the same as `first`, or the last one that the row stands for
    steps: int
    train_loss: float  # mean of its steps
    val_loss: float | None  # the newest that was measured in it; None: it was not looked at
    seconds: float | None  # of training, for each time through the text; None: it is not at its end yet


def epochs(journal: Journal, facts: RunFacts, planned: int | None, *, after_step: int = -1) -> list[Epoch]:
    """The rows that hold steps later than `after_step`, whole, the last one as far as it is.

    planned: how many steps the run will make. Empty where that is not known yet, or where nobody counted the
    windows of the text. A step belongs to the epoch in which its batch begins, see `text.batches.batch`.
    """
    if not planned or facts.settings is None or not facts.windows:
        return []
    rows = facts.settings.rows  # windows that a step reads
    several = epochs_per_row(planned * rows / facts.windows, rows / facts.windows)
    return list(
        _table(journal, Stretches(several * facts.windows, rows), several, planned, max(0, after_step))
    )


def epochs_per_row(epochs: float, least: float) -> int:
    """How many epochs a row of the table stands for: 1, 2, 5, 10 …, so that there are few rows.

    epochs: of the whole run. least: epochs in a step, which belongs to one row.
    """
    wanted = max(1.0, least, epochs / MOST_ROWS)
    power: int = 10 ** math.floor(math.log10(wanted))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= wanted)


@dataclass(frozen=True)
class Stretches:
    """Steps in stretches of so many windows each, `rows` of which one step reads; all in whole numbers."""

    windows: int
    rows: int

    def of(self, step: int) -> int:
        """In which stretch a step begins."""
        return step * self.rows // self.windows

    def begin(self, number: int) -> int:
        """The first step of a stretch."""
        return -(-number * self.windows // self.rows)


def _table(
    journal: Journal, stretches: Stretches, several: int, planned: int, after_step: int
) -> Iterator[Epoch]:
    begin = stretches.begin(stretches.of(after_step))
    looks = [look for look in journal.validation() if look.step > begin]
    before = journal.elapsed(begin)
    sums = journal.sums(stretches.windows, stretches.rows, first=begin, end=planned)
    for number, count, loss, elapsed in sums:
        begin, end = stretches.begin(number), min(planned, stretches.begin(number + 1))
        val_losses = [look.val_loss for look in looks if begin < look.step <= end]
        part = several * (end - begin) * stretches.rows / stretches.windows  # the last row may be shorter
        yield Epoch(
            first=number * several + 1,
            last=(number + 1) * several,
            steps=count,
            train_loss=loss,
            val_loss=val_losses[-1] if val_losses else None,
            seconds=(elapsed - before) / part if count == end - begin else None,
        )
        before = elapsed
