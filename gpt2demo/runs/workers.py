"""The processes that train: starting them, knowing whether they live, and ending those that do not listen."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt2demo.training.config import ran_out
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import Journal
from gpt2demo.training.lock import is_held
from gpt2demo.training.memory import free_memory, oom_kills

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
SLOW_STEPS = 4  # a worker may need so many to notice what is wanted
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


class Workers:
    """The workers of one manager. Not made for several threads: the manager's lock is held around it.

    A worker is found again after a restart of this process by the lock it holds and by its process number.
    """

    def __init__(
        self, command: Callable[[Path], list[str]], *, stop_patience: float, kill_patience: float
    ) -> None:
        self.command = command
        self.stop_patience = stop_patience
        self.kill_patience = kill_patience
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._rooms: dict[str, Room] = {}
        self._urges: dict[str, Urge] = {}

    def launch(self, folder: RunFolder) -> int | None:
        """Starts the worker of a run. → its process number, or None if somebody trains the run already"""
        if is_held(folder.lock):
            return None
        self._rooms[folder.path.name] = Room(free=free_memory(), oom_kills=oom_kills())
        path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
        with (folder.path / "worker.log").open("ab") as output:
            process = subprocess.Popen(
                self.command(folder.path),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the server's terminal is not meant for it
                env=os.environ | {"PYTHONPATH": path},
            )
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
        if process.returncode != -KILL or kills <= room.oom_kills:
            return ""
        return str(ran_out(folder.config(), folder.facts().training, free=room.free))

    def farewell(self, folder: RunFolder) -> str:
        """Forgets a worker that has exited. → why it did, as far as the system tells: ' (…)' or ''"""
        self.calm(folder)
        process = self._processes.pop(folder.path.name, None)
        self._rooms.pop(folder.path.name, None)
        return reason(process.returncode if process else None, folder.path / "worker.log")

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
