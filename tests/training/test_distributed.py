"""Two real processes train like one; one that dies takes the others along, and the run goes on exactly.

Real processes over loopback (gloo). They are started few times, because starting Python takes longest: one
launch works through many runs (`several.py`).
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpt2demo.errors import ConfigError, LimitError
from gpt2demo.training import distributed
from gpt2demo.training.distributed import Processes, processes
from gpt2demo.training.lock import is_held
from gpt2demo.training.worker import Worker
from tests.training.several import in_32_bits

PROJECT = Path(__file__).parents[2]
DEADLINE = 120.0
LEAVING = 25.0  # seconds in which all are gone after one was killed; torchrun itself would wait for 30
LONG = {"ddp": 200, "fsdp": 90}  # steps of the runs that are killed
STEPS = 6  # of the runs that are compared with those of one process
ALIKE = 1e-5  # relative: sums of 32-bit numbers in another order

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc to find the processes")


def torchrun(*command):
    """Starts two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, *command],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Waits for the end. → what was printed"""
    try:
        return process.communicate(timeout=DEADLINE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"It did not end: {process.communicate()[0]}")


def several(name, *plots):
    """Trains runs one after the other in one launch. → what each of two processes said of each"""
    process = torchrun("-m", "tests.training.several", json.dumps(plots), name)
    said = finish(process)
    assert process.returncode == 0, said
    beside = Path(plots[0]["run"])
    return [read_list(beside.with_name(f"{name}-{rank}.json")) for rank in range(2)]


def read_list(path):
    return json.loads(path.read_text())


def rank_one(launcher):
    """The process id of the second of the processes that a torchrun has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher.pid and b"\0RANK=1\0" in b"\0" + folder.joinpath("environ").read_bytes():
                return int(folder.name)
        except OSError:
            continue
    return None


def train_until(run, step, *options):
    """Starts the real command and waits until the run has got so far, with a checkpoint behind it."""
    process = torchrun("-m", "gpt2demo", "train", str(run.path), *options)
    journal, end = run.journal(), time.monotonic() + DEADLINE
    while not (last := journal.last_step()) or last.step < step or not journal.status().checkpoint_step:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"It did not get so far: {process.communicate()[0]}")
        time.sleep(0.01)
    return process


def killed(run):
    process = train_until(run, 40)
    os.kill(rank_one(process), signal.SIGKILL)
    began = time.monotonic()
    said = finish(process)
    return process.returncode, time.monotonic() - began, said


def terminated(run):
    process = train_until(run, 10, "--shard")
    process.send_signal(signal.SIGTERM)
    return finish(process)


def work_alone(run):
    worker = Worker(run, lambda *_: "")
    for _ in worker.shift():
        pass
    return worker.outcome


def events(run):
    return [text for _, text in run.journal().events()]


KINDS = {
    "adamw": {"optimizer": "adamw", "gradient_clip": 1.0},
    "adamw-padded": {"optimizer": "adamw", "batches": "padded", "accumulation": 3, "weight_decay": 0.1},
    # small steps, as Muon makes more of the smallest difference; see `several.in_32_bits`
    "muon": {"optimizer": "muon", "weight_decay": 0.1, "learning_rate": 0.005},
    "muon-padded": {"optimizer": "muon", "batches": "padded", "accumulation": 2, "learning_rate": 0.005},
}


