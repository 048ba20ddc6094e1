"""The heartbeat goes on through long steps and long work, and stops with the process or with its progress."""

import time

import pytest

from gpt2demo.training import heartbeat as heartbeat_module
from gpt2demo.training.heartbeat import Heartbeat
from gpt2demo.training.worker import Worker


@pytest.fixture
def beats(tmp_path):
    """→ whether a heartbeat goes on: its file is touched within a fifth of a second"""

    def beats(heart: Heartbeat) -> bool:
        before = heart.path.stat().st_mtime_ns
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            if heart.path.stat().st_mtime_ns != before:
                return True
            time.sleep(0.01)
        return False

    return beats


@pytest.fixture
def heart(tmp_path):
    return Heartbeat(tmp_path / "beat", every=0.02, step_seconds=0.15)


def test_it_beats_while_it_works_and_no_longer(heart, beats):
    with heart:
        assert beats(heart)
    time.sleep(0.05)
    assert not beats(heart)


def test_a_step_that_never_ends_silences_it_until_the_next(heart, beats):
    with heart:
        time.sleep(0.2)
        assert beats(heart)  # the first step is the first to be measured
        heart._longest = 0.001
        heart._since = time.monotonic()
        heart.step()
        assert beats(heart)
        time.sleep(0.2)
        assert not beats(heart)
        heart._since = time.monotonic()  # it was frozen, and goes on
        heart.step()
        assert beats(heart)


def test_its_patience_grows_with_the_steps(heart, beats, monkeypatch):
    monkeypatch.setattr(heartbeat_module, "STEP_TIMES", 10)
    with heart:
        time.sleep(0.1)
        heart.step()  # a step of a tenth of a second
        time.sleep(0.4)
        assert beats(heart)  # though that is longer than any step may always take


def test_work_of_unknown_length_is_no_silence_but_has_an_end(heart, beats, monkeypatch):
    with heart:
        heart._since = time.monotonic()
        heart.step()
        with heart.long_work():
            time.sleep(0.3)
            assert beats(heart)
        assert beats(heart)
        monkeypatch.setattr(heartbeat_module, "WORK_SECONDS", 0.1)
        with heart.long_work():
            time.sleep(0.15)
            assert not beats(heart)


def test_a_disk_that_takes_nothing_does_not_end_the_training(tmp_path):
    with Heartbeat(tmp_path / "nowhere" / "beat", every=0.01) as heart:
        time.sleep(0.05)
        assert not heart.path.exists()


def test_a_worker_counts_steps_alone_and_beats_from_its_first_moment(make_config, make_run, monkeypatch):
    run, counted = make_run("run", make_config()), []
    monkeypatch.setattr(Heartbeat, "step", lambda self: counted.append(run.heartbeat.exists()))
    records = list(Worker(run, lambda *_: "").shift())
    assert counted == [True] * len(records)
