"""The diary gives back what it was told, to the last bit, also to readers who come while it is written."""

import dataclasses
import math
import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest

from gpt2demo.training.journal import Journal, RunStatus, Sample
from gpt2demo.training.loop import TrainStep

NUMBERS = [
    0.1,
    1 / 3,
    5e-324,
    1.7976931348623157e308,
    -2.5e-310,
    1e22,
    math.pi,
    123456789.123456789,
    math.inf,
]


def step(number, **changes):
    numbers = {"train_loss": 2.5, "val_loss": None, "val_accuracy": None, "learning_rate": 0.001}
    numbers |= {"gradient_norm": 0.5, "tokens_per_second": 1e4, "elapsed": 0.01 * number}
    return TrainStep(step=number, tokens=64 * number, **numbers | changes)


@pytest.fixture
def journal(fast):
    return Journal(fast / "run.sqlite")


def test_an_empty_diary(journal):
    assert journal.steps() == journal.samples() == journal.events() == journal.validation() == []
    assert journal.last_step() is None and journal.status() == RunStatus()


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_come_back_exactly(journal, number):
    fields = ("train_loss", "val_loss", "val_accuracy", "learning_rate", "gradient_norm", "elapsed")
    for sign, place in ((1, 1), (-1, 2)):
        record = step(place, **dict.fromkeys(fields, sign * number))
        assert journal.add_steps([record]) == []
        assert journal.last_step() == record
        assert type(journal.last_step().step) is int and type(journal.last_step().tokens) is int


def test_the_largest_runs_come_back_exactly(journal):
    record = dataclasses.replace(step(1_000_000), tokens=512 * 1024 * 1_000_000)
    journal.add_steps([record])
    assert journal.steps() == [record]


def test_steps_come_in_order_and_in_parts(journal):
    records = [step(i, val_loss=1.0 + i if i % 4 == 0 else None) for i in range(23)]
    journal.add_steps(records[10:])
    journal.add_steps(records[:10])
    assert journal.steps() == records and journal.last_step() == records[-1]
    assert journal.steps(after=19) == records[20:]
    assert journal.steps(after=4, limit=3) == records[5:8]
    assert journal.steps(after=22) == []
    assert [r.step for r in journal.validation()] == [0, 4, 8, 12, 16, 20]
    assert [r.step for r in journal.steps(every=10)] == [0, 4, 8, 10, 12, 16, 20, 22]


def test_a_replayed_step_must_agree_with_the_first(journal):
    first = [step(i, val_loss=1.5 if i == 3 else None) for i in range(6)]
    journal.add_steps(first)
    clock = [dataclasses.replace(r, elapsed=99.0, tokens_per_second=1.0) for r in first]
    assert journal.add_steps(clock) == []  # how long it took may differ
    for field, value in (
        ("train_loss", math.nextafter(2.5, 3)),
        ("learning_rate", math.nextafter(0.001, 1)),
        ("gradient_norm", math.nextafter(0.5, 0)),
        ("tokens", 193),
        ("val_loss", None),
        ("val_loss", math.nextafter(1.5, 2)),
    ):
        different = dataclasses.replace(first[3], **{field: value})
        assert journal.add_steps([first[2], different, step(7)]) == [3], field
    assert journal.steps(after=-1)[:6] == first  # what was shown once stays


def test_samples_events_and_facts(journal):
    journal.add_sample(Sample(step=0, prompt="", text="\0 <b>ä</b> 你好\n"))
    journal.add_sample(Sample(step=5, prompt="Es war", text="old"))
    journal.add_sample(Sample(step=5, prompt="Es war", text="new"))
    assert [(s.step, s.text) for s in journal.samples()] == [(0, "\0 <b>ä</b> 你好\n"), (5, "new")]
    assert [s.step for s in journal.samples(after=0)] == [5]
    journal.add_event("Training began.")
    journal.add_event("Training ended.")
    assert [text for _, text in journal.events()] == ["Training began.", "Training ended."]
    journal.tell(state="running", final_val_loss=1 / 3, steps_planned=40)
    journal.tell(state="paused")
    assert journal.status() == RunStatus(state="paused", final_val_loss=1 / 3, steps_planned=40)
    with pytest.raises(ValueError, match="colour"):
        journal.tell(colour="red", state="failed")
    assert journal.status().state == "paused"


def test_a_batch_of_steps_is_written_as_a_whole_or_not_at_all(journal):
    with pytest.raises(AttributeError):
        journal.add_steps([step(1), step(2), "no step"])
    assert journal.steps() == []


def test_readers_see_whole_batches_while_they_are_written(journal):
    seen, faults, written = [], [], threading.Event()

    def read():
        try:
            while not written.is_set():
                rows = Journal(journal.path).steps()
                seen.append(len(rows))
                assert [r.step for r in rows] == list(range(len(rows)))
                journal.tell(wanted="pause")
        except Exception as error:
            faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with journal.kept_open():
        for start in range(0, 400, 10):
            journal.add_steps([step(i) for i in range(start, start + 10)])
    written.set()
    for reader in readers:
        reader.join(timeout=30)
    assert faults == [] and seen
    assert all(n % 10 == 0 for n in seen) and len(journal.steps()) == 400
    assert journal.status().wanted == "pause"


def test_a_diary_kept_open_is_one_file_afterwards(journal, fast):
    with journal.kept_open():
        journal.add_steps([step(0)])
        assert (fast / "run.sqlite-wal").exists()
    assert [p.name for p in fast.iterdir()] == ["run.sqlite"]


def test_what_was_written_outlives_a_kill(fast):
    code = (
        "import os, signal, sys; from pathlib import Path; from gpt2demo.training.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "with journal.kept_open():\n"
        "    journal.tell(state='running'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(fast / "run.sqlite")], check=False, timeout=60)
    assert done.returncode == -9
    assert Journal(fast / "run.sqlite").status().state == "running"


def test_a_shipped_diary_is_read_without_leaving_a_trace(journal, fast):
    journal.add_steps([step(i) for i in range(5)])
    journal.tell(state="done", message="ä")
    shipped = fast / "a strange?name#50%"  # which must not be read as a part of the address
    shipped.mkdir()
    shutil.copy(journal.path, shipped / "run.sqlite")
    before = (shipped / "run.sqlite").read_bytes()
    os.chmod(shipped / "run.sqlite", stat.S_IREAD)
    os.chmod(shipped, stat.S_IREAD | stat.S_IEXEC)
    try:
        reader = Journal(shipped / "run.sqlite", read_only=True)
        assert len(reader.steps()) == 5 and reader.status().message == "ä"
        assert reader.samples() == [] and reader.events() == []
        assert [p.name for p in shipped.iterdir()] == ["run.sqlite"]
        assert (shipped / "run.sqlite").read_bytes() == before
        with pytest.raises(Exception, match="readonly"):  # not even for root, who may write anywhere
            reader.tell(state="running")
    finally:
        os.chmod(shipped, stat.S_IRWXU)
