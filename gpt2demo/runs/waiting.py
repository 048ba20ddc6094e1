"""How long a run in the queue will wait: for what those before it have left to do, as far as one knows."""

import heapq
import sqlite3
import threading
import time
from pathlib import Path

from gpt2demo.errors import UserError
from gpt2demo.runs.index import Entry, Index
from gpt2demo.runs.live import time_left
from gpt2demo.training.config import USUAL_RATE, flops_per_step
from gpt2demo.training.folder import RunFolder

FRESH_SECONDS = 2.0
CHANGE_SECONDS = (
    6.0  # from a run's last step to the first of the next: the last look, and a process that begins
)


class Forecast:
    """Foretells the queue. One answer serves everybody for two seconds, as every page asks every second."""

    def __init__(self, root: Path, index: Index, *, turn_seconds: float) -> None:
        """root: where the runs' folders are. turn_seconds: after them a run makes way while others wait."""
        self.root = root
        self.index = index
        self.turn_seconds = turn_seconds
        self._lock = threading.Lock()
        self._made = -FRESH_SECONDS
        self._queue: list[tuple[str, bool]] = []
        self._waits: dict[str | None, float] = {}
        self._planned: dict[str, float] = {}  # what a run needs does not change while it waits

    def seconds(self, id: str | None = None) -> float | None:
        """About how long a waiting run will wait, in seconds; None for one that does not.

        id: without it, how long a run would wait that came now.
        """
        queue = self.index.queue()
        now, order = time.monotonic(), [(entry.id, entry.started) for entry in queue]
        with self._lock:
            if order != self._queue or now - self._made > FRESH_SECONDS:
                self._waits = self._foretell(queue)
                self._queue, self._made = order, now
            return self._waits.get(id)

    def _foretell(self, queue: list[Entry]) -> dict[str | None, float]:
        """Lets the queue run in thought: whoever is first takes the place that is free first."""
        at_work = [entry for entry in queue if entry.started]
        waiting = [entry for entry in queue if not entry.started]
        rate = max((self._rate(entry) for entry in at_work), default=0.0) or USUAL_RATE
        self._planned = {
            entry.id: self._planned.get(entry.id) or self._left(entry, rate) for entry in waiting
        }
        ends = {entry.owner: self._turn(self._left(entry, rate)) for entry in at_work}
        free = list(ends.values()) or [0.0]
        heapq.heapify(free)
        waits: dict[str | None, float] = {}
        for entry in waiting:
            waits[entry.id] = max(heapq.heappop(free), ends.get(entry.owner, 0.0))
            ends[entry.owner] = waits[entry.id] + self._turn(self._planned[entry.id])
            heapq.heappush(free, ends[entry.owner])
        return waits | {None: free[0] if queue else 0.0}

    def _turn(self, seconds: float) -> float:
        return min(seconds, self.turn_seconds) + CHANGE_SECONDS

    def _left(self, entry: Entry, rate: float) -> float:
        """What a run still has to do: by its own measure, by its budget, or reckoned; 0 for a damaged one."""
        folder = RunFolder(self.root / entry.id)
        try:
            facts, status, last = folder.facts(), folder.status(), folder.journal().last_step()
            training, elapsed = facts.training, last.elapsed if last else 0.0
            known = time_left(facts, status, last)
            if known is not None:
                return known
            if training.minutes is not None:
                return max(0.0, 60 * training.minutes - elapsed)
            steps = (training.steps or 0) - (last.step if last else 0)
            each = elapsed / (last.step + 1) if last else flops_per_step(folder.config(), training) / rate
        except (UserError, sqlite3.DatabaseError, OSError, ValueError):
            return 0.0
        return max(0, steps) * each

    def _rate(self, entry: Entry) -> float:
        """Multiplications and additions per second that this machine makes for a run now; 0: unknown."""
        folder = RunFolder(self.root / entry.id)
        try:
            last, training = folder.journal().last_step(), folder.facts().training
            if last is None or last.step == 0:
                return 0.0
            steps = last.tokens_per_second / (training.rows * training.length)
            return steps * flops_per_step(folder.config(), training)
        except (UserError, sqlite3.DatabaseError, OSError, ValueError):
            return 0.0
