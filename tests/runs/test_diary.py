"""A diary from elsewhere gives what a run can have written, and nothing that it brings along is ever run."""

import random
import sqlite3
import time
import tracemalloc
from contextlib import closing
from dataclasses import replace

import pytest

from gpt2demo.errors import FileError
from gpt2demo.runs import diary
from gpt2demo.runs.diary import copy_foreign_diary
from gpt2demo.training.journal import Journal, RunStatus, Sample
from gpt2demo.training.loop import TrainStep

STEP = TrainStep(
    step=0,
    tokens=0,
    train_loss=1 / 3,
    val_loss=None,
    val_accuracy=None,
    learning_rate=1e-3,
    gradient_norm=0.1,
    tokens_per_second=1e4,
    elapsed=0.5,
)
SAMPLE = Sample(step=3, prompt="the", text=" cat\x00 <b>")


@pytest.fixture
def source(tmp_path):
    """The diary of a run that was at work, as an export holds it."""
    journal = Journal(tmp_path / "foreign.sqlite")
    journal.add_steps(
        replace(STEP, step=i, tokens=64 * i, val_loss=2.5 if i % 3 == 0 else None) for i in range(9)
    )
    journal.add_sample(SAMPLE)
    journal.add_event("Training began.", at=12.5)
    journal.tell(
        state="running", wanted="run", steps_planned=30, checkpoint_step=6, heartbeat=99.0, message="x"
    )
    change(journal.path, "PRAGMA journal_mode=DELETE")
    return journal.path


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


@pytest.fixture
def copied(source, tmp_path):
    def copied():
        for left in tmp_path.glob("run.sqlite*"):
            left.unlink()
        journal = Journal(tmp_path / "run.sqlite")
        copy_foreign_diary(source, journal)
        return journal

    return copied


def test_everything_that_a_run_wrote_comes_over_to_the_last_bit(source, copied):
    theirs, ours = Journal(source, read_only=True), copied()
    assert ours.steps() == theirs.steps() and len(ours.steps()) == 9
    assert ours.samples() == [SAMPLE] and ours.events() == [(12.5, "Training began.")]


def test_a_run_that_was_at_work_is_paused(copied):
    status = copied().status()
    assert status.state == "paused" and status.wanted == "pause" and "moved here" in status.message
    assert status.steps_planned == 30 and status.checkpoint_step == 6 and status.heartbeat == 0.0


@pytest.mark.parametrize("state", ["done", "stopped", "failed"])
def test_a_run_that_has_ended_stays_as_it_is(source, copied, state):
    Journal(source).tell(state=state, final_val_loss=1.25, final_val_tokens=900, message="Finished.")
    Journal(source).tell(slower=(4, 6), diverged_at=9)
    wanted = RunStatus(
        state=state,
        message="Finished.",
        steps_planned=30,
        checkpoint_step=6,
        final_val_loss=1.25,
        final_val_tokens=900,
        slower=(4, 6),
        diverged_at=9,
    )
    assert copied().status() == wanted


def test_the_file_itself_is_not_changed(source, copied):
    before = source.read_bytes()
    copied()
    assert source.read_bytes() == before
    assert not list(source.parent.glob("foreign.sqlite-*"))


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE VIEW more AS SELECT 1"],
        ["ALTER TABLE steps RENAME TO old", "CREATE VIEW steps AS SELECT * FROM old"],
        ["CREATE TRIGGER t AFTER INSERT ON events BEGIN SELECT 1; END"],
        ["CREATE TABLE more (x TEXT)"],
        ["CREATE INDEX more ON events (upper(text))"],
        ["CREATE VIRTUAL TABLE more USING fts5(x)"],
        [
            "DROP TABLE samples",
            "CREATE TABLE samples (step INTEGER PRIMARY KEY, prompt TEXT, text TEXT AS (hex(9)))",
        ],
        [
            "DROP TABLE samples",
            "CREATE TABLE samples (step INTEGER PRIMARY KEY CHECK (randomblob(9)), prompt TEXT)",
        ],
        [
            "DROP TABLE samples",
            "CREATE TABLE samples (step INTEGER PRIMARY KEY, prompt TEXT DEFAULT (hex(1)))",
        ],
        ["DROP TABLE samples", "CREATE TABLE samples AS SELECT 1"],
        [f"CREATE TABLE more{i} (x TEXT)" for i in range(30)],
    ],
)
def test_more_than_plain_tables_is_refused(source, copied, statements):
    change(source, *statements)
    with pytest.raises(FileError, match="tables are not those of a diary"):
        copied()


