"""One worker per run, and never a lock that outlives its holder."""

import signal
import subprocess
import sys
import threading

import pytest

from gpt2demo.errors import BusyError
from gpt2demo.training.lock import hold, is_held

HOLDER = (
    "import sys, time; from pathlib import Path; from gpt2demo.training.lock import hold\n"
    "with hold(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


def test_a_lock_is_held_for_as_long_as_the_block_runs(fast):
    path = fast / "worker.lock"
    assert not is_held(path) and not path.exists()
    with hold(path):
        assert is_held(path)
        with pytest.raises(BusyError, match="being trained already"), hold(path):
            pass
        assert is_held(path)  # the one who was refused has not freed it
    assert not is_held(path)
    with pytest.raises(ZeroDivisionError), hold(path):
        raise ZeroDivisionError
    assert not is_held(path)
    with hold(path):
        assert is_held(path)


def test_the_lock_of_another_process_is_seen_and_is_free_after_a_kill(fast):
    path = fast / "worker.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        assert is_held(path)
        with pytest.raises(BusyError), hold(path):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not is_held(path)
    with hold(path):
        assert is_held(path)


def test_many_may_ask_at_once_without_seeing_each_other(fast):
    path = fast / "worker.lock"
    with hold(path):
        pass
    answers: list[bool] = []
    start = threading.Barrier(6)

    def ask():
        start.wait()
        answers.extend(is_held(path) for _ in range(200))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 1200 and not any(answers)


def test_asking_does_not_keep_a_worker_from_beginning(fast):
    path = fast / "worker.lock"
    with hold(path):
        pass
    finished = threading.Event()

    def ask():
        while not finished.is_set():
            is_held(path)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            with hold(path):
                pass
    finally:
        finished.set()
        for thread in threads:
            thread.join()