@pytest.fixture(scope="module")
def scene(fast_for_all, make_run_at, make_config, shape, corpus, lines):
    """All runs, and what was said about them; everything is done before the first test looks at it."""
    torch.set_num_threads(1)
    still, runs, said = replace(shape, dropout=0.0), {}, {}

    def make(name, model=still, **settings):
        config = make_config(**{"steps": STEPS, "milestones": 3} | settings)
        text = lines if config.batches == "padded" else corpus
        runs[name] = make_run_at(fast_for_all / name, config, model=model, corpus=text)
        alike = name.split("-", 1)[1] in KINDS
        return {"run": str(runs[name].path), "shard": name.startswith("fsdp"), "in_32_bits": alike}

    equal = [make(f"{how}-{kind}", **KINDS[kind]) for how in ("ddp", "fsdp") for kind in KINDS]
    for kind in KINDS:
        make(f"one-{kind}", **KINDS[kind])
    long = {
        "ddp": {"optimizer": "muon", "steps": LONG["ddp"]},
        "fsdp": {"optimizer": "muon", "steps": LONG["fsdp"], "gradient_checkpointing": True},
    }
    make("ddp-killed", shape, **long["ddp"], checkpoint_seconds=0.1)
    make("fsdp-terminated", shape, **long["fsdp"], checkpoint_seconds=0.1)
    plain = [make(f"{how}-whole", shape, **long[how]) for how in long]
    odd = [
        make("ddp-diverged") | {"poison": True},
        make("ddp-uneven", batch_size=3),
        make("ddp-left", shape),
        make("ddp-minutes", steps=None, minutes=0.05),
    ]
    odd[2]["leave"] = True
    with ThreadPoolExecutor(max_workers=2) as pool:
        first = pool.submit(several, "first", *equal, *plain, *odd)
        kill = pool.submit(killed, runs["ddp-killed"])
        terminate = pool.submit(terminated, runs["fsdp-terminated"])
        with in_32_bits():
            for kind in KINDS:
                work_alone(runs[f"one-{kind}"])
        said["killed"], said["terminated"] = kill.result(), terminate.result()
        said["interrupted"] = {name: run.status() for name, run in runs.items()}
        names = [Path(plot["run"]).name for plot in (*equal, *plain, *odd)]
        said["first"] = dict(zip(names, zip(*first.result(), strict=True), strict=True))
    again = ("ddp-killed", "fsdp-terminated", "ddp-left")
    said["again"] = several(
        "again", *({"run": str(runs[n].path), "shard": n.startswith("fsdp")} for n in again)
    )
    return runs, said


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one_does(how, kind, scene):
    runs, said = scene
    assert said["first"][f"{how}-{kind}"] == ("", "")
    ours, theirs = runs[f"{how}-{kind}"].journal().steps(), runs[f"one-{kind}"].journal().steps()
    assert len(ours) == len(theirs) == STEPS + 1
    for two, one in zip(ours, theirs, strict=True):
        assert (two.step, two.tokens, two.learning_rate) == (one.step, one.tokens, one.learning_rate)
        assert two.train_loss == pytest.approx(one.train_loss, rel=ALIKE)
        assert two.gradient_norm == pytest.approx(one.gradient_norm, rel=10 * ALIKE)
        assert (two.val_loss is None) == (one.val_loss is None)
        assert two.val_loss is None or two.val_loss == pytest.approx(one.val_loss, rel=ALIKE)
    assert ours[0].train_loss != ours[-1].train_loss


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_the_folder_is_that_of_one_process(how, scene):
    runs, _ = scene
    two, one = runs[f"{how}-muon"], runs["one-muon"]
    assert two.status().state == "done" and two.status().final_val_tokens == one.status().final_val_tokens
    assert two.snapshot_steps() == one.snapshot_steps() and two.newest_step() == STEPS
    assert [s.step for s in two.journal().samples()] == [s.step for s in one.journal().samples()]
    ours, theirs = (load_file(run.path / "model.safetensors") for run in (two, one))
    assert ours.keys() == theirs.keys() and all(ours[name].shape == theirs[name].shape for name in ours)
    assert {p.name for p in two.path.iterdir()} == {p.name for p in one.path.iterdir()}
    files = {p.suffix for p in two.path.rglob("*") if p.is_file()}
    assert files <= {".safetensors", ".json", ".sqlite", ".lock", ".beat"}  # in particular, no pickle
    assert two.load_model()[0].config == one.config()


