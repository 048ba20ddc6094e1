"""Checkpoints: all that a run needs to go on exactly where it was, and proof that it is all there."""

import hashlib
import itertools
import os
import platform
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from gpt2demo.errors import FileError
from gpt2demo.model.weights import load_gpt2_tensors, to_gpt2_tensors
from gpt2demo.training.files import read_json, read_tensors, sync_folder, write_json, write_tensors
from gpt2demo.training.loop import TrainingState
from gpt2demo.training.optimizers import load_optimizer_tensors, optimizer_tensors
from gpt2demo.training.team import SHARDS, is_sharded

KEPT = 2
MANIFEST = "MANIFEST.json"
FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Which checkpoint a run goes on from, and why it may not repeat itself to the last bit."""

    step: int
    differences: tuple[str, ...]  # what changed since: a sentence each; none means exact
    damaged: tuple[str, ...]  # newer checkpoints that were broken and set aside


def fingerprint() -> dict[str, Any]:
    """What a run's exact numbers depend on, besides its settings."""
    return {
        "torch": torch.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _sums(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def save(folder: Path, state: TrainingState) -> Path:
    """Writes a checkpoint of the state below `folder` and deletes all but the two newest.

    Everything is written under another name first and renamed when it is on the disk, so a crash at any
    moment leaves the older checkpoints whole and no half of this one. A step is saved once: a whole one
    of the same step stays as it is. Raises OSError when the disk refuses, FileNotFoundError when the folder
    around `folder` has gone; then the older checkpoints are as they were.
    """
    final = folder / f"step-{state.step:06d}"
    if final.is_dir() and _is_whole(final):
        return final
    for unfinished in folder.glob("step-*.tmp"):  # by a worker that was killed while saving
        shutil.rmtree(unfinished, ignore_errors=True)
    temporary = final.with_suffix(".tmp")
    try:
        _write(temporary, state)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
        raise
    sync_folder(folder)
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _write(temporary: Path, state: TrainingState) -> None:
    """Writes all files of a checkpoint, and makes sure that they are on the disk."""
    if not temporary.parent.is_dir():
        temporary.parent.mkdir()
        sync_folder(temporary.parent.parent)
    temporary.mkdir()
    if state.team.sharded:
        state.team.save_shards(temporary, state)
    else:
        weights = to_gpt2_tensors(state.model)
        write_tensors(temporary / "weights.safetensors", weights, {"step": str(state.step)})
        write_tensors(temporary / "optimizer.safetensors", optimizer_tensors(state.optimizers), {})
    write_json(
        temporary / "state.json",
        {
            "step": state.step,
            "tokens": state.tokens,
            "elapsed": state.elapsed,
            "speed": state.speed,
            "fingerprint": fingerprint() | {"processes": state.team.processes},
        },
    )
    names = (*_shards(p.name for p in temporary.iterdir()), "state.json") if state.team.sharded else FILES
    write_json(temporary / MANIFEST, {name: _sums(temporary / name) for name in names})


def discard_after(folder: Path, step: int) -> None:
    """Deletes the checkpoints of later steps, the newest first."""
    for path in reversed(_all(folder)):
        if step_of(path) > step:
            shutil.rmtree(path)
    if folder.is_dir():
        sync_folder(folder)


def whole_steps(folder: Path) -> tuple[int, ...]:
    """The steps from which a run could go on, the newest first."""
    return tuple(step_of(path) for path in reversed(_all(folder)) if _is_whole(path))


def step_of(path: Path) -> int:
    """The step that a checkpoint belongs to."""
    return int(path.name.removeprefix("step-"))


def _all(folder: Path) -> list[Path]:
    """All finished checkpoints, oldest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and re.fullmatch(r"step-\d+", p.name)]
    return sorted(found, key=step_of)


def verify(path: Path) -> None:
    """Raises FileError unless every file of a checkpoint is there and is what was written."""
    sums = read_json(path / MANIFEST)
    shards = _shards(sums)
    for name in (*shards, "state.json") if shards else FILES:
        try:
            whole = _sums(path / name) == sums.get(name)
        except OSError:  # it is missing, or the disk cannot read it
            whole = False
        if not whole:
            raise FileError(
                f"{name} of the checkpoint {path.name} is damaged.",
                "Its SHA-256 must be the one that was noted when it was written.",
                "The checkpoint before it is used instead.",
            )


def _shards(names: Iterable[str]) -> tuple[str, ...]:
    """The files among these in which several processes keep their shards of weights and optimiser."""
    return tuple(sorted(name for name in names if fnmatch(name, SHARDS)))


def _is_whole(path: Path) -> bool:
    try:
        verify(path)
    except FileError:
        return False
    return True


def _set_aside(path: Path) -> None:
    """Renames a damaged checkpoint to `.invalid`, or `.invalid-2` … when its step was damaged before."""
    names = itertools.chain([".invalid"], (f".invalid-{number}" for number in itertools.count(2)))
    path.rename(next(p for p in map(path.with_suffix, names) if not p.exists()))


def resume(folder: Path, state: TrainingState) -> Resumed | None:
    """Brings the state to the newest checkpoint that is whole, or returns None when there is none.

    A damaged checkpoint is renamed to `.invalid`, never deleted and never used.
    """
    damaged = []
    for path in reversed(_all(folder)):
        if not _is_whole(path):
            _set_aside(path)
            damaged.append(path.name)
            continue
        if state.team.sharded or is_sharded(path):
            state.team.load_shards(path, state)
        else:
            load_gpt2_tensors(state.model, read_tensors(path / "weights.safetensors"))
            load_optimizer_tensors(state.optimizers, read_tensors(path / "optimizer.safetensors"))
        state.team.hand_out(state)
        facts = read_json(path / "state.json")
        state.step, state.tokens = facts["step"], facts["tokens"]
        state.elapsed, state.speed = facts["elapsed"], facts["speed"]
        then = {"processes": 1} | facts["fingerprint"]
        now = fingerprint() | {"processes": state.team.processes}
        differences = tuple(
            f"{name} was {then.get(name)} and is now {now[name]}"
            for name in now
            if then.get(name) != now[name]
        )
        return Resumed(step=state.step, differences=differences, damaged=tuple(damaged))
    return None
