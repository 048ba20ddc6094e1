"""One worker per run: a lock that the operating system takes back when its holder dies, however it dies."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gpt2demo.errors import BusyError


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Holds the lock while the block runs; raises BusyError when somebody else does.

    SQLite's exclusive lock is used because it works alike on Linux, macOS and Windows, and because a killed
    process cannot leave it behind.
    """
    with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise BusyError(
                "This run is being trained already.",
                "Only one worker may write it.",
                "Wait, or stop the other.",
            ) from error
        yield


def is_held(path: Path) -> bool:
    """True while some process holds the lock. Only reads, so any number may ask at the same time."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as db:
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            return True
    return False