def check_equal(run, other, results):
    assert results(run.journal().steps()) == results(other.journal().steps())
    ours, theirs = (load_file(r.path / "model.safetensors") for r in (run, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_killed_process_takes_the_others_along_and_the_run_goes_on_exactly(scene, results):
    runs, said = scene
    status, seconds, _ = said["killed"]
    assert status != 0 and seconds < LEAVING
    before = said["interrupted"]["ddp-killed"]
    assert before.state == "interrupted" and 0 < before.checkpoint_step < LONG["ddp"]
    assert "Another process of this training ended" in before.message and "went on" not in before.message
    check_equal(runs["ddp-killed"], runs["ddp-whole"], results)
    told = events(runs["ddp-killed"])
    assert f"Training went on from step {before.checkpoint_step}, exactly." in told
    assert not any("did not repeat" in text for text in told)
    assert runs["ddp-killed"].status().state == "done" and not is_held(runs["ddp-killed"].lock)


def test_asked_to_leave_all_save_their_shards_and_go_on_exactly(scene, results):
    runs, said = scene
    before = said["interrupted"]["fsdp-terminated"]
    assert before.state == "interrupted" and before.message.startswith("Asked to leave after ")
    check_equal(runs["fsdp-terminated"], runs["fsdp-whole"], results)
    assert f"Training went on from step {before.checkpoint_step}, exactly." in events(runs["fsdp-terminated"])


def test_any_of_them_may_be_asked_to_leave(scene):
    runs, said = scene
    assert said["first"]["ddp-left"] == ("", "")
    assert any(text.startswith("Asked to leave after 1 step;") for text in events(runs["ddp-left"]))
    assert runs["ddp-left"].status().state == "done"  # by the second launch


def test_all_stop_in_the_same_step_when_numbers_end(scene):
    runs, said = scene
    ours, theirs = said["first"]["ddp-diverged"]
    assert ours == theirs and ours.startswith("DivergedError: At step ")
    status = runs["ddp-diverged"].status()
    assert status.state == "failed" and status.message == ours.removeprefix("DivergedError: ")


def test_a_budget_in_minutes_is_planned_together(scene):
    runs, said = scene
    assert said["first"]["ddp-minutes"] == ("", "")
    status = runs["ddp-minutes"].status()
    assert status.state == "done" and status.steps_planned > 10
    assert 1 < runs["ddp-minutes"].journal().last_step().elapsed < 20  # of the three seconds that it has


def test_rows_that_cannot_be_shared_are_refused_before_anything_begins(scene):
    runs, said = scene
    for text in said["first"]["ddp-uneven"]:
        assert text.startswith("LimitError: This run reads 3 windows in a step, and there are 2 processes.")
        assert text.endswith("The nearest number of processes that works is 1.")
    assert runs["ddp-uneven"].status().state == "waiting"


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_one_process_goes_on_with_what_two_have_begun_and_says_so(how, scene):
    runs, _ = scene
    run = runs[f"{how}-muon-padded"]
    weights = load_file(run.path / "model.safetensors")
    assert work_alone(run).state == "done"
    then = "2 (sharded)" if how == "fsdp" else "2"
    assert f"Training went on from step {STEPS}, not exactly: processes was {then} and is now 1." in events(
        run
    )
    ours = load_file(run.path / "model.safetensors")
    assert all(torch.equal(ours[name], weights[name]) for name in weights)


def test_what_cannot_be_shared_is_refused(make_run, make_config, monkeypatch):
    team = Processes(0, 5, 5, torch.device("cpu"), False)
    with pytest.raises(LimitError, match="4 windows .* 5 processes.* that works is 4"):
        team.check(make_run("five", make_config()))
    sharded = Processes(0, 2, 2, torch.device("cpu"), True)
    with pytest.raises(ConfigError, match="budget is in minutes"):
        sharded.check(make_run("minutes", make_config(minutes=1.0)))
    with pytest.raises(ConfigError, match="several"), processes(shard=True):
        pass
    monkeypatch.setattr(distributed, "all_same", lambda things: False)
    with pytest.raises(ConfigError, match="different runs"):
        Processes(0, 2, 2, torch.device("cpu"), False).check(make_run("other", make_config()))


def test_processes_on_one_machine_share_its_threads(shape, make_config):
    config = make_config(threads=8)
    teams = [Processes(0, 4, here, torch.device("cpu"), False) for here in (1, 2, 16)]
    assert [team.threads(shape, config) for team in teams] == [8, 4, 1]
    assert {team.hands(shape, config) for team in teams} == {1}
