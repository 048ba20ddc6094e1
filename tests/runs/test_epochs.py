"""The table of epochs: means and times of the steps that are noted, each in the epoch whose text it read."""

from dataclasses import replace

import pytest

from gpt2demo.runs.epochs import MOST_ROWS, epochs, epochs_per_row
from gpt2demo.training.loop import TrainStep


def step(number: int, *, look: bool = False) -> TrainStep:
    return TrainStep(
        step=number, tokens=64 * number, train_loss=1.0 + number, val_loss=100.0 + number if look else None,
        val_accuracy=None, learning_rate=0.1, gradient_norm=1.0, tokens_per_second=1.0,
        elapsed=0.5 * (number + 1),
    )  # fmt: skip


@pytest.fixture
def run(store, owner, help):
    """(windows, steps noted, looks) → diary and facts of a run that reads 4 windows in a step"""

    def run(windows, noted, looks=()):
        folder = store.folder(store.create(owner, help.plan()))
        folder.journal().add_steps(step(i, look=i in looks) for i in range(noted))
        return folder.journal(), replace(folder.facts(), windows=windows)

    return run


def test_each_step_counts_in_the_epoch_whose_windows_it_reads_first(run):
    journal, facts = run(10, 8, looks=(0, 2, 5, 7))
    first, second, third = epochs(journal, facts, 20)  # 10 windows: steps 0 1 2, then 3 4, then 5 6 7
    assert [(row.first, row.last, row.steps) for row in (first, second, third)] == [
        (1, 1, 3),
        (2, 2, 2),
        (3, 3, 3),
    ]
    assert [row.train_loss for row in (first, second, third)] == [2.0, 4.5, 7.0]
    assert [row.val_loss for row in (first, second, third)] == [102.0, 105.0, 107.0]
    assert first.seconds == pytest.approx(1.5 / 1.2) and second.seconds == pytest.approx(1.0 / 0.8)
    assert third.seconds == pytest.approx(1.5 / 1.2)


def test_an_epoch_that_goes_on_has_no_time_yet_and_is_told_again(run):
    journal, facts = run(8, 5)
    assert [row.seconds for row in epochs(journal, facts, 20)] == [1.0, 1.0, None]
    journal.add_steps([step(5)])
    (row,) = epochs(journal, facts, 20, after_step=4)
    assert (row.first, row.steps, row.train_loss, row.seconds) == (3, 2, 5.5, 1.0)


def test_the_measurement_after_the_last_step_is_no_step_of_another_epoch(run):
    journal, facts = run(8, 5, looks=(4,))  # 4 steps, and the record of the finished model
    rows = epochs(journal, facts, 4)
    assert [row.steps for row in rows] == [2, 2] and rows[-1].val_loss == 104.0


@pytest.mark.parametrize(("windows", "planned"), [(1, 8), (3, 100), (7, 10_000), (4, 123_456)])
def test_many_short_epochs_share_rows(run, windows, planned):
    journal, facts = run(windows, 8)
    rows = epochs(journal, facts, planned)
    several = rows[0].last
    assert all(row.last - row.first + 1 == several for row in rows) and rows[0].first == 1
    assert planned * 4 / windows / several <= MOST_ROWS and all(row.steps >= 1 for row in rows)
    assert sum(row.steps for row in rows) == 8


def test_rows_are_round_numbers():
    assert [epochs_per_row(n, 0.1) for n in (0.2, 40, 41, 100, 390, 400, 401, 1e5)] == [
        *(1, 1, 2, 5, 10, 10, 20, 5_000),
    ]
    assert epochs_per_row(8.0, 4.0) == 5


def test_what_is_not_known_is_no_table(run):
    journal, facts = run(8, 5)
    assert epochs(journal, facts, None) == epochs(journal, replace(facts, windows=0), 20) == []
    assert epochs(journal, replace(facts, settings=None), 20) == []
    assert epochs(run(8, 0)[0], facts, 20) == []


def test_the_page_is_sent_what_changed(store, owner, help):
    id = store.create(owner, help.plan())
    folder = store.folder(id)
    assert folder.facts().windows > 0
    folder.journal().tell(steps_planned=10_000)
    folder.journal().add_steps(step(i) for i in range(4_000))
    every = store.view(id)["epochs"]
    assert len(every) > 5 and every[0].keys() >= {"first", "last", "train_loss", "val_loss", "seconds"}
    assert store.view(id, 3_999)["epochs"] == every[-1:]
