"""How long a run may keep its place: nobody trains for ever, and not for long while others wait."""

import time

from gpt2demo.runs.index import Entry
from gpt2demo.runs.quotas import Quotas
from gpt2demo.training.journal import Journal

OVERTIME = 1.3  # a run with a budget in minutes ends here by itself; this one is for budgets in steps


class Turns:
    """Measures the turns of one manager's runs. After a restart of the server a turn begins anew."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._began: dict[str, float] = {}

    def verdict(self, entry: Entry, journal: Journal, queue: list[Entry]) -> str | None:
        """What shall become of a run at work: "yield" its place, "stop", or None: it may go on.

        It makes way when its turn is over and somebody waits whose run could begin. It is stopped, which
        keeps its model, when it has trained for as long as any run may.
        """
        if entry.wanted != "run":
            return None
        last = journal.last_step()
        if last is not None and last.elapsed > OVERTIME * 60 * self.quotas.minutes_per_run:
            return "stop"
        began = self._began.setdefault(entry.id, time.monotonic())
        if time.monotonic() - began < 60 * self.quotas.minutes_per_turn:
            return None
        at_work = {other.owner for other in queue if other.started}
        waits = any(other.owner not in at_work for other in queue if not other.started)
        return "yield" if waits else None

    def ended(self, id: str) -> None:
        """Forgets the turn of a run that has no worker any more."""
        self._began.pop(id, None)
