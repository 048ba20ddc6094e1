"""The worker does what people want, writes down what it did, and can be stopped anywhere without a trace."""

import dataclasses
import errno
import itertools
import math
import os
import random
import re
import shutil
import sqlite3

import pytest
import torch
from safetensors.torch import load_file

from gpt2demo.errors import BusyError, ConfigError, DivergedError, FileError
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.text.batches import encode_corpus
from gpt2demo.training import checkpoint, loop, saving
from gpt2demo.training import worker as worker_module
from gpt2demo.training.course import Course
from gpt2demo.training.files import read_json, write_json
from gpt2demo.training.journal import Journal
from gpt2demo.training.lock import hold, is_held
from gpt2demo.training.loop import train
from gpt2demo.training.saving import Keeper
from gpt2demo.training.schedule import milestones
from gpt2demo.training.slower import go_slower
from gpt2demo.training.worker import Worker


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Every step is written down and may be saved at once, so that nothing depends on the clock."""
    monkeypatch.setattr(worker_module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(worker_module, "CHECKPOINT_SHARE", 0.0)


def write_nothing(model, tokenizer, prompt, seed):
    return ""


def write_randomly(model, tokenizer, prompt, seed):
    """Uses the global generator, as a careless sampler might: training must not notice."""
    assert not model.training
    return tokenizer.decode(torch.randint(tokenizer.vocab_size, (9,)).tolist())


def work(run, write_sample=write_randomly):
    worker = Worker(run, write_sample)
    return worker, list(worker.shift())


def work_until(run, step):
    """Works, and stops existing at a step without saving or saying anything, as after a kill."""
    shift = Worker(run, write_randomly).shift()
    for record in shift:
        if record.step == step:
            break
    shift.close()


def events(run):
    return [text for _, text in run.journal().events()]


@pytest.fixture
def uninterrupted(make_state, data, results):
    """(config) → what must come out: the results of all steps, and the final weights"""

    def uninterrupted(config):
        state = make_state(config)
        return results(list(train(state, data, config, steps=config.steps))), to_gpt2_tensors(state.model)

    return uninterrupted


def check_equal(run, expected, results):
    wanted, weights = expected
    assert results(run.journal().steps()) == wanted
    found = load_file(run.path / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


both = pytest.mark.parametrize("optimizer", ["adamw", "muon"])


@pytest.fixture
def config(request, make_config):
    """Saved after every step. Muon, unless a test asks for both optimisers."""
    optimizer = request.getfixturevalue("optimizer") if "optimizer" in request.fixturenames else "muon"
    return make_config(optimizer, checkpoint_seconds=0.0)


@both
def test_a_whole_run_is_written_down(optimizer, config, make_run, uninterrupted, results):
    run = make_run("run", config)
    worker, records = work(run)
    assert records == run.journal().steps()
    check_equal(run, uninterrupted(config), results)
    status = run.status()
    assert status.state == "done" and status.message == "Finished after 24 steps."
    assert status.steps_planned == 24 == status.checkpoint_step == run.newest_step()
    assert events(run) == ["Training began.", "Finished after 24 steps."]
    looks = milestones(24, config.milestones)
    assert run.snapshot_steps() == looks and [s.step for s in run.journal().samples()] == list(looks)
    assert len({s.text for s in run.journal().samples()}) > 1
    outcome = worker.outcome
    assert (outcome.state, outcome.step, outcome.tokens) == ("done", 24, 24 * 64)
    assert outcome.train_loss == records[-1].train_loss and outcome.parameters > 20_000
    assert outcome.val_loss == status.final_val_loss and status.final_val_tokens > 200
    assert outcome.seconds >= records[-1].elapsed > 0 and outcome.tokens_per_second > 0
    assert not is_held(run.lock) and sorted(p.name for p in run.path.iterdir() if "run.sql" in p.name) == [
        "run.sqlite"
    ]


def test_a_finished_run_continued_stays_as_it_is(config, make_run, results):
    run = make_run("run", config)
    first, _ = work(run)
    rows, weights = run.journal().steps(), (run.path / "model.safetensors").read_bytes()
    samples = run.journal().samples()
    second, records = work(run, write_sample=lambda *_: samples[-1].text)
    assert [r.step for r in records] == [24] and run.journal().steps() == rows
    assert (run.path / "model.safetensors").read_bytes() == weights
    assert run.journal().samples() == samples
    assert second.outcome.val_loss == first.outcome.val_loss
    assert not any("not repeat" in text for text in events(run))


def test_many_kills_leave_no_trace(make_config, make_run, uninterrupted, results, monkeypatch, request):
    for optimizer in ("adamw", "muon"):
        config = make_config(optimizer, checkpoint_seconds=3600.0)
        run, chance, replays = make_run(optimizer, config), random.Random(optimizer), 0
        saves = chance.sample(range(1, 20), 5)  # where a checkpoint falls due is a matter of the clock
        ending = Worker._ending

        def save_sometimes(self, state, config, record, saves=saves, ending=ending):
            if state.step in saves:
                self._keeper.save(state)
            return ending(self, state, config, record)

        monkeypatch.setattr(Worker, "_ending", save_sometimes)
        for killed_at in sorted(chance.sample(range(2, 23), 6)):
            work_until(run, killed_at)
            assert run.status().state == "interrupted"
            replays += run.journal().last_step().step > run.journal().status().checkpoint_step
        monkeypatch.setattr(Worker, "_ending", ending)
        assert replays >= 3
        work(run)
        check_equal(run, uninterrupted(config), results)
        assert sum("went on from step" in text for text in events(run)) == 6
        assert not any("not" in text.split() for text in events(run))


@pytest.mark.parametrize("wanted, state", [("pause", "paused"), ("stop", "stopped")])
def test_what_people_want_is_done_and_training_goes_on_exactly(
    wanted, state, config, make_run, uninterrupted, results
):
    run = make_run("run", config)
    worker = Worker(run, write_nothing)
    for record in worker.shift():
        if record.step == 13:
            run.journal().tell(wanted=wanted)
    stopped_at = worker.outcome.step
    assert 14 <= stopped_at <= 16
    assert run.status().state == worker.outcome.state == state and not is_held(run.lock)
    assert run.status().message == f"{state.title()} after {stopped_at} steps; everything is saved."
    assert run.newest_step() == stopped_at == run.status().checkpoint_step
    assert (run.status().final_val_loss is not None) == (state == "stopped")
    assert math.isfinite(worker.outcome.val_loss)
    second, records = work(run)  # the wish was fulfilled: now the run goes on
    assert records[0].step == stopped_at and second.outcome.state == "done"
    assert f"Training went on from step {stopped_at}, exactly." in events(run)
    check_equal(run, uninterrupted(config), results)


def test_a_wish_uttered_while_the_worker_begins_is_not_lost(make_config, make_run, monkeypatch):
    run = make_run("run", make_config())
    run.journal().tell(wanted="pause")  # an old wish, fulfilled long ago
    encode = worker_module.encode_corpus

    def slow_encode(*args, **kwargs):
        assert run.status().state == "starting" and run.status().wanted == "run"
        run.journal().tell(wanted="stop")
        return encode(*args, **kwargs)

    monkeypatch.setattr(worker_module, "encode_corpus", slow_encode)
    worker, _ = work(run)
    assert worker.outcome.state == "stopped" and worker.outcome.step == 1


def test_a_terminated_worker_saves_and_leaves(config, make_run, uninterrupted, results):
    run = make_run("run", config)
    worker = Worker(run, write_nothing)
    for record in worker.shift():
        if record.step == 10:
            worker.terminate()
    assert worker.outcome.state == "interrupted" == run.status().state
    assert worker.outcome.step == 12 == run.newest_step()
    assert worker.outcome.train_loss == run.journal().steps()[11].train_loss
    work(run)
    check_equal(run, uninterrupted(config), results)


def test_an_outcome_after_a_replay_is_that_of_its_own_step(make_config, make_run):
    config = make_config("muon", checkpoint_seconds=3600.0)
    run = make_run("run", config)
    work_until(run, 15)  # the diary knows 16 steps; the only checkpoint is that of step 0
    assert run.journal().last_step().step == 15 and run.status().checkpoint_step == 0
    worker = Worker(run, write_nothing)
    for record in worker.shift():
        if record.step == 5:
            worker.terminate()
    rows = run.journal().steps()
    assert worker.outcome.step == 7 and worker.outcome.train_loss == rows[6].train_loss
    assert worker.outcome.val_loss == rows[6].val_loss


def test_patience_ends_a_run_that_gets_no_better(make_config, make_run, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.1, 2.2, *[2.4] * 9])

    def measured(state, *rest, **more):
        for record in train(state, *rest, **more):
            known = record.val_loss is not None
            yield dataclasses.replace(record, val_loss=next(losses)) if known else record

    monkeypatch.setattr(worker_module, "train", measured)
    run = make_run("tired", make_config(steps=40, evaluate_every=4, patience=3))
    work_until(run, 9)
    worker, records = work(run)  # the looks before the kill count as well
    assert records[-1].step == 16 and worker.outcome.state == "done" and worker.outcome.step == 17
    assert run.status().state == "done" and run.status().final_val_loss is not None
    assert events(run)[-1].startswith("Finished early, after 17 steps")


def test_a_second_worker_is_refused_and_disturbs_nothing(make_config, make_run, uninterrupted, results):
    config = make_config()
    run = make_run("run", config)
    for record in Worker(run, write_nothing).shift():
        if record.step == 10:
            with pytest.raises(BusyError, match="being trained already"):
                work(run)
            assert run.status().state == "running"
    assert events(run) == ["Training began.", "Finished after 24 steps."]
    check_equal(run, uninterrupted(config), results)


@pytest.mark.parametrize("lost", ["memory", "seed", "threads", "weights"])
def test_a_resume_that_is_not_exact_is_noticed(lost, make_config, make_run, monkeypatch):
    config = make_config("muon", checkpoint_seconds=3600.0)
    run = make_run("run", config)
    worker = Worker(run, write_nothing)
    for record in worker.shift():  # saves at 6 …
        if record.step == 4:
            worker.terminate()
    work_until(run, 15)  # … and is killed at 15
    rows = run.journal().steps()
    assert run.status().checkpoint_step == 6 and rows[-1].step == 15
    if lost == "memory":
        monkeypatch.setattr(checkpoint, "load_optimizer_tensors", lambda *_: None)
    elif lost == "weights":
        monkeypatch.setattr(checkpoint, "load_gpt2_tensors", lambda *_: None)
    else:
        data = read_json(run.path / "run.json")
        data["training"][lost] = {"seed": 8, "threads": 2}[lost]
        write_json(run.path / "run.json", data)
    if lost == "threads":
        work_until(run, 6)  # two threads on a busy machine are slow
    else:
        work(run)
    assert run.journal().steps()[: len(rows)] == rows  # what was shown once stays
    told = [text for text in events(run) if "not" in text.split()]
    if lost == "threads":
        assert told[0] == "Training went on from step 6, not exactly: threads was 1 and is now 2."
    else:
        first = "7" if lost == "memory" else "6"  # a lost memory shows in the second loss
        assert told == [f"From step {first} on, the resume did not repeat exactly."]


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(
    config, make_run, uninterrupted, results, monkeypatch
):
    run = make_run("run", config)
    work_until(run, 10)
    newest = run.path / "checkpoints" / f"step-{run.status().checkpoint_step:06d}"
    (newest / "optimizer.safetensors").write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save", lambda *_: None)
        shift = Worker(run, write_nothing).shift()
        next(shift)  # the step that nothing can take away is now the one before
        assert run.status().checkpoint_step == int(newest.name.removeprefix("step-")) - 1
        shift.close()
    work(run)
    before = run.path / "checkpoints" / f"{newest.name}.invalid"
    assert before.is_dir()
    number = int(newest.name.removeprefix("step-"))
    assert f"The checkpoint {newest.name} is damaged and was set aside." in events(run)
    assert f"Training went on from step {number - 1}, exactly." in events(run)
    check_equal(run, uninterrupted(config), results)


def break_at(step, run, monkeypatch):
    """Makes the numbers of a step infinite, whoever computes it, for as long as the rate was not lowered."""
    backward = loop._backward

    def broken(state, *rest):
        loss = backward(state, *rest)
        return loss * math.inf if state.step == step and not run.journal().status().slower else loss

    monkeypatch.setattr(loop, "_backward", broken)


def test_training_that_diverges_says_where_and_keeps_the_weights(
    make_config, make_run, make_state, monkeypatch
):
    config = make_config(checkpoint_seconds=3600.0, learning_rate=0.5)
    run = make_run("run", config)
    break_at(9, run, monkeypatch)
    with pytest.raises(DivergedError) as caught:
        work(run)
    status = run.status()
    assert status.state == "failed" and status.message == str(caught.value) == events(run)[-1]
    assert re.search(r"At step 9 the loss became inf .* length \d.* rate 0\.\d+", status.message)
    assert (status.diverged_at, status.checkpoint_step, run.journal().last_step().step) == (9, 0, 8)
    assert all(math.isfinite(r.train_loss) for r in run.journal().steps())
    kept = make_state(config)
    assert checkpoint.resume(run.path / "diverged", kept).step == 9  # nothing of the nine updates is lost
    replayed = make_state(config)
    list(
        itertools.islice(
            train(replayed, encode_corpus(run.corpus(), run.tokenizer(), length=16), config, steps=24), 9
        )
    )
    assert all(
        torch.equal(p, q) for p, q in zip(kept.model.parameters(), replayed.model.parameters(), strict=True)
    )
    assert run.load_model()[1] == 0 and not is_held(run.lock)
    with pytest.raises(DivergedError):  # as it was, it breaks again, from the checkpoint that was sound
        work(run)
    assert run.status().diverged_at == 9 and not any("not" in text.split() for text in events(run)[1:-1:2])


def test_a_run_that_diverged_goes_on_slower_and_is_then_as_exact_as_any(
    make_config, make_run, make_state, data, results, monkeypatch
):
    config = make_config("muon", checkpoint_seconds=3600.0)
    run = make_run("run", config)
    worker = Worker(run, write_randomly)
    for record in worker.shift():  # saved at 6
        if record.step == 4:
            worker.terminate()
    with monkeypatch.context() as patch:
        break_at(12, run, patch)
        with pytest.raises(DivergedError):
            work(run)
    assert run.journal().last_step().step == 11 and 8 < max(run.snapshot_steps())
    assert go_slower(run) == 6
    status = run.status()
    assert (status.slower, status.diverged_at, status.checkpoint_step) == ((6,), None, 6)
    assert status.state == "paused" and not (run.path / "diverged").exists()
    assert run.journal().last_step().step == 5 and max(s.step for s in run.journal().samples()) <= 6
    assert max(run.snapshot_steps()) <= 6
    with pytest.raises(ConfigError, match="did not diverge"):
        go_slower(run)
    work_until(run, 15)  # killed: the replay uses the lower rate as well
    work(run)
    state = make_state(config)
    expected = results(list(train(state, data, config, steps=Course(24, slower=(6,)))))
    check_equal(run, (expected, to_gpt2_tensors(state.model)), results)
    rates = [r.learning_rate for r in run.journal().steps()]
    usual = [r.learning_rate for r in train(make_state(config), data, config, steps=24)]
    assert rates[:6] == usual[:6] and rates[6:] == pytest.approx([r / 10 for r in usual[6:]])
    assert not any("not repeat" in text for text in events(run))
    assert any("had diverged at step 12. From step 6 on" in text for text in events(run))


def test_a_slower_run_leaves_out_checkpoints_whose_loss_had_exploded(make_config, make_run, monkeypatch):
    config = make_config(checkpoint_seconds=0.0)
    for climbs_at, goes_on_at in ((9, 8), (2, 0)):
        run = make_run(f"climbs at {climbs_at}", config)

        def measured(state, *rest, climbs_at=climbs_at, **more):
            for record in train(state, *rest, **more):
                exploded = record.step >= climbs_at
                yield dataclasses.replace(record, train_loss=50.0) if exploded else record

        with monkeypatch.context() as patch:
            patch.setattr(worker_module, "train", measured)
            patch.setattr(checkpoint, "KEPT", 4)
            break_at(11, run, patch)
            with pytest.raises(DivergedError):
                work(run)
        assert go_slower(run) == goes_on_at
        model, step = run.load_model()
        worker, records = work(run)
        assert worker.outcome.state == "done" and run.status().slower == (goes_on_at,)
        steps = [r.step for r in run.journal().steps()]
        assert steps == list(range(25)) and max(r.train_loss for r in run.journal().steps()) < 50


def test_a_fault_in_the_program_is_told_without_its_details(make_config, make_run):
    run = make_run("run", make_config())
    with pytest.raises(ZeroDivisionError):
        work(run, write_sample=lambda *_: str(1 / 0))
    assert run.status().state == "failed"
    assert run.status().message == "A fault in the program ended the training (ZeroDivisionError)."
    work(run)
    assert run.status().state == "done"


def refuse(patch, code=errno.ENOSPC):
    """From now on the disk takes no file more, except for the diary."""

    def fsync(handle):
        raise OSError(code, os.strerror(code))

    patch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_checkpoints_does_not_end_the_run(
    code, config, make_run, uninterrupted, results, monkeypatch
):
    run = make_run("run", config)
    worker, told = Worker(run, write_nothing), {}
    with monkeypatch.context() as patch:
        for record in worker.shift():
            if record.step == 6:
                refuse(patch, code)
            if record.step == 15:
                assert not list(run.path.rglob("*.tmp"))  # what is half-written would only take room
                state = worker_module.new_state(run.first_model(0), config)
                told["saved"] = checkpoint.resume(run.path / "checkpoints", state).step
                told["status"], told["steps"] = run.status(), run.journal().last_step().step
                patch.undo()
            if record.step == 16:
                assert run.status().unsaved == "" and run.status().checkpoint_step == 17
    assert told["saved"] == told["status"].checkpoint_step == 7 and told["steps"] == 15
    assert told["status"].state == "running" and "up to step 7 is saved" in told["status"].unsaved
    assert os.strerror(code) in told["status"].unsaved
    why = f"({os.strerror(code)})"
    assert [text for text in events(run) if "snapshot" not in text and "looking back" not in text] == [
        "Training began.",
        f"At step 8 nothing could be saved {why}. Everything up to step 7 is saved.",
        "Saving works again: everything up to step 17 is saved.",
        "Finished after 24 steps.",
    ]
    assert any(f"could not be kept for looking back {why}" in text for text in events(run))
    check_equal(run, uninterrupted(config), results)


def test_a_run_that_could_not_save_its_end_says_what_is_saved_and_makes_up_for_it(
    config, make_run, uninterrupted, results, monkeypatch
):
    run = make_run("run", config)
    with monkeypatch.context() as patch:
        with pytest.raises(FileError) as caught:
            for record in Worker(run, write_nothing).shift():
                if record.step == 20:
                    refuse(patch)
    assert run.status().state == "failed" and run.status().message == str(caught.value)
    assert "(No space left on device)" in str(caught.value) and "up to step 21 is saved" in str(caught.value)
    work(run)
    assert run.status().state == "done" and run.status().unsaved == ""
    check_equal(run, uninterrupted(config), results)


def deafen(patch):
    """From now on nobody can write the diary, or read it."""

    def connect(journal):
        raise sqlite3.OperationalError("database or disk is full")

    patch.setattr(Journal, "_connect", connect)


def test_a_diary_that_refuses_for_a_moment_misses_nothing(
    config, make_run, uninterrupted, results, monkeypatch
):
    run = make_run("run", config)
    with monkeypatch.context() as patch:
        for record in Worker(run, write_randomly).shift():
            if record.step == 5:
                deafen(patch)
            if record.step == 19:
                patch.undo()
                assert run.journal().last_step().step == 5 and run.status().checkpoint_step == 6
    assert run.status().state == "done"
    assert [s.step for s in run.journal().samples()] == list(milestones(24, config.milestones))
    check_equal(run, uninterrupted(config), results)


def test_a_diary_that_goes_on_refusing_ends_the_run_in_a_sentence(
    config, make_run, uninterrupted, results, monkeypatch
):
    run = make_run("run", config)
    with monkeypatch.context() as patch:
        patch.setattr(saving, "DIARY_PATIENCE", 0.01)
        with pytest.raises(FileError, match=r"database or disk is full.*Everything up to step \d+ is saved"):
            for record in Worker(run, write_nothing).shift():
                if record.step == 5:
                    deafen(patch)
    assert run.status().state == "interrupted" and run.journal().last_step().step == 5
    work(run)
    check_equal(run, uninterrupted(config), results)


def test_a_folder_that_vanishes_ends_the_run_in_a_sentence_and_stays_away(config, make_run):
    run = make_run("run", config)
    with pytest.raises(FileError, match="folder has vanished"):
        for record in Worker(run, write_nothing).shift():
            if record.step == 5:
                shutil.rmtree(run.path)
    assert not run.path.exists()


def test_snapshots_fit_into_the_room_given_for_them(make_config, make_run):
    for megabytes in (0, 0.12, 100.0):
        run = make_run(f"run {megabytes}", make_config(steps=12, snapshot_megabytes=megabytes))
        work(run, write_nothing)
        files = list(run.snapshots.glob("*"))
        room = int(megabytes * 1e6) // (2 * 26_464 - 2 * 32 * 3)
        assert len(files) <= room
        headers = 4_000 * len(files)
        assert sum(p.stat().st_size for p in files) <= megabytes * 1e6 + headers
        assert run.newest_step() == 12 and len(run.journal().samples()) == len(milestones(12, 12))
        if megabytes == 100:
            assert len(files) == len(milestones(12, 12)) - 1
        elif room:
            assert 1 <= len(files) and "step-000000.safetensors" in {p.name for p in files}


def test_no_milestones_means_no_samples_and_no_snapshots(make_config, make_run):
    run = make_run("run", make_config(milestones=0, steps=3))
    work(run, write_sample=lambda *_: pytest.fail("a sample was written"))
    assert run.journal().samples() == [] and run.snapshot_steps() == (3,)


def test_three_seconds_of_training_take_three_seconds(make_config, make_run, monkeypatch):
    monkeypatch.setattr(worker_module, "FLUSH_SECONDS", 0.25)
    run = make_run("run", make_config(minutes=0.05, final_learning_rate=0.0))
    worker, records = work(run, write_nothing)
    assert worker.outcome.state == "done" and worker.outcome.seconds == pytest.approx(3.0, abs=0.6)
    assert 20 < worker.outcome.step == run.status().steps_planned
    assert records[-2].learning_rate < 0.1 * max(record.learning_rate for record in records)


@pytest.mark.parametrize("planned", [40, 100_000])
def test_a_plan_that_was_wrong_is_corrected_on_the_way(make_config, make_run, monkeypatch, planned):
    run = make_run("run", make_config(minutes=0.05, final_learning_rate=0.0))
    monkeypatch.setattr(worker_module, "plan_course", lambda *_: Course(planned, seconds=1.0))
    worker, records = work(run, write_nothing)
    assert worker.outcome.state == "done" and worker.outcome.seconds == pytest.approx(1.0, abs=0.5)
    assert planned != worker.outcome.step == run.status().steps_planned == run.newest_step()
    assert records[-2].learning_rate < 0.1 * max(record.learning_rate for record in records)
    assert run.journal().samples()[-1].step == worker.outcome.step or not run.journal().samples()


def test_a_plan_is_made_once_and_a_resumed_run_repeats_its_corrections(make_config, make_run, monkeypatch):
    monkeypatch.setattr(worker_module, "plan_course", lambda *_: Course(300, seconds=1.0))
    run = make_run("run", make_config(minutes=0.05, checkpoint_seconds=0.0))
    monkeypatch.setattr(checkpoint, "KEPT", 1_000)
    work(run, write_nothing)
    rows, course = run.journal().steps(), run.status().course
    assert len(course) > 10
    weights = (run.path / "model.safetensors").read_bytes()
    saved = sorted((run.path / "checkpoints").glob("step-*"), key=lambda p: int(p.name.partition("-")[2]))
    for path in saved[len(saved) // 2 :]:
        shutil.rmtree(path)
    run.journal().tell(state="paused")
    monkeypatch.setattr(worker_module, "plan_course", lambda *_: pytest.fail("planned anew"))
    worker, again = work(run, write_nothing)
    assert 0 < again[0].step < len(rows) / 1.5
    assert run.status().course == course
    assert not any("did not repeat" in event for event in events(run))
    assert (run.path / "model.safetensors").read_bytes() == weights


def test_a_worker_for_a_run_that_is_held_elsewhere_writes_nothing(make_config, make_run):
    run = make_run("run", make_config())
    with hold(run.lock), pytest.raises(BusyError):
        work(run)
    assert run.status().state == "waiting" and events(run) == []
