"""Which runs there are, whose they are, and how far each one is."""

import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt2demo.errors import BusyError, NotFoundError, UserError
from gpt2demo.runs.identity import checked_title, is_owner, new_id, owner_key, refuse_unknown, resolve_in
from gpt2demo.runs.index import Entry, Index
from gpt2demo.runs.live import view
from gpt2demo.runs.quotas import Quotas, disk_needed, folder_bytes
from gpt2demo.runs.summary import RunSummary, Summaries, as_queued, summarise
from gpt2demo.runs.waiting import Forecast
from gpt2demo.training.config import check_fits
from gpt2demo.training.files import read_json, write_json
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.lock import is_held
from gpt2demo.training.memory import memory_for_a_run
from gpt2demo.training.plan import RunPlan

ABANDONED = 3600  # seconds after which something half-made is surely nobody's work in progress


class RunStore:
    """All runs below one folder. Safe to use from many threads; a page's every endpoint may call it."""

    def __init__(self, root: Path, *, quotas: Quotas | None = None, memory_bytes: int | None = None) -> None:
        """memory_bytes: what one run may use; by default half of what this machine has."""
        self.root = root.absolute()
        self.quotas = quotas or Quotas()
        self.memory_bytes = memory_for_a_run() if memory_bytes is None else memory_bytes
        self.unfinished = self.root / ".unfinished"  # runs in the making, and those on their way out
        self.unfinished.mkdir(parents=True, exist_ok=True)
        self._making = threading.Lock()
        self.index = Index(self.root / "runs.sqlite")
        turn = 60 * self.quotas.minutes_per_turn
        self.forecast = Forecast(self.root, self.index, turn_seconds=turn)  # how long runs will wait
        self._sweep()

    def create(self, owner: str, plan: RunPlan, *, nonce: str | None = None) -> str:
        """Makes a run that can be started, called by its first text if it has no title. → its id

        nonce: see `RunManager.create_and_start`. Raises a UserError when the model does not fit into memory,
        the text is too short, it asks for more time than a run may have, or there is no room.
        """
        check_fits(plan.model, plan.training, memory_bytes=self.memory_bytes)
        self.quotas.check_time(plan.training)
        plan = replace(plan, title=checked_title(plan.title or Path(plan.names[0]).stem))
        return self.adopt(
            owner,
            plan.title,
            lambda path: RunFolder.create(path, plan),
            needed=disk_needed(plan),
            nonce=nonce,
        )

    def adopt(
        self,
        owner: str,
        title: str,
        make: Callable[[Path], object],
        *,
        needed: int,
        nonce: str | None = None,
    ) -> str:
        """Takes in a run whose folder `make` fills: a new one, or an import. → its id

        make: is given a folder that does not exist yet, under its final name, as a command may name it. The
        run is called as its run.json says. needed: bytes of disk that it may take. Raises LimitError when
        there is no room, and what `make` raises; then nothing is left behind.
        """
        entry = Entry(
            id=new_id(),
            owner=owner_key(owner),
            created=time.time(),
            title=checked_title(title),
            nonce=nonce,
            reserved=needed,
        )
        with self._making:
            self._check_room(entry.owner, entry.reserved)
            if not self.index.add(entry, at_most=self.quotas.runs_per_owner):
                raise self.quotas.too_many_runs()
        workshop = self.unfinished / entry.id
        try:
            make(workshop / entry.id)
            self.index.set(entry.id, title=RunFolder(workshop / entry.id).facts().title)
            (workshop / entry.id).rename(self.root / entry.id)
        except BaseException:
            self.index.remove(entry.id)
            raise
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
        return entry.id

    def check_room(self, owner: str, needed: int) -> None:
        """Asks beforehand what `adopt` will ask: raises LimitError when there is no room for another run."""
        if len(self.index.of_owner(owner_key(owner))) >= self.quotas.runs_per_owner:
            raise self.quotas.too_many_runs()
        self._check_room(owner_key(owner), needed)

    def of_click(self, owner: str, nonce: str) -> Entry | None:
        """The run that was made with this nonce, or None. Call it only while nobody is making that run."""
        entry = self.index.of_click(owner_key(owner), nonce)
        if entry is not None and not (self.root / entry.id).is_dir():
            self.index.remove(entry.id)  # the program ended in the middle of making it
            return None
        return entry

    def owns(self, owner: str, id: str) -> bool:
        """True when this is an existing run of this owner."""
        try:
            self.check_owner(owner, id)
        except NotFoundError:
            return False
        return True

    def check_owner(self, owner: str, id: str) -> Entry:
        """Raises NotFoundError, the same for a run that is another's and for one that is not there."""
        path = resolve_in(self.root, id)
        entry = self.index.get(id)
        if entry is None or not is_owner(owner) or entry.owner != owner_key(owner) or not path.is_dir():
            refuse_unknown()
        return entry

    def entry(self, id: str) -> Entry:
        """What the index says about a run. Raises NotFoundError."""
        path = resolve_in(self.root, id)
        entry = self.index.get(id)
        if entry is None or not path.is_dir():
            refuse_unknown()
        return entry

    def folder(self, id: str) -> RunFolder:
        """A run's folder, to be read by anybody who knows its id. Raises NotFoundError."""
        return RunFolder(self.root / self.entry(id).id)

    def view(self, id: str, after_step: int = -1) -> dict[str, Any]:
        """What the page's RunView polls: see `gpt2demo.runs.live.view`. Raises NotFoundError."""
        folder = self.folder(id)
        try:
            entry = self.entry(id)
            status = as_queued(folder.status(), entry)
            position = self._position(entry)
            wait = self.forecast.seconds(id) if position else None
            return view(folder, after_step, status=status, position=position, wait_seconds=wait)
        except (OSError, sqlite3.OperationalError, UserError):
            self.folder(id)  # says so when the run was deleted in the meantime
            raise

    def summary(self, id: str) -> RunSummary:
        """A run in one line. Raises NotFoundError."""
        return self._summary(self.entry(id))

    def list(self, owner: str) -> Summaries:
        """The runs of an owner, the newest first. One whose folder is damaged is listed as failed."""
        if not is_owner(owner):
            return []
        there = (entry for entry in self.index.of_owner(owner_key(owner)))
        return [self._summary(entry) for entry in there if (self.root / entry.id).is_dir()]

    def rename(self, owner: str, id: str, title: str) -> None:
        """Gives a run another title of at most 80 characters."""
        entry = self.check_owner(owner, id)
        title = checked_title(title)
        path = self.root / entry.id / "run.json"
        write_json(path, read_json(path) | {"title": title})
        self.index.set(entry.id, title=title)

    def delete(self, owner: str, id: str) -> None:
        """Deletes a run for good. Raises BusyError while it is being trained."""
        entry = self.check_owner(owner, id)
        folder = RunFolder(self.root / entry.id)
        if is_held(folder.lock) or not self.index.remove_idle(entry.id):
            raise BusyError(
                "This run is being trained.", "Only a run at rest can be deleted.", "Stop it first."
            )
        self._discard(folder.path)

    def bytes_used(self, owner_key: str | None = None) -> int:
        """The room that all runs take, or one owner's, and what those in the queue may come to take."""
        entries = self.index.everything() if owner_key is None else self.index.of_owner(owner_key)
        return sum(
            max(
                folder_bytes(self.root / entry.id),
                entry.reserved if entry.place is not None or not (self.root / entry.id).is_dir() else 0,
            )
            for entry in entries
        )

    def _check_room(self, owner_key: str, needed: int) -> None:
        own, together = self.bytes_used(owner_key), self.bytes_used()
        free = shutil.disk_usage(self.root).free
        self.quotas.check_room(needed, own=own, together=together, free=free)

    def _position(self, entry: Entry) -> int | None:
        if entry.place is None or entry.started:
            return None
        waiting = [other.id for other in self.index.queue() if not other.started]
        return waiting.index(entry.id) + 1 if entry.id in waiting else None

    def _summary(self, entry: Entry) -> RunSummary:
        folder = RunFolder(self.root / entry.id)
        try:
            return summarise(entry, folder, position=self._position(entry))
        except (UserError, sqlite3.DatabaseError, OSError, ValueError):
            if not folder.path.is_dir():
                refuse_unknown()
            return RunSummary(id=entry.id, title=entry.title, created=entry.created)

    def _discard(self, path: Path) -> None:
        """Removes a run's folder: out of sight in one step, then file by file."""
        gone = self.unfinished / f"{path.name}.{secrets.token_hex(4)}"
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        """Clears away what was half-made or half-deleted when the program last ended."""
        for left in self.unfinished.iterdir():
            if left.stat().st_mtime < time.time() - ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
        for entry in self.index.everything():
            if not (self.root / entry.id).is_dir() and entry.created < time.time() - ABANDONED:
                self.index.remove(entry.id)
