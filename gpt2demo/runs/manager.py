"""The queue: whose turn it is to train, and what becomes of those who had theirs."""

import logging
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from gpt2demo.errors import BusyError, ConfigError, UserError
from gpt2demo.runs.identity import NONCE, owner_key
from gpt2demo.runs.index import Entry
from gpt2demo.runs.keyed import KeyedLocks
from gpt2demo.runs.store import RunStore
from gpt2demo.runs.workers import Workers
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import Journal
from gpt2demo.training.lock import is_held
from gpt2demo.training.plan import RunPlan
from gpt2demo.training.slower import go_slower

MOST_WAITING = 30
ENDED = ("done", "paused", "stopped", "failed")

log = logging.getLogger(__name__)


class RunManager:
    """Trains the runs of a store one after the other, each in a process of its own.

    The queue is kept in the store's index and the processes outlive this one, so a new manager on the same
    store goes on where the last one was. Every method may be called from any thread. What people want is
    written into the index; a thread looks every half second whether it has come true.
    """

    def __init__(
        self,
        store: RunStore,
        *,
        slots: int = 1,
        command: Callable[[Path], list[str]] | None = None,
        interval: float = 0.5,
        stop_patience: float = 60.0,
        kill_patience: float = 20.0,
    ) -> None:
        """slots: how many runs train at a time. command: what trains a folder, if not this program itself.

        stop_patience: seconds that a worker has for ending when asked to, before it is sent SIGTERM;
        kill_patience: those it then has before it is killed.
        """
        self.store = store
        self.slots = slots
        self.interval = interval
        self._workers = Workers(
            command or (lambda folder: [sys.executable, "-m", "gpt2demo", "train", str(folder)]),
            stop_patience=stop_patience,
            kill_patience=kill_patience,
        )
        self._lock = threading.RLock()  # held while the queue is looked at or changed
        self._clicks = KeyedLocks()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> "RunManager":
        """Begins to look after the queue, in a thread of its own. → itself"""
        if self._thread is None:
            self._closing.clear()
            self._thread = threading.Thread(target=self._watch, name="run-manager", daemon=True)
            self._thread.start()
        return self

    def close(self) -> None:
        """Stops looking after the queue. The workers go on; the next manager will find them."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            self._workers.release()

    def create_and_start(self, owner: str, nonce: str, plan: RunPlan) -> str:
        """Makes a run and puts it into the queue. → its id

        nonce: names the click on Start. The same one twice, even at the same moment, is one run. Raises a
        UserError, and leaves nothing behind, when there is no room for the run or no place in the queue.
        """
        if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
            raise ConfigError(
                "The page did not say which click this was.",
                "Each Start needs a name of up to 64 letters and digits.",
                "Reload the page and try again.",
            )
        with self._clicks.hold((owner, nonce)):
            known = self.store.of_click(owner, nonce)
            if known is not None:
                if known.place is None and self.store.folder(known.id).status().state == "waiting":
                    self.start(owner, known.id)  # the program ended just after making it
                return known.id
            self._check_admission(owner_key(owner))  # and once more in start, for certain
            id = self.store.create(owner, plan, nonce=nonce)
            try:
                self.start(owner, id)
            except UserError:
                self.store.delete(owner, id)
                raise
            return id

    def start(self, owner: str, id: str) -> None:
        """Puts a run that is at rest into the queue, or lets one that is about to rest go on.

        Raises ConfigError for a run that is finished, BusyError when there is no place for it, NotFoundError.
        """
        with self._lock:
            entry = self.store.check_owner(owner, id)
            folder = self.store.folder(id)
            journal = folder.journal()
            if entry.place is not None:
                self._want(entry, journal, "run")
                return
            if folder.status().state == "done":
                raise ConfigError(
                    "This run is finished.",
                    "Only a run with steps left to do can go on.",
                    "Start a new run, or use this one in the other tabs.",
                )
            self._check_admission(entry.owner)
            if not is_held(folder.lock):
                _make_waiting(journal)
            self.store.index.enqueue(id)
            self._promote()

    resume = start

    def resume_slower(self, owner: str, id: str) -> None:
        """Lets a run that diverged go on with a tenth of its learning rate: see `go_slower`."""
        with self._lock:
            entry = self.store.check_owner(owner, id)
            if entry.place is not None:
                raise BusyError(
                    "This run is still in the queue.",
                    "Only a run at rest can go on slower.",
                    "Wait a moment, and try again.",
                )
            self._check_admission(entry.owner)
            go_slower(self.store.folder(id))
            self.start(owner, id)

    def pause(self, owner: str, id: str) -> None:
        """Lets a run save and rest; it can go on later. Does nothing to a run that is at rest."""
        self._end(owner, id, "pause")

    def stop(self, owner: str, id: str) -> None:
        """Lets a run save, measure its result and end. One that waits or rests is stopped at once."""
        self._end(owner, id, "stop")

    def tick(self) -> None:
        """Looks after every run in the queue once: reaps, replaces, urges, and starts the next."""
        with self._lock:
            for entry in self.store.index.queue():
                if entry.started:
                    self._carefully(entry, self._look_after)
            self._promote()

    def _watch(self) -> None:
        while not self._closing.wait(self.interval):
            try:
                self.tick()
            except Exception:
                log.exception("looking after the queue failed; trying again")

    def _carefully(self, entry: Entry, work: Callable[[Entry, RunFolder], None]) -> None:
        """Works on one run so that its damage stops no other; with broken files it leaves the queue."""
        folder = RunFolder(self.store.root / entry.id)
        try:
            if folder.path.is_dir():
                work(entry, folder)
            else:
                self.store.index.remove(entry.id)
        except sqlite3.OperationalError:
            log.warning("run %s is busy; trying again", entry.id, exc_info=True)
        except (UserError, sqlite3.DatabaseError, OSError, ValueError):
            log.exception("run %s cannot be looked after and leaves the queue", entry.id)
            self._leave(entry)

    def _want(self, entry: Entry, journal: Journal, wanted: str) -> None:
        """Notes what an owner wants of a run in the queue, and tells its worker."""
        self.store.index.set(entry.id, wanted=wanted)
        if entry.started:
            journal.tell(wanted=wanted)

    def _end(self, owner: str, id: str, wanted: str) -> None:
        with self._lock:
            entry = self.store.check_owner(owner, id)
            folder = self.store.folder(id)
            journal = folder.journal()
            if entry.started:
                self._want(entry, journal, wanted)
            elif is_held(folder.lock):  # somebody trains it by the command line
                journal.tell(wanted=wanted)
            else:
                self._rest(entry, journal, wanted)

    def _rest(self, entry: Entry, journal: Journal, wanted: str) -> None:
        """Brings a run without a worker to the rest that is wanted, unless it has ended by itself."""
        state = journal.status().state
        if wanted == "stop" and state not in ("done", "stopped", "failed"):
            journal.tell(state="stopped", wanted="stop", message=f"Stopped. {_kept(journal)}")
        elif wanted == "pause" and state not in ENDED:
            journal.tell(state="paused", wanted="pause", message=f"Paused. {_kept(journal)}")
        self._leave(entry)

    def _leave(self, entry: Entry) -> None:
        """Takes a run out of the queue."""
        self.store.index.set(entry.id, place=None, started=0, pid=None)

    def _check_admission(self, owner_key: str) -> None:
        """Refuses a run when there is no place for it: of each owner one may train and one may wait."""
        waiting = [entry for entry in self.store.index.queue() if not entry.started]
        if any(entry.owner == owner_key for entry in waiting):
            raise BusyError(
                "A run of yours is waiting already.",
                "One run of yours can train at a time, and one more can wait.",
                "Wait until one has ended, or stop one.",
            )
        if len(waiting) >= MOST_WAITING:
            raise BusyError(
                f"{len(waiting)} runs are waiting already.",
                f"At most {MOST_WAITING} can wait.",
                "Try again in a few minutes.",
            )

    def _promote(self) -> None:
        """Starts the workers of the next runs while there are free slots, at most one for each owner."""
        if self._closing.is_set():
            return
        queue = self.store.index.queue()
        busy = [entry.owner for entry in queue if entry.started]
        for entry in queue:
            if len(busy) >= self.slots:
                return
            if entry.owner not in busy and self.store.index.claim(entry.id):
                busy.append(entry.owner)
                self._carefully(entry, self._launch)

    def _launch(self, entry: Entry, folder: RunFolder) -> None:
        try:
            self.store.index.set(entry.id, pid=self._workers.launch(folder))
        except OSError as error:
            folder.journal().tell(
                state="failed",
                message=f"The training process could not be started ({error.strerror or 'no reason given'}). "
                "It needs Python and room on the disk. Tell whoever runs this server.",
            )
            self._leave(entry)

    def _look_after(self, entry: Entry, folder: RunFolder) -> None:
        """Does what a started run needs: nothing, a reminder, a new worker, or to leave the queue."""
        alive = self._workers.is_alive(folder, entry.pid)
        journal = folder.journal()
        status = journal.status()  # in this order: what a worker writes last, it writes before it exits
        if alive:
            self._remind(entry, folder)
            return
        too_large = self._workers.ran_out_of_memory(folder)
        reason = self._workers.farewell(folder)
        if status.state in ("done", "failed"):
            self._leave(entry)
        elif entry.wanted != "run":
            self._rest(entry, journal, entry.wanted)
        elif status.state in ENDED:  # Resume was pressed after the worker had decided to pause or stop
            _make_waiting(journal)
            self._launch(entry, folder)
        elif too_large:  # another try would end in the same way
            self._fail(entry, journal, f"The system ended the training. {too_large} {_kept(journal)}")
        else:
            self._replace(entry, folder, reason)

    def _fail(self, entry: Entry, journal: Journal, message: str) -> None:
        journal.add_event(message)
        journal.tell(state="failed", message=message)
        self._leave(entry)

    def _replace(self, entry: Entry, folder: RunFolder, reason: str) -> None:
        """Starts a new worker in place of one that was lost, once; again only after a newer checkpoint."""
        journal = folder.journal()
        last, saved = journal.last_step(), journal.status().checkpoint_step
        lost_at = last.step if last else 0
        saved_at = -1 if saved is None else saved
        if entry.restarted_at is not None and saved_at <= entry.restarted_at:
            message = (
                f"The training process ended unexpectedly again, at step {lost_at:,}{reason}. "
                f"{_kept(journal)} Press Resume to try once more, or start a smaller run."
            )
            self._fail(entry, journal, message)
            return
        message = f"Interrupted at step {lost_at:,}; going on from step {max(0, saved_at):,}."
        journal.add_event(f"The training process ended unexpectedly{reason}. {message}")
        journal.tell(state="waiting", wanted="run", message=message)
        self.store.index.set(entry.id, restarted_at=saved_at)
        self._launch(entry, folder)

    def _remind(self, entry: Entry, folder: RunFolder) -> None:
        """Tells a living worker again what is wanted, and loses patience with one that does not end."""
        status = folder.journal().status()
        ended = status.state in ENDED
        if not ended and status.wanted != entry.wanted:
            folder.journal().tell(wanted=entry.wanted)  # a worker that has just begun has overwritten it
        if ended or entry.wanted != "run":
            sign = (entry.wanted, status.state, status.message)
            self._workers.urge(folder, entry.pid, sign=sign)
        else:
            self._workers.calm(folder)


def _make_waiting(journal: Journal) -> None:
    journal.tell(state="waiting", wanted="run", message="", final_val_loss=None, final_val_tokens=None)


def _kept(journal: Journal) -> str:
    saved = journal.status().checkpoint_step
    return "Nothing was trained yet." if saved is None else f"Everything up to step {saved:,} is saved."
