"""The list of all runs in one SQLite file: whose each is, and its place in the queue."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

PATIENCE = 10.0  # seconds to wait while another thread or process writes


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run, as the index knows it; everything else stands in the run's own folder.

    A run with a `place` is in the queue: it waits for its turn, or its worker was started.
    """

    id: str
    owner: str  # SHA-256 of the owner's token, in hexadecimal
    created: float  # seconds since 1970
    title: str
    nonce: str | None = None  # names the click that made it, so that a second click makes no second run
    reserved: int = 0  # bytes of disk that it may come to need
    place: int | None = None  # in the queue: lower ones come first
    started: bool = False  # its worker was started
    wanted: str = "run"  # what its owner wants: run, pause or stop; or "yield": to make way for others
    restarted_at: int | None = (
        None  # the checkpoint from which it was last restarted by itself; -1: from none
    )
    pid: int | None = None  # of its worker


COLUMNS = tuple(field.name for field in fields(Entry))
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, created REAL NOT NULL, title TEXT NOT NULL, nonce TEXT,
    reserved INTEGER NOT NULL, place INTEGER, started INTEGER NOT NULL, wanted TEXT NOT NULL,
    restarted_at INTEGER, pid INTEGER, UNIQUE (owner, nonce));
CREATE INDEX IF NOT EXISTS runs_by_place ON runs (place);
"""


class Index:
    """Reads and writes the list. Every method is one transaction on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._connect() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as db, db:
            yield db

    def _find(self, condition: str, values: tuple[Any, ...]) -> list[Entry]:
        with self._connect() as db:
            rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM runs {condition}", values).fetchall()
        named = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
        return [Entry(**values | {"started": bool(values["started"])}) for values in named]

    def add(self, entry: Entry, *, at_most: int) -> bool:
        """Adds a run. → False, and nothing is added, when its owner has `at_most` of them already."""
        with self._connect() as db:
            db.execute("BEGIN IMMEDIATE")
            (many,) = db.execute("SELECT count(*) FROM runs WHERE owner = ?", (entry.owner,)).fetchone()
            if many < at_most:
                db.execute(f"INSERT INTO runs VALUES ({', '.join('?' * len(COLUMNS))})", astuple(entry))
            return bool(many < at_most)

    def get(self, id: str) -> Entry | None:
        """The run of this id, or None."""
        return next(iter(self._find("WHERE id = ?", (id,))), None)

    def of_click(self, owner: str, nonce: str) -> Entry | None:
        """The run that this click of this owner made, or None."""
        return next(iter(self._find("WHERE owner = ? AND nonce = ?", (owner, nonce))), None)

    def of_owner(self, owner: str) -> list[Entry]:
        """All runs of an owner, the newest first."""
        return self._find("WHERE owner = ? ORDER BY created DESC, rowid DESC", (owner,))

    def everything(self) -> list[Entry]:
        """All runs of everybody."""
        return self._find("", ())

    def queue(self) -> list[Entry]:
        """The runs at work and those that wait, in order of their places."""
        return self._find("WHERE place IS NOT NULL ORDER BY place", ())

    def set(self, id: str, **values: Any) -> None:
        """Changes columns of a run."""
        names = ", ".join(f"{name} = :{name}" for name in values)
        with self._connect() as db:
            db.execute(f"UPDATE runs SET {names} WHERE id = :id", values | {"id": id})

    def enqueue(self, id: str) -> None:
        """Puts a run at the end of the queue, forgetting how it fared before."""
        with self._connect() as db:
            db.execute(
                "UPDATE runs SET place = 1 + (SELECT coalesce(max(place), 0) FROM runs), started = 0, "
                "wanted = 'run', restarted_at = NULL, pid = NULL WHERE id = ?",
                (id,),
            )

    def claim(self, id: str) -> bool:
        """Marks a waiting run as started. → False when it is not waiting any more."""
        with self._connect() as db:
            done = db.execute(
                "UPDATE runs SET started = 1 WHERE id = ? AND place IS NOT NULL AND NOT started", (id,)
            )
            return done.rowcount == 1

    def remove_idle(self, id: str) -> bool:
        """Strikes a run off the list. → False, and it stays, when its worker was started."""
        with self._connect() as db:
            return db.execute("DELETE FROM runs WHERE id = ? AND NOT started", (id,)).rowcount == 1

    def remove(self, id: str) -> None:
        """Strikes a run off the list."""
        with self._connect() as db:
            db.execute("DELETE FROM runs WHERE id = ?", (id,))
