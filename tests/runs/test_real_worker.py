"""The command that a person can type, started, killed and found again by the manager."""

import os
import signal

import pytest

from gpt2demo.runs.models import ModelRef, ModelStore
from gpt2demo.runs.workers import works_on
from gpt2demo.training.lock import is_held


@pytest.fixture
def real(make_manager):
    return lambda: make_manager(command=None)


def test_a_killed_worker_goes_on_by_itself_where_it_was(real, store, owner, help):
    manager = real()
    id = manager.create_and_start(owner, "click", help.plan(steps=100_000, checkpoint_seconds=0.0))
    folder = store.folder(id)
    help.until(lambda: (folder.journal().status().checkpoint_step or 0) > 20, seconds=60)
    pid = store.index.get(id).pid
    assert works_on(pid, folder.path) and is_held(folder.lock)
    os.kill(pid, signal.SIGKILL)
    help.until(lambda: store.index.get(id).pid not in (None, pid))
    killed_at = folder.journal().last_step().step
    help.until(lambda: store.view(id, killed_at)["steps"], seconds=60)
    numbers = [step.step for step in folder.journal().steps()]
    assert numbers == list(range(len(numbers)))  # no gap, nothing twice
    events = [text for _, text in folder.journal().events()]
    assert any("(SIGKILL). Interrupted at step" in text for text in events)
    assert any(text.startswith("Training went on from step") and text.endswith("exactly.") for text in events)
    assert not any("did not repeat" in text for text in events)
    manager.stop(owner, id)
    help.until(lambda: store.summary(id).state == "stopped" and store.index.get(id).place is None, seconds=60)
    summary = store.summary(id)
    assert summary.val_loss_is_final and summary.val_loss < 3 and summary.snapshot_steps[-1] == summary.step


def test_the_server_is_restarted_while_the_worker_imports_and_again_while_it_trains(real, store, owner, help):
    id = real_id = real().create_and_start(owner, "click", help.plan(steps=100_000))
    folder = store.folder(real_id)
    pid = store.index.get(id).pid
    assert works_on(pid, folder.path) and not is_held(folder.lock)
    for moment in (lambda: True, lambda: store.summary(id).step > 0):
        help.until(moment, seconds=60)
        manager = real()
        for _ in range(3):
            manager.tick()
        assert store.index.get(id).pid == pid and store.index.get(id).restarted_at is None
    models = ModelStore(store, folder.path)
    assert models.get(ModelRef("run", id)).step >= 0  # it can be looked at while it learns
    manager.pause(owner, id)
    help.until(lambda: store.summary(id).state == "paused" and store.index.get(id).place is None, seconds=60)
    assert not is_held(folder.lock) and folder.newest_step() == store.summary(id).step
    assert len([text for _, text in folder.journal().events() if text == "Training began."]) == 1
