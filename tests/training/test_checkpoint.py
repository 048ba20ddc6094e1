"""A checkpoint is all or nothing, whatever breaks while it is written or while it lies there."""

import errno
import json
import os
import random
import shutil

import pytest
import torch

from gpt2demo.errors import FileError
from gpt2demo.training import checkpoint
from gpt2demo.training.checkpoint import FILES, KEPT, MANIFEST, fingerprint, resume, save, verify
from gpt2demo.training.loop import train

STEPS = 12


@pytest.fixture(params=["adamw", "muon"])
def config(request, make_config):
    return make_config(request.param)


@pytest.fixture
def advance(make_config, data):
    """(state, config, steps) → the state after so many updates more."""

    def advance(state, config, steps):
        end = state.step + steps
        while state.step < end:
            next(train(state, data, config, steps=STEPS))
        return state

    return advance


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True))


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_resumed_state_goes_on_exactly(config, make_state, advance, data, results, fast):
    whole = advance(make_state(config), config, 6)
    save(fast, advance(make_state(config), config, 6))
    again = make_state(config)
    resumed = resume(fast, again)
    assert resumed.step == again.step == 6 and again.tokens == 6 * 64
    assert again.elapsed > 0 and again.speed > 0
    assert resumed.differences == resumed.damaged == ()
    assert same_weights(whole, again)
    expected = results(list(train(whole, data, config, steps=STEPS)))
    assert results(list(train(again, data, config, steps=STEPS))) == expected
    assert same_weights(whole, again)


@pytest.mark.parametrize("lost", ["exp_avg", "exp_avg_sq", "step", "momentum_buffer", "weights"])
def test_leaving_out_any_part_of_the_state_is_noticed(
    lost, make_config, make_state, advance, data, results, fast
):
    config = make_config("muon")
    whole = advance(make_state(config), config, 6)
    save(fast, whole)
    again = make_state(config)
    resume(fast, again)
    memories = [memory for o in again.optimizers for memory in o.state.values() if lost in memory]
    assert memories or lost == "weights"
    for memory in memories:
        memory[lost].zero_()
    if lost == "weights":
        again.model.load_state_dict(make_state(config).model.state_dict())
    expected = results(list(train(whole, data, config, steps=STEPS)))
    assert results(list(train(again, data, config, steps=STEPS))) != expected


def test_without_a_checkpoint_there_is_nothing_to_resume(make_config, make_state, fast):
    state = make_state(make_config())
    assert resume(fast, state) is None and resume(fast / "missing", state) is None and state.step == 0


def test_the_two_newest_are_kept_also_past_a_million_steps(make_config, make_state, fast):
    state = make_state(make_config())
    for step in (5, 999_998, 999_999, 1_000_000):
        state.step = step
        save(fast, state)
    assert KEPT == 2 and names(fast) == ["step-1000000", "step-999999"]
    assert resume(fast, make_state(make_config())).step == 1_000_000


def test_what_a_killed_save_left_behind_is_tidied_up_and_never_used(make_config, make_state, fast):
    state = make_state(make_config())
    state.step = 4
    save(fast, state)
    shutil.copytree(fast / "step-000004", fast / "step-000009.tmp")
    (fast / "step-elsewhere").mkdir()
    assert resume(fast, make_state(make_config())).step == 4
    state.step = 8
    save(fast, state)
    assert names(fast) == ["step-000004", "step-000008", "step-elsewhere"]


def test_a_step_that_is_saved_already_is_not_touched(make_config, make_state, fast, monkeypatch):
    state = make_state(make_config())
    path = save(fast, state)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: pytest.fail("the only checkpoint was deleted"))
        patch.setattr(os, "replace", lambda *_: pytest.fail("written again"))
        assert save(fast, state) == path
    (path / "weights.safetensors").write_bytes(b"")
    save(fast, state)  # but a damaged one is
    verify(path)


@pytest.fixture
def two(make_config, make_state, advance, fast):
    """A folder with whole checkpoints of the steps 2 and 4. → make a fresh state"""
    config = make_config("muon")
    state = advance(make_state(config), config, 2)
    save(fast, state)
    save(fast, advance(state, config, 2))
    return lambda: make_state(config)


def flip(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_one_flipped_bit_anywhere_sends_the_run_to_the_checkpoint_before(name, two, fast):
    newest, chance = fast / "step-000004", random.Random(name)
    original = (newest / name).read_bytes()
    flips = [(chance.randrange(len(original)), chance.randrange(8)) for _ in range(60)]
    flips += [(0, 0), (len(original) - 1, 7)]
    for position, bit in flips:
        flip(newest / name, position, bit)
        with pytest.raises(FileError):
            verify(newest)
        (newest / name).write_bytes(original)
    verify(newest)
    flip(newest / name, *flips[0])
    resumed = resume(fast, two())
    assert resumed.step == 2 and resumed.damaged == ("step-000004",)
    assert names(fast) == ["step-000002", "step-000004.invalid"]  # kept for whoever wants to look


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "null": lambda path: path.write_bytes(b"null"),
    "nested": lambda path: path.write_bytes(b"[" * 10_000),
}


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_sends_the_run_to_the_checkpoint_before(name, damage, two, fast):
    DAMAGES[damage](fast / "step-000004" / name)
    assert resume(fast, two()).step == 2


@pytest.mark.parametrize("change", [lambda m: m.pop("state.json"), lambda m: m["state.json"].pop("sha256")])
def test_a_manifest_that_lacks_something_vouches_for_nothing(change, two, fast):
    manifest = json.loads((fast / "step-000004" / MANIFEST).read_text())
    change(manifest)
    (fast / "step-000004" / MANIFEST).write_text(json.dumps(manifest))
    assert resume(fast, two()).step == 2


def test_a_disk_that_cannot_read_counts_as_damage(two, fast, monkeypatch):
    bad = fast / "step-000004" / "optimizer.safetensors"
    read = type(bad).read_bytes

    def broken(path):
        if path == bad:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(type(bad), "read_bytes", broken)
    assert resume(fast, two()).step == 2


def test_the_same_step_can_be_damaged_again_and_again(two, fast):
    for times in (1, 2, 3):
        (fast / "step-000004" / MANIFEST).unlink()
        assert resume(fast, two()).step == 2
        assert len([n for n in names(fast) if ".invalid" in n]) == times
        shutil.copytree(fast / "step-000002", fast / "step-000004")
        (fast / "step-000004" / MANIFEST).touch()


def test_when_both_are_damaged_the_run_begins_anew_and_says_so(two, fast):
    for path in fast.iterdir():
        (path / MANIFEST).unlink()
    assert resume(fast, two()) is None
    assert names(fast) == ["step-000002.invalid", "step-000004.invalid"]


def test_a_changed_machine_is_named(two, fast, monkeypatch):
    real = fingerprint()
    assert set(real) == {"torch", "processor", "machine", "threads"} and real["threads"] == 1
    torch.set_num_threads(2)
    assert resume(fast, two()).differences == ("threads was 1 and is now 2",)
    torch.set_num_threads(1)
    monkeypatch.setattr(checkpoint, "fingerprint", lambda: real | {"torch": "99.0", "processor": "ABACUS"})
    first, second = resume(fast, two()).differences
    assert first == f"torch was {torch.__version__} and is now 99.0"
    assert second.endswith("and is now ABACUS")


def test_a_checkpoint_holds_nothing_that_could_run(two, fast):
    for path in (fast / "step-000004").iterdir():
        data = path.read_bytes()
        assert path.suffix in (".json", ".safetensors")
        assert not data.startswith((b"PK", b"\x80"))
