"""The diary of a run: one SQLite file that the worker writes and that anybody may read at the same time."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from gpt2demo.training.loop import TrainStep

STEP_COLUMNS = tuple(field.name for field in fields(TrainStep))
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS steps ({", ".join(f"{c} REAL" for c in STEP_COLUMNS)}, PRIMARY KEY (step));
CREATE INDEX IF NOT EXISTS validations ON steps (step) WHERE val_loss IS NOT NULL;
CREATE TABLE IF NOT EXISTS samples (step INTEGER PRIMARY KEY, prompt TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, time REAL, text TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
PATIENCE = 10.0  # seconds to wait while another process writes
RESULTS = ("step", "tokens", "train_loss", "val_loss", "learning_rate", "gradient_norm")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the model wrote, unaided, after `step` updates."""

    step: int
    prompt: str
    text: str


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run is doing, as far as its diary knows.

    state: waiting, starting, running, paused, stopped, done, failed or interrupted (it said "running" but
    nobody is at work). wanted: what people asked for: run, pause or stop.
    """

    state: str = "waiting"
    wanted: str = "run"
    message: str = ""
    steps_planned: int | None = None  # in a run with a budget in time, as many as seem to fit into it now
    course: tuple[tuple[int, float, int], ...] = ()  # the legs of its Course
    heartbeat: float = 0.0  # seconds since 1970
    checkpoint_step: int | None = None  # the newest step that a crash cannot take away
    final_val_loss: float | None = None  # over the whole held-out text, once the run is done
    final_val_tokens: int | None = None
    diverged_at: int | None = None  # the step whose numbers were no longer finite, if that ended the run
    slower: tuple[int, ...] = ()  # the steps from which on the learning rate is a tenth, and a tenth of that
    unsaved: str = ""  # what cannot be saved at the moment, and why; "": everything can


class Journal:
    """Reads and writes the diary of one run. Every method opens, uses and closes its own connection.

    path: the `run.sqlite` of a run folder. read_only: for runs that came with the program, whose folder may
    not be writable. Losses are stored as 64-bit floats, so they come back exactly.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        if not read_only:
            with self._connect() as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        address = f"{self.path.absolute().as_uri()}?{'immutable=1' if self.read_only else 'mode=rwc'}"
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as db, db:
            yield db

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Makes the diary about three times as fast while the block runs, by keeping one connection open.

        SQLite tidies the file up whenever its last connection closes, and waits for the disk to do so.
        """
        with self._connect() as db:
            db.execute("SELECT count(*) FROM facts").fetchall()
            yield

    def add_steps(self, records: Iterable[TrainStep]) -> list[int]:
        """Writes steps down. A step that already stands there must agree with what stands there.

        → the steps whose numbers differ from the stored ones (they are not overwritten): after a resume this
        shows that the run did not repeat itself exactly.
        """
        different = []
        places = ", ".join("?" * len(STEP_COLUMNS))
        with self._connect() as db:
            for record in records:
                old = db.execute(
                    f"SELECT {', '.join(RESULTS)} FROM steps WHERE step = ?", (record.step,)
                ).fetchone()
                if old is None:
                    db.execute(f"INSERT INTO steps VALUES ({places})", astuple(record))
                elif old != tuple(getattr(record, name) for name in RESULTS):
                    different.append(record.step)
        return different

    def steps(self, *, after: int = -1, limit: int = 100_000, every: int = 1) -> list[TrainStep]:
        """The steps later than `after`, in order, at most `limit` of them.

        every: 10 leaves out all but each tenth, those with a validation loss, and the last.
        """
        with self._connect() as db:
            rows = db.execute(
                f"SELECT {', '.join(STEP_COLUMNS)} FROM steps WHERE step > ? "
                "AND (CAST(step AS INTEGER) % ? = 0 OR val_loss IS NOT NULL "
                "OR step = (SELECT max(step) FROM steps)) ORDER BY step LIMIT ?",
                (after, every, limit),
            ).fetchall()
        return [_train_step(row) for row in rows]

    def validation(self) -> list[TrainStep]:
        """The steps at which the validation loss was measured, in order."""
        with self._connect() as db:
            rows = db.execute(
                f"SELECT {', '.join(STEP_COLUMNS)} FROM steps WHERE val_loss IS NOT NULL ORDER BY step"
            ).fetchall()
        return [_train_step(row) for row in rows]

    def last_step(self) -> TrainStep | None:
        """The newest step, or None before the first."""
        with self._connect() as db:
            row = db.execute(
                f"SELECT {', '.join(STEP_COLUMNS)} FROM steps ORDER BY step DESC LIMIT 1"
            ).fetchone()
        return _train_step(row) if row else None

    def add_sample(self, sample: Sample) -> None:
        """Keeps what the model wrote at a step; the same step written again replaces it."""
        with self._connect() as db:
            db.execute(
                "INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", (sample.step, sample.prompt, sample.text)
            )

    def samples(self, *, after: int = -1) -> list[Sample]:
        """What the model wrote at the steps later than `after`."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT step, prompt, text FROM samples WHERE step > ? ORDER BY step", (after,)
            ).fetchall()
        return [Sample(step=step, prompt=prompt, text=text) for step, prompt, text in rows]

    def add_event(self, text: str, *, at: float | None = None) -> None:
        """Notes a sentence: started, resumed, stopped, and why. at: seconds since 1970, if not now."""
        with self._connect() as db:
            moment = time.time() if at is None else at
            db.execute("INSERT INTO events (time, text) VALUES (?, ?)", (moment, text))

    def events(self) -> list[tuple[float, str]]:
        """All sentences noted so far, each with its time in seconds since 1970."""
        with self._connect() as db:
            return db.execute("SELECT time, text FROM events ORDER BY id").fetchall()

    def tell(self, **facts: Any) -> None:
        """Sets fields of the run's status by name."""
        with self._connect() as db:
            _tell(db, facts)

    def rewind(self, step: int, **facts: Any) -> None:
        """Strikes out what a run did from `step` on, and sets fields of its status, both or neither."""
        with self._connect() as db:
            db.execute("DELETE FROM steps WHERE step >= ?", (step,))
            db.execute("DELETE FROM samples WHERE step > ?", (step,))
            _tell(db, facts)

    def status(self) -> RunStatus:
        """How the run says it is doing. Whether somebody is really at work, `RunFolder.status` knows."""
        with self._connect() as db:
            rows = db.execute("SELECT name, value FROM facts").fetchall()
        facts = {name: json.loads(value) for name, value in rows}
        course = tuple((step, done, last) for step, done, last in facts.get("course", ()))
        return RunStatus(**facts | {"slower": tuple(facts.get("slower", ())), "course": course})


def _tell(db: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    unknown = set(facts) - {field.name for field in fields(RunStatus)}
    if unknown:
        raise ValueError(f"no such fields: {sorted(unknown)}")
    rows = [(name, json.dumps(value)) for name, value in facts.items()]
    db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)


def _train_step(row: tuple[Any, ...]) -> TrainStep:
    values = dict(zip(STEP_COLUMNS, row, strict=True))
    return TrainStep(**values | {"step": int(values["step"]), "tokens": int(values["tokens"])})
