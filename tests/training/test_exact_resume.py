"""The command `python -m gpt2demo train RUN`, killed at random moments and started again, leaves no trace.

Real processes and real signals; `python -m tests.benchmarks.kills --kills 100` does more of the same.
"""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from gpt2demo.errors import BusyError
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.training import checkpoint
from gpt2demo.training.lock import is_held
from gpt2demo.training.loop import train
from gpt2demo.training.worker import Worker
from tests.training import kills
from tests.training.kills import PROJECT, SABOTAGES

KILLS = 20
STEPS = 200
DEADLINE = 120.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def test_twenty_kills_leave_no_trace(fast):
    stories = list(kills.campaign(fast, kills=KILLS, per_run=KILLS // 2, steps=STEPS))
    assert sum(story.kills for story in stories) >= KILLS
    assert [story.differences for story in stories] == [[]] * len(stories)
    assert sum(story.replayed for story in stories) > 0  # the kills did cost something
    for story in stories:
        assert story.run.config().dropout and story.run.facts().training.accumulation == 2
        assert story.run.status().state == "done"
        told = [text for _, text in story.run.journal().events()]
        assert not any("not" in text.split() for text in told)
        assert told[-1] == f"Finished after {STEPS} steps."


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_kills_find_a_resume_that_is_not_exact(sabotage, fast):
    run = kills.make_run(fast / "run", "muon", steps=40, seed=3)
    expected = kills.undisturbed(run)
    with kills.nursery() as start:
        process, _ = start(run)
        journal = run.journal()
        process.start()
        assert kills.wait_until(lambda: (journal.status().checkpoint_step or 0) > 2, process)
        assert kills.kill(kills.Story(run=run), process)
        kills.finish(run, start, sabotage)
    steps, weights = kills.differences(run, expected)
    assert "steps differ, the first is" in steps and weights == "the final weights differ"


def test_asked_to_leave_it_saves_leaves_at_once_and_goes_on_exactly(
    fast, make_run_at, make_config, make_state, data, results
):
    config = make_config(steps=2_000, checkpoint_seconds=3600.0)
    run = make_run_at(fast / "run", config)
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt2demo", "train", str(run.path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal, end = run.journal(), time.monotonic() + DEADLINE
    while not (journal.last_step() and journal.last_step().step > 20):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.005)
    with pytest.raises(BusyError):  # meanwhile, a second worker is refused
        next(Worker(run, lambda *_: "").shift())
    assert run.status().state == "running"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert time.monotonic() - began < 5
    said = json.loads(out.splitlines()[-1])
    assert said["state"] == "interrupted" == run.status().state
    assert said["run"] == str(run.path) and said["parameters"] > 20_000
    assert 20 < said["step"] < 2_000 and run.newest_step() == said["step"]
    assert checkpoint.whole_steps(run.path / "checkpoints")[0] == said["step"] and not is_held(run.lock)
    end = said["step"] + 10
    state, records = make_state(config), []
    for record in train(state, data, config, steps=2_000):
        records.append(record)
        if state.step == end:
            break
    worker = Worker(run, lambda *_: "")
    for record in worker.shift():
        if record.step == end - 2:
            worker.terminate()
    assert results(run.journal().steps()) == results(records)
    found, wanted = load_file(run.path / "model.safetensors"), to_gpt2_tensors(state.model)
    assert worker.outcome.step == end and all(torch.equal(found[name], wanted[name]) for name in wanted)
    told = [text for _, text in run.journal().events()]
    assert f"Training went on from step {said['step']}, exactly." in told
