"""The command `python -m gpt2demo train RUN`, killed at random moments and started again, leaves no trace.

Real processes and real signals. Both optimisers are killed side by side, because most of the time goes into
starting Python; for the same reason the last shift of each run is worked in the test's own process. AdamW's
run reads packed batches, Muon's padded ones.
"""

import dataclasses
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpt2demo.errors import BusyError
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.text.batches import encode_corpus
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.lock import is_held
from gpt2demo.training.loop import train
from gpt2demo.training.worker import Worker

PROJECT = Path(__file__).parents[2]
SECONDS = 5.0  # of training in each run, so that several checkpoints and kills fall into it
SAVED_EVERY = 0.9  # seconds: seldom enough that most lines of the diary are not followed by a checkpoint
KILLS = 3
BATCHES = {"adamw": "packed", "muon": "padded"}
DEADLINE = 120.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def start(run):
    command = [sys.executable, "-m", "gpt2demo", "train", str(run.path)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition, process):
    """Waits for a state of the run; fails when its process ends or takes too long before."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"The worker ended too early: {process.communicate()}")
        if time.monotonic() > end:
            process.kill()
            pytest.fail(f"Nothing happened for {DEADLINE} s: {process.communicate()}")
        time.sleep(0.005)


def finish(process):
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def kill_and_resume(run):
    """Kills the worker at KILLS random steps, each some steps after a checkpoint.

    → for each kill, the last step in the diary and the step of the newest checkpoint
    """
    journal, steps = run.journal(), run.facts().training.steps
    chance, kills = random.Random(run.path.name), []
    for moment in sorted(chance.sample(range(steps // 10, steps * 6 // 10), KILLS)):
        process = start(run)
        kill_after(run, max(moment, last_step(journal) + 1), process)
        assert not is_held(run.lock) and run.status().state == "interrupted"
        assert newest_checkpoint(run) >= saved_step(journal)  # the diary never promises too much
        kills.append((last_step(journal), newest_checkpoint(run)))
    return kills


def kill_after(run, moment, process):
    journal = run.journal()
    wait_until(
        lambda: last_step(journal) >= moment and 0 < saved_step(journal) <= last_step(journal), process
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def last_step(journal):
    record = journal.last_step()
    return record.step if record else -1


def saved_step(journal):
    return journal.status().checkpoint_step or 0


def newest_checkpoint(run):
    """The step of the newest finished checkpoint; the worker may have died before it could say so."""
    names = [p.name for p in (run.path / "checkpoints").iterdir() if not p.suffix]
    return max(int(name.removeprefix("step-")) for name in names)


def terminate_and_leave(run):
    """Sends SIGTERM in the middle of the work. → how many seconds it took to leave, and its last words"""
    process = start(run)
    journal, steps = run.journal(), run.facts().training.steps
    wait_until(lambda: last_step(journal) > steps // 10, process)
    with pytest.raises(BusyError):  # meanwhile, a second worker is refused
        next(Worker(run, lambda *_: "").shift())
    assert run.status().state == "running"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    return time.monotonic() - began, result


@dataclasses.dataclass
class Scene:
    """A run, what is told about it once it is over, and what must have come out."""

    run: RunFolder
    story: Future
    steps: list
    weights: dict


@pytest.fixture(scope="module")
def steps(make_config, make_state, data):
    """How many steps take about SECONDS here and now, on a machine that may be busy."""
    torch.set_num_threads(1)
    config = make_config("muon", steps=10_000, batch_size=8)
    records = itertools.takewhile(
        lambda record: record.elapsed < 1.0, train(make_state(config), data, config, steps=10_000)
    )
    return min(2_000, max(100, int(SECONDS * len(list(records)))))


@pytest.fixture(scope="module")
def scenes(fast_for_all, make_run_at, make_config, make_state, corpus, lines, tokenizer, steps):
    """Two runs that are killed, and one that is asked to leave; all at once."""
    torch.set_num_threads(1)
    plots = {"adamw": kill_and_resume, "muon": kill_and_resume, "leave": terminate_and_leave}
    with ThreadPoolExecutor(max_workers=2) as pool:
        scenes = {}
        for name, plot in plots.items():
            optimizer = "adamw" if name == "leave" else name
            config = make_config(
                optimizer,
                steps=steps,
                batch_size=8,
                checkpoint_seconds=SAVED_EVERY,
                batches=BATCHES[optimizer],
            )
            text = lines if config.batches == "padded" else corpus
            run = make_run_at(fast_for_all / name, config, corpus=text)
            scenes[name] = Scene(run, pool.submit(plot, run), [], {})
        for name in ("adamw", "muon"):
            config = scenes[name].run.facts().training
            state = make_state(config)
            text = scenes[name].run.corpus()
            data = encode_corpus(text, tokenizer, length=config.length, batches=config.batches)
            scenes[name].steps += train(state, data, config, steps=steps)
            scenes[name].weights |= to_gpt2_tensors(state.model)
        scenes["leave"].steps, scenes["leave"].weights = scenes["adamw"].steps, scenes["adamw"].weights
        yield scenes


def check_equal(scene, results):
    assert results(scene.run.journal().steps()) == results(scene.steps)
    found = load_file(scene.run.path / "model.safetensors")
    assert found.keys() == scene.weights.keys()
    assert all(torch.equal(found[name], scene.weights[name]) for name in found)


def finish_here(run):
    worker = Worker(run, lambda *_: "")
    for _ in worker.shift():
        pass
    return worker.outcome


def events(run):
    return [text for _, text in run.journal().events()]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_three_kills_leave_no_trace(optimizer, scenes, steps, results):
    scene = scenes[optimizer]
    kills = scene.story.result(timeout=5 * DEADLINE)
    assert scene.run.config().dropout == 0.1 and scene.run.facts().training.optimizer == optimizer
    outcome = finish_here(scene.run)
    assert (outcome.state, outcome.step, outcome.tokens) == ("done", steps, scene.steps[-1].tokens)
    check_equal(scene, results)
    assert events(scene.run) == [
        "Training began.",
        *(f"Training went on from step {saved}, exactly." for _, saved in kills),
        f"Finished after {steps} steps.",
    ]  # in particular, none about steps that did not repeat
    assert len(kills) == KILLS and all(0 < saved for _, saved in kills)
    assert sum(saved <= killed for killed, saved in kills) >= 2  # so many were replayed; a kill may
    # also fall into the moment between a checkpoint and the next line in the diary


def test_asked_to_leave_it_saves_leaves_at_once_and_goes_on_exactly(scenes, steps, results):
    scene = scenes["leave"]
    seconds, said = scene.story.result(timeout=5 * DEADLINE)
    assert seconds < 5
    assert said["state"] == "interrupted" == scene.run.status().state
    assert said["run"] == str(scene.run.path) and said["parameters"] > 20_000
    assert steps // 10 < said["step"] < steps and scene.run.newest_step() == said["step"]
    assert not is_held(scene.run.lock)
    assert finish_here(scene.run).state == "done"
    check_equal(scene, results)
    assert f"Training went on from step {said['step']}, exactly." in events(scene.run)