@pytest.mark.parametrize("table", ["steps", "samples", "events", "facts"])
def test_a_table_that_is_not_there_is_missed(source, copied, table):
    change(source, f"DROP TABLE {table}")
    with pytest.raises(FileError, match=f"no such table: {table}"):
        copied()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE steps SET train_loss = 'x' WHERE step = 3",
        "UPDATE steps SET train_loss = NULL WHERE step = 3",
        "UPDATE steps SET train_loss = 9e999 WHERE step = 3",
        "UPDATE steps SET step = 3.5 WHERE step = 3",
        "UPDATE steps SET step = -1 WHERE step = 3",
        "INSERT INTO facts VALUES ('slower', '[1, -1]')",
        "INSERT INTO facts VALUES ('slower', '3')",
        "UPDATE steps SET tokens = 1e300 WHERE step = 3",
        "UPDATE steps SET val_loss = x'00' WHERE step = 3",
        "UPDATE steps SET elapsed = x'00' WHERE step = 3",
        "UPDATE samples SET text = x'00'",
        "UPDATE samples SET text = NULL",
        "UPDATE samples SET prompt = printf('%.30000c', 'x')",
        "UPDATE samples SET text = CAST(x'ff' AS TEXT)",
        "UPDATE events SET time = 'noon'",
        "UPDATE events SET text = 7.5; ",
        "UPDATE facts SET value = '{' WHERE name = 'message'",
        "UPDATE facts SET value = '[' || printf('%.9000c', '[') WHERE name = 'message'",
        "UPDATE facts SET value = '3' WHERE name = 'message'",
        "UPDATE facts SET value = 'true' WHERE name = 'steps_planned'",
        "UPDATE facts SET value = '0' WHERE name = 'steps_planned'",
        "UPDATE facts SET value = '100000000' WHERE name = 'steps_planned'",
        "UPDATE facts SET value = '-1' WHERE name = 'checkpoint_step'",
        "UPDATE facts SET value = 'NaN' WHERE name = 'checkpoint_step'",
        "UPDATE facts SET value = x'31' WHERE name = 'checkpoint_step'",
    ],
)
def test_values_that_no_run_writes_are_refused(source, copied, statement):
    change(source, statement.strip("; "))
    if "7.5" in statement:  # SQLite makes text of it
        assert copied().events()[0][1] == "7.5"
        return
    with pytest.raises(FileError, match="diary run.sqlite cannot be used"):
        copied()


def test_facts_that_are_not_known_are_left_out(source, copied):
    change(
        source,
        "INSERT INTO facts VALUES ('evil', '1')",
        "UPDATE facts SET value = '[3]' WHERE name = 'state'",
    )
    assert copied().status().state == "paused"


@pytest.mark.parametrize(
    ("limit", "table"), [("MAX_SAMPLES", "samples"), ("MAX_EVENTS", "events"), ("MAX_STEPS", "steps")]
)
def test_there_are_only_so_many_of_each(source, copied, monkeypatch, limit, table):
    monkeypatch.setattr(diary, limit, -1 if table == "steps" else 0)
    with pytest.raises(FileError, match=f"more than 0 {table}"):
        copied()


def test_a_diary_too_large_is_not_opened(source, copied, monkeypatch):
    monkeypatch.setattr(diary, "MAX_DIARY_BYTES", 10)
    with pytest.raises(FileError, match="larger than 10 bytes"):
        copied()


def test_reading_takes_only_so_long(source, copied, monkeypatch):
    monkeypatch.setattr(diary, "SECONDS", -1.0)
    row = ", ".join(["?"] * len(vars(STEP)))
    with closing(sqlite3.connect(source)) as db, db:
        db.executemany(
            f"INSERT INTO steps VALUES ({row})",
            [tuple(vars(replace(STEP, step=i)).values()) for i in range(100, 20_000)],
        )
    with pytest.raises(FileError, match="interrupted"):
        copied()


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 5_000, b"x" * 5_000]
)
def test_what_is_no_database_is_refused(source, copied, content):
    source.write_bytes(content)
    with pytest.raises(FileError):
        copied()


def test_damage_that_no_row_shows_is_found(source, copied):
    data = bytearray(source.read_bytes())
    data[36:40] = (7).to_bytes(4, "big")  # how many pages are free, by the file's first page
    source.write_bytes(data)
    with pytest.raises(FileError, match="SQLite finds it damaged"):
        copied()


def test_damaged_diaries_are_read_or_refused(source, tmp_path):
    whole, luck, refused = source.read_bytes(), random.Random(3), 0
    for number in range(100):
        data = bytearray(whole)
        for _ in range(luck.randint(1, 6)):
            at = luck.choice(
                (luck.randrange(len(data)), luck.randrange(200), luck.randrange(0, len(data), 4096))
            )
            data[at] = luck.randrange(256)
        source.write_bytes(data)
        began = time.monotonic()
        try:
            copy_foreign_diary(source, Journal(tmp_path / f"{number}.sqlite"))
        except FileError:
            refused += 1
        assert time.monotonic() - began < 2
    assert 20 < refused < 100


def test_a_cell_that_claims_a_gigabyte_takes_no_memory(source, copied):
    change(source, "PRAGMA writable_schema = ON", "UPDATE samples SET text = printf('%.19000c', 'x')")
    tracemalloc.start()
    assert len(copied().samples()[0].text) == 19_000
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
