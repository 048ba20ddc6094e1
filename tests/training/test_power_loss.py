"""Every write, sync and rename may fail, power may go at any moment: the old or the new checkpoint loads."""

import dataclasses
import errno
import random
import shutil

import pytest
import torch

from gpt2demo.model.gpt2 import GPT2
from gpt2demo.training.checkpoint import resume, save, verify
from gpt2demo.training.loop import new_state, train
from tests.training.disk import Disk

POWER_LOSSES = 1_000
SAVED = (2, 4, 6, 8)


@pytest.fixture(scope="module", params=["adamw", "muon"])
def states(request, make_config, shape, data):
    """Four states of one run, and a function that makes a fresh one to be resumed."""
    torch.set_num_threads(1)
    tiny = dataclasses.replace(shape, n_embd=8, n_layer=1, n_head=1)
    config = make_config(request.param, steps=10)

    def fresh():
        return new_state(GPT2(tiny, seed=config.seed), config)

    def at(step):
        state = fresh()
        steps = train(state, data, config, steps=10)
        while state.step < step:
            next(steps)
        return state

    return {step: at(step) for step in SAVED}, fresh


def check_loads(folder, states, fresh, *, at_least):
    """Whatever happened: the newest checkpoint that was promised, or a newer one, loads as it was saved."""
    state = fresh()
    resumed = resume(folder / "checkpoints", state)
    if resumed is None:
        assert at_least is None, f"the checkpoint of step {at_least} is lost"
        return None
    assert resumed.damaged == () and resumed.step >= (at_least or 0)
    saved = states[resumed.step]
    both = zip(state.model.parameters(), saved.model.parameters(), strict=True)
    assert all(torch.equal(found, wanted) for found, wanted in both)
    assert state.tokens == saved.tokens
    verify(folder / "checkpoints" / f"step-{resumed.step:06d}")
    return resumed.step


@pytest.mark.parametrize("code, stays", [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_disk_that_fails_at_any_call_leaves_the_old_or_the_new_checkpoint(
    code, stays, states, fast, monkeypatch
):
    states, fresh = states
    start, run = fast / "start", fast / "run"
    start.mkdir()
    save(start / "checkpoints", states[2])
    found, saved = [], False
    while not saved:
        shutil.copytree(start, run)
        disk = Disk(run, fails_at=len(found) + 1, error=code, stays=stays)
        with disk.watched(monkeypatch):
            try:
                save(run / "checkpoints", states[4])
                saved = True
            except OSError as error:
                assert error.errno == code
                assert not list(run.rglob("*.tmp")), "what is half-written takes room"
        found.append(check_loads(run, states, fresh, at_least=2))
        shutil.rmtree(run)
    assert disk.calls < disk.fails_at
    assert len(found) > 28 and found[-1] == 4  # four files, each opened, written, synced, renamed, and so on
    assert set(found[: len(found) * 3 // 4]) == {2}
    first = found.index(4)
    assert found[first:] == [4] * (len(found) - first)


@pytest.fixture
def recorded(states, fast, monkeypatch):
    """What the disk was asked for by four saves, and which step was promised after how many operations."""
    disk, promised = Disk(fast / "run"), [(0, None)]
    disk.root.mkdir()
    with disk.watched(monkeypatch):
        for step, state in states[0].items():
            save(disk.root / "checkpoints", state)
            promised.append((len(disk.operations), step))
    return disk, promised


def lose_power(disk, promised, states, target, times):
    """Loses power `times` times. → which step was found how often"""
    found = {}
    for number in range(times):
        chance = random.Random(number)
        moment = chance.randrange(len(disk.operations) + 1)
        disk.after_power_loss(moment, chance, target)
        at_least = max((step or 0 for after, step in promised if after <= moment), default=0) or None
        step = check_loads(target, *states, at_least=at_least)
        found[step] = found.get(step, 0) + 1
        shutil.rmtree(target)
    return found


def test_after_a_thousand_power_losses_a_checkpoint_loads(recorded, states, fast):
    disk, promised = recorded
    found = lose_power(disk, promised, states, fast / "after", POWER_LOSSES // 2)  # for each optimiser
    assert set(found) == {None, *SAVED} and min(found.values()) > POWER_LOSSES // 50


@pytest.mark.parametrize("forgotten", ["files", "folders", "order"])
def test_the_power_losses_find_a_save_that_forgets_something(forgotten, recorded, states, fast):
    disk, promised = recorded
    if forgotten == "order":  # all is synced, but only after the new name is there
        operations = disk.operations
        last = {id(o.node): n for n, o in enumerate(operations) if o.kind == "write"}
        moved = [n for n, o in enumerate(operations) if o.kind == "move" and o.child.folder]
        early = [n for n, o in enumerate(operations) if o.kind == "sync" and id(o.node) in last]
        for sync in reversed(early):
            after = next(n for n in moved if n > sync)
            operations.insert(after, operations.pop(sync))
    else:
        disk.operations[:] = [
            o for o in disk.operations if o.kind != "sync" or o.node.folder != (forgotten == "folders")
        ]
        promised = [(0, None)]  # the numbers have changed; but what is found must be whole
    with pytest.raises(AssertionError):
        lose_power(disk, promised, states, fast / "after", POWER_LOSSES // 2)


def test_every_byte_is_synced_before_its_file_gets_its_name(recorded):
    disk, _ = recorded
    unsynced, files = set(), 0
    for operation in disk.operations:
        if operation.kind == "write":
            unsynced.add(id(operation.node))
        elif operation.kind == "sync":
            unsynced.discard(id(operation.node))
        elif operation.kind == "move":
            assert id(operation.child) not in unsynced
            files += not operation.child.folder
    assert files == 4 * len(SAVED) and not unsynced
