"""The diary of a run from elsewhere, copied value by value: nothing in it is believed or can act."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from gpt2demo.errors import FileError, is_number
from gpt2demo.training.config import MAX_STEPS
from gpt2demo.training.course import CORRECTIONS
from gpt2demo.training.journal import STEP_COLUMNS, Journal, RunStatus, Sample
from gpt2demo.training.loop import TrainStep

MAX_DIARY_BYTES = 120_000_000  # a million steps take 100 MB
MAX_TEXT = 20_000  # characters of a sample
MAX_SENTENCE = 1_000  # characters of an event or a message
MAX_SAMPLES = 1_000
MAX_EVENTS = 10_000
MAX_SLOWER = 100  # times that a run can have gone on with a tenth of its learning rate
SECONDS = 20.0  # that reading may take
ENDED = ("done", "stopped", "failed")  # states that a run keeps when it is moved
# All that a diary's tables and its index may be: plain columns. Nothing that computes, checks or triggers.
PLAIN_TABLE = re.compile(
    r"CREATE TABLE (steps|samples|events|facts) "
    r"\((\w+ (REAL|INTEGER|TEXT)( PRIMARY KEY)?(, )?)+(PRIMARY KEY \(step\))?\)"
)
PLAIN_INDEX = "CREATE INDEX validations ON steps (step) WHERE val_loss IS NOT NULL"
MAX_TABLES = 20
BATCH = 1_000  # steps copied at a time


def copy_foreign_diary(source: Path, target: Journal) -> None:
    """Copies the known tables of a foreign `run.sqlite` into a new diary, each value checked.

    A file that brings along more than plain tables (views, triggers, computed columns, functions) is refused
    before any of it could run. A run that was at work is paused. Raises FileError, also for a damaged file
    and for values that no run of this program writes.
    """
    if source.stat().st_size > MAX_DIARY_BYTES:
        raise _unusable(f"it is larger than {MAX_DIARY_BYTES:,} bytes")
    try:
        with _opened(source) as db, target.kept_open():
            _check_whole(db)
            steps = (_train_step(row) for row in _rows(db, "steps", STEP_COLUMNS, MAX_STEPS + 1))
            while batch := list(islice(steps, BATCH)):
                target.add_steps(batch)
            for step, prompt, text in _rows(db, "samples", ("step", "prompt", "text"), MAX_SAMPLES):
                target.add_sample(
                    Sample(step=_whole(step), prompt=_text(prompt, MAX_TEXT), text=_text(text, MAX_TEXT))
                )
            for moment, text in _rows(db, "events", ("time", "text"), MAX_EVENTS, order="id"):
                target.add_event(_text(text, MAX_SENTENCE), at=_number(moment))
            status = _status(dict(_rows(db, "facts", ("name", "value"), 100)))
            target.tell(**{field.name: getattr(status, field.name) for field in fields(RunStatus)})
    except sqlite3.Error as error:
        raise _unusable(str(error)[:80]) from error
    except ValueError as error:
        raise _unusable(str(error)) from error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as it lies there, for reading only and for a limited time."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    deadline = time.monotonic() + SECONDS
    with closing(sqlite3.connect(address, uri=True)) as db:
        db.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        yield db


def _check_whole(db: sqlite3.Connection) -> None:
    """The tables must be plain tables, and SQLite must find the file whole."""
    schema = db.execute(f"SELECT sql FROM sqlite_master LIMIT {MAX_TABLES}").fetchall()
    if len(schema) == MAX_TABLES or not all(_is_plain(sql) for (sql,) in schema):
        raise ValueError("its tables are not those of a diary")
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise ValueError("SQLite finds it damaged")


def _is_plain(sql: object) -> bool:
    """sql: how a table or an index was made; None for the index that SQLite makes for a primary key."""
    return sql is None or sql == PLAIN_INDEX or (isinstance(sql, str) and bool(PLAIN_TABLE.fullmatch(sql)))


def _rows(
    db: sqlite3.Connection, table: str, columns: tuple[str, ...], most: int, *, order: str = ""
) -> Iterator[tuple[Any, ...]]:
    query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order or columns[0]}"
    for number, row in enumerate(db.execute(query)):
        if number >= most:
            raise ValueError(f"it has more than {most:,} {table}")
        yield row


def _train_step(row: tuple[Any, ...]) -> TrainStep:
    """One step, if every number in it can be one."""
    values: dict[str, Any] = dict(zip(STEP_COLUMNS, row, strict=True))
    for name in ("step", "tokens"):
        values[name] = _whole(values[name])
    for name in STEP_COLUMNS[2:]:
        if values[name] is not None or not name.startswith("val_"):
            values[name] = _number(values[name])
    return TrainStep(**values)


def _whole(value: object) -> int:
    if not is_number(value) or value != int(value) or not 0 <= value < 2**53:
        raise ValueError(f"{ascii(value)[:40]} in it is no count")
    return int(value)


def _planned(value: object) -> int:
    if not 1 <= _whole(value) <= MAX_STEPS:
        raise ValueError(f"it plans {ascii(value)[:40]} steps")
    return _whole(value)


def _steps(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_SLOWER:
        raise ValueError(f"{ascii(value)[:40]} in it is no list of steps")
    return tuple(_whole(step) for step in value)


def _course(value: object) -> list[tuple[int, float, int]]:
    """The legs of a run's course, each beginning after the one before it."""
    if not isinstance(value, list) or len(value) > 2 * CORRECTIONS:
        raise ValueError("its course is no list of legs")
    legs = []
    for leg in value:
        if not isinstance(leg, list) or len(leg) != 3 or not 0 <= _number(leg[1]) <= 1:
            raise ValueError("a leg of its course is not three numbers")
        legs.append((_whole(leg[0]), _number(leg[1]), _planned(leg[2])))
    starts = [step for step, _, _ in legs]
    if starts != sorted(set(starts)) or starts[:1] not in ([], [0]) or any(a > b for a, _, b in legs):
        raise ValueError("the legs of its course do not follow each other")
    return legs


def _number(value: object) -> float:
    if not is_number(value) or not math.isfinite(float(value)):
        raise ValueError(f"{ascii(value)[:40]} in it is no number")
    return float(value)


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"it holds something else than text of at most {most:,} characters")
    return value


def _status(stored: dict[Any, Any]) -> RunStatus:
    """How the run says it is doing. What is not known here, and what asks for work, is left out."""
    checks: dict[str, Callable[[Any], Any]] = {
        "message": lambda v: _text(v, MAX_SENTENCE),
        "steps_planned": _planned,
        "checkpoint_step": _whole,
        "final_val_loss": _number,
        "final_val_tokens": _whole,
        "diverged_at": _whole,
        "slower": _steps,
        "course": _course,
    }
    values = {name: _fact(stored[name]) for name in ("state", *checks) if name in stored}
    kept = {name: check(values[name]) for name, check in checks.items() if values.get(name) is not None}
    if values.get("state") in ENDED:
        return RunStatus(**kept | {"state": values["state"], "wanted": "run"})
    message = "It was moved here before it was finished, and goes on when it is continued."
    return RunStatus(**kept | {"state": "paused", "wanted": "pause", "message": message})


def _fact(value: object) -> Any:
    try:
        return json.loads(_text(value, 10 * MAX_SENTENCE))
    except RecursionError as error:
        raise ValueError("a fact in it is nested too deeply") from error


def _unusable(problem: str) -> FileError:
    return FileError(
        f"The diary run.sqlite cannot be used: {problem}.",
        "It must be the diary that this program wrote.",
        "Pack the run again where it comes from.",
    )
