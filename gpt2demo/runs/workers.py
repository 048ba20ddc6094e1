"""The processes that train: starting them, knowing whether they live, and ending those that do not listen."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpt2demo.training.config import ran_out
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import Journal
from gpt2demo.training.lock import is_held
from gpt2demo.training.memory import free_memory, oom_kills

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
SLOW_STEPS = 4  # a worker may need so many to notice what is wanted
NICENESS = 10  # of a worker: a page must answer while both cores train
START_SECONDS = 120.0  # a worker may need so long for its first heartbeat: it has to import everything
LONGEST_LOOK = (
    1.0  # seconds: a look that came later than this after the last says nothing of what was between
)
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows ends a process at once either way


@dataclass(frozen=True, kw_only=True)
class Room:
    """What is known about the memory at the moment at which a worker was started."""

    free: int  # bytes
    oom_kills: int | None  # processes that the system had ended because memory ran out


@dataclass(kw_only=True)
class Urge:
    """How long a worker has been asked to end without a sign that it does."""

    sign: tuple[str, ...]
    since: float
    terminated_at: float | None = None


@dataclass(kw_only=True)
class Silence:
    """How long a worker's heartbeat has stood still, as far as somebody looked."""

    beat: int | None  # when the file was touched, in nanoseconds; None: not yet
    looked: float
    seconds: float = 0.0


class Workers:
    """The workers of one manager. Not made for several threads: the manager's lock is held around it.

    A worker is found again after a restart of this process by the lock it holds and by its process number.
    """

    def __init__(
        self,
        command: Callable[[Path], list[str]],
        *,
        stop_patience: float,
        kill_patience: float,
        silence_patience: float,
    ) -> None:
        self.command = command
        self.stop_patience = stop_patience
        self.kill_patience = kill_patience
        self.silence_patience = silence_patience
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._rooms: dict[str, Room] = {}
        self._urges: dict[str, Urge] = {}
        self._silences: dict[str, Silence] = {}
        self._hung: dict[str, float] = {}  # those that were killed for their silence, and how long it was

    def launch(self, folder: RunFolder) -> int | None:
        """Starts the worker of a run. → its process number, or None if somebody trains the run already"""
        if is_held(folder.lock):
            return None
        self._rooms[folder.path.name] = Room(free=free_memory(), oom_kills=oom_kills())
        path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
        folder.heartbeat.unlink(missing_ok=True)  # that of the worker before
        self._silences.pop(folder.path.name, None)
        with (folder.path / "worker.log").open("ab") as output:
            process = subprocess.Popen(
                self.command(folder.path),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the server's terminal is not meant for it
                env=os.environ | {"PYTHONPATH": path},
            )
        _let_others_go_first(process.pid)
        self._processes[folder.path.name] = process
        self.calm(folder)
        return process.pid

    def is_alive(self, folder: RunFolder, pid: int | None) -> bool:
        """True while the worker of a run has not exited, also when its diary says that it has ended."""
        process = self._processes.get(folder.path.name)
        running = process.poll() is None if process else works_on(pid, folder.path)
        return running or is_held(folder.lock)

    def ran_out_of_memory(self, folder: RunFolder) -> str:
        """For a worker that has exited: what to say if the system ended it because memory ran out, or ''.

        It was killed, and the system counts more such kills than when it was started.
        """
        process, room = self._processes.get(folder.path.name), self._rooms.get(folder.path.name)
        kills = oom_kills()
        if process is None or room is None or kills is None or room.oom_kills is None:
            return ""
        if folder.path.name in self._hung:  # killed by us
            return ""
        if process.returncode != -KILL or kills <= room.oom_kills:
            return ""
        return str(ran_out(folder.config(), folder.facts().training, free=room.free))

    def farewell(self, folder: RunFolder) -> str:
        """Forgets a worker that has exited. → why it did, as far as the system tells: ' (…)' or ''"""
        self.calm(folder)
        self._silences.pop(folder.path.name, None)
        process = self._processes.pop(folder.path.name, None)
        self._rooms.pop(folder.path.name, None)
        if silent := self._hung.pop(folder.path.name, 0.0):
            return f" (it gave no sign of life for {silent:.0f} s and was ended)"
        return reason(process.returncode if process else None, folder.path / "worker.log")

    def end_if_hanging(self, folder: RunFolder, pid: int | None) -> bool:
        """Called again and again for a living worker: kills it when its heartbeat stands still. → whether so

        Only time in which somebody looked counts, by a clock that nobody sets: a laptop that slept, or a
        server that was away, is no silence. Nor is a folder that cannot be written, where no heart can beat.
        """
        if not self._is_ours(folder, pid) or not os.access(folder.path, os.W_OK):
            return False
        now = time.monotonic()
        try:
            beat = folder.heartbeat.stat().st_mtime_ns
        except OSError:
            beat = None
        silence = self._silences.get(folder.path.name)
        if silence is None or silence.beat != beat:
            self._silences[folder.path.name] = Silence(beat=beat, looked=now)
            return False
        silence.seconds += min(now - silence.looked, LONGEST_LOOK)
        silence.looked = now
        if silence.seconds < (START_SECONDS if beat is None else self.silence_patience):
            return False
        self._hung[folder.path.name] = self._silences.pop(folder.path.name).seconds
        self._signal(folder, pid, KILL)
        return True

    def _is_ours(self, folder: RunFolder, pid: int | None) -> bool:
        """Whether this worker is one that a manager started: then it may be ended."""
        return folder.path.name in self._processes or works_on(pid, folder.path)

    def release(self) -> None:
        """Lets go of all workers; they live on by themselves."""
        for process in self._processes.values():
            if process.poll() is None:
                process.returncode = 0  # or Python would warn that nobody waits for it
        self._processes.clear()

    def calm(self, folder: RunFolder) -> None:
        """Forgets that a worker was asked to end."""
        self._urges.pop(folder.path.name, None)

    def urge(self, folder: RunFolder, pid: int | None, *, sign: tuple[str, ...]) -> None:
        """Called again and again for a worker that ought to end: loses patience after a while.

        sign: what is known about its ending. Whenever that changes the patience begins anew, so a worker that
        saves or measures its result is left in peace. One that does nothing is sent SIGTERM, then killed.
        """
        now = time.monotonic()
        urge = self._urges.get(folder.path.name)
        if urge is None or (urge.sign != sign and urge.terminated_at is None):
            self._urges[folder.path.name] = Urge(sign=sign, since=now)
        elif urge.terminated_at is None:
            waited = now - urge.since
            if waited > self.stop_patience and waited > _slow_steps(folder, folder.journal()):
                folder.journal().add_event("The worker did not end when asked to, and was told to leave.")
                urge.terminated_at = now
                self._signal(folder, pid, signal.SIGTERM)
        elif now - urge.terminated_at > self.kill_patience:
            folder.journal().add_event("The worker did not leave, and was killed.")
            urge.terminated_at = now
            self._signal(folder, pid, KILL)

    def _signal(self, folder: RunFolder, pid: int | None, number: int) -> None:
        process = self._processes.get(folder.path.name)
        if process is not None:
            process.send_signal(number)
        elif pid is not None and works_on(pid, folder.path):  # never a stranger that got its old number
            os.kill(pid, number)


