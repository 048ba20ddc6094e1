"""A worker's heartbeat: a file that is touched every second while the process runs and gets somewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT_SECONDS = 1.0
STEP_SECONDS = 30.0  # a step may always take so long,
STEP_TIMES = 40  # and so many times as long as the longest one so far
WORK_SECONDS = 1_800.0  # what nobody can foretell may take so long: reading a text, saving, the last look


class Heartbeat:
    """Beats inside a `with`, from a thread of its own, so that one long step is no silence.

    A stopped process (SIGSTOP, a frozen machine) stops beating at once. One that runs but is stuck stops as
    well, because the thread is silent while a step takes far longer than steps of this run do. So whoever
    watches needs one rule only: no beat for some seconds means that this worker will not go on by itself.
    """

    def __init__(
        self, path: Path, *, every: float = BEAT_SECONDS, step_seconds: float = STEP_SECONDS
    ) -> None:
        """path: the file to touch. every, step_seconds: see BEAT_SECONDS and STEP_SECONDS."""
        self.path = path
        self.every = every
        self.step_seconds = step_seconds
        self._ended = threading.Event()
        self._longest = 0.0  # of the steps so far
        self._since = time.monotonic()  # when the present step or work began
        self._patience = WORK_SECONDS  # the first step is the first to be measured

    def __enter__(self) -> "Heartbeat":
        self._beat()
        threading.Thread(target=self._go_on, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def step(self) -> None:
        """A step has just been made: the next one may take a multiple of the longest."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._since)
        self._since = now
        self._patience = max(self.step_seconds, STEP_TIMES * self._longest)

    @contextmanager
    def long_work(self) -> Iterator[None]:
        """Inside the `with` something is done whose length cannot be foretold."""
        patience, self._patience, self._since = self._patience, WORK_SECONDS, time.monotonic()
        try:
            yield
        finally:
            self._patience, self._since = patience, time.monotonic()

    def _go_on(self) -> None:
        while not self._ended.wait(self.every):
            if time.monotonic() - self._since < self._patience:
                self._beat()

    def _beat(self) -> None:
        with suppress(OSError):  # where nothing can be written, nobody takes silence for a sign
            self.path.touch()