def works_on(pid: int | None, folder: Path) -> bool:
    """True for a living process whose command names this folder; False also where the system cannot tell."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a process that ended
    except OSError:
        return False
    return os.fsencode(folder) in command.split(b"\0")


def reason(code: int | None, log: Path) -> str:
    """Why a worker ended, from its exit code and its last words: ' (…)', or '' when nobody knows."""
    if not code:
        return ""
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        return f" ({known.get(-code, f'signal {-code}')})"
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4_000))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    words = [line.strip() for line in lines if line.strip()][-1:] or [f"exit status {code}"]
    return f" ({re.sub(r'/[^ ]*/', '…/', words[0])[:160]})"  # no visitor needs to see where things lie here


def _slow_steps(folder: RunFolder, journal: Journal) -> float:
    """How long a few steps of this run last, in seconds: before that nobody can expect an answer."""
    last = journal.last_step()
    training = folder.facts().training
    speed = last.tokens_per_second if last else 0.0
    return SLOW_STEPS * training.rows * training.length / speed if speed else 0.0


def _let_others_go_first(pid: int) -> None:
    """Makes a worker step back from the processor whenever anybody else wants it."""
    with suppress(OSError, AttributeError):  # Windows has no such thing
        os.setpriority(os.PRIO_PROCESS, pid, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    with suppress(OSError):  # Linux may share out the processor by sessions first: this one is the worker's
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))
