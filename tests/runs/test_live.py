"""What the page polls while a run goes on."""

import json
import math

import pytest

from gpt2demo.errors import LimitError, NotFoundError
from gpt2demo.runs.live import MOST_ROWS, bits_per_character, view
from gpt2demo.training.journal import Sample
from gpt2demo.training.lock import hold
from gpt2demo.training.loop import TrainStep

STATUS = (
    "state message step steps_planned tokens time_left elapsed val_loss best_val_loss best_step "
    "final_val_loss bits_per_character accuracy tokens_per_second learning_rate parameters "
    "checkpoint_step unsaved diverged_at slower position"
).split()


def steps(many, *, start=0, interval=10):
    for step in range(start, many):
        evaluated = step % interval == 0 or step == many - 1
        yield TrainStep(
            step=step,
            tokens=64 * step,
            train_loss=3.0 - step / many,
            val_loss=3.1 - step / many if evaluated else None,
            val_accuracy=step / many if evaluated else None,
            learning_rate=0.001,
            gradient_norm=0.5,
            tokens_per_second=640.0,
            elapsed=0.1 * step,
        )


@pytest.fixture
def run(store, owner, help):
    return store.create(owner, help.plan("bpe"))


def test_a_run_that_has_not_begun(store, run):
    answer = store.view(run, -1)
    assert list(answer) == ["run", "steps", "samples", "status", "snapshots"]
    assert sorted(answer["status"]) == sorted(STATUS)
    assert (answer["run"], answer["steps"], answer["samples"], answer["snapshots"]) == (run, [], [], [])
    known = {name: value for name, value in answer["status"].items() if value is not None}
    assert known.pop("parameters") > 5_000
    assert (known.pop("unsaved"), known.pop("slower")) == ("", [])
    assert known == {"state": "waiting", "message": "", "step": 0, "tokens": 0, "elapsed": 0.0}


def test_a_run_at_work(store, run, help):
    folder = store.folder(run)
    journal = folder.journal()
    journal.add_steps(steps(101))
    journal.add_sample(Sample(step=0, prompt="the", text=" cxz"))
    journal.tell(state="running", steps_planned=201, checkpoint_step=90)
    help.give_weights(folder, 90)
    with hold(folder.lock):
        answer = store.view(run, 98)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer["steps"] == [
        [99, 3.0 - 99 / 101, None, 0.001, 0.5, 640.0, 9.9],
        [100, 3.0 - 100 / 101, 3.1 - 100 / 101, 0.001, 0.5, 640.0, 10.0],
    ]
    assert answer["samples"] == [{"step": 0, "prompt": "the", "text": " cxz"}]
    assert answer["snapshots"] == [90]
    status = answer["status"]
    assert (status["state"], status["step"], status["tokens"], status["checkpoint_step"]) == (
        "running",
        100,
        6400,
        90,
    )
    assert status["val_loss"] == status["best_val_loss"] == 3.1 - 100 / 101 and status["best_step"] == 100
    assert status["accuracy"] == 100 / 101 and status["final_val_loss"] is None
    assert status["time_left"] == pytest.approx(101 * 0.1, rel=0.02)
    facts = folder.facts()
    assert 0 < facts.tokens < facts.characters
    assert status["bits_per_character"] == status["val_loss"] / math.log(2) * facts.tokens / facts.characters
    assert store.view(run, 100)["steps"] == []


def test_the_best_need_not_be_the_latest(store, run):
    journal = store.folder(run).journal()
    for step in list(steps(21)):
        loss = None if step.val_loss is None else abs(step.step - 10) + 1.0
        journal.add_steps([TrainStep(**vars(step) | {"val_loss": loss})])
    status = store.view(run, -1)["status"]
    assert (status["val_loss"], status["best_val_loss"], status["best_step"]) == (11.0, 1.0, 10)
    assert store.summary(run).val_loss == 1.0 and not store.summary(run).val_loss_is_final
    journal.tell(state="done", final_val_loss=1.5)
    assert store.summary(run).val_loss == 1.5 and store.summary(run).val_loss_is_final
    assert store.view(run, -1)["status"]["final_val_loss"] == 1.5


def test_a_loss_of_nothing_is_the_best_there_is(store, run):
    journal = store.folder(run).journal()
    for step in list(steps(21)):
        loss = None if step.val_loss is None else max(0, 10 - step.step) / 10
        journal.add_steps([TrainStep(**vars(step) | {"val_loss": loss})])
    status = store.view(run, -1)["status"]
    assert (status["best_val_loss"], status["best_step"]) == (0.0, 10) and store.summary(run).val_loss == 0.0


def test_bits_per_character_are_nats_per_token_in_another_unit():
    assert bits_per_character(None, 10, 10) is None and bits_per_character(1.0, 0, 10) is None
    assert bits_per_character(2.0, 50, 100) == pytest.approx(1.4427, abs=1e-4)


def test_a_long_backlog_is_thinned_evenly_and_keeps_what_matters(store, run):
    journal = store.folder(run).journal()
    every = list(steps(12_345, interval=500))
    journal.add_steps(every)
    rows = store.view(run, -1)["steps"]
    assert MOST_ROWS / 2 < len(rows) <= MOST_ROWS
    numbers = [row[0] for row in rows]
    assert numbers == sorted(set(numbers)) and numbers[0] == 0 and numbers[-1] == 12_344
    assert max(b - a for a, b in zip(numbers, numbers[1:], strict=False)) <= 8
    assert {s.step for s in every if s.val_loss is not None} <= set(numbers)
    assert len(store.view(run, 12_344 - 1_500)["steps"]) == 1_500  # nothing is left out of a short one
    assert store.view(run, 12_344)["steps"] == []


def test_more_validations_than_rows_come_in_several_answers(store, run):
    journal = store.folder(run).journal()
    journal.add_steps(steps(4_500, interval=1))
    seen, after = [], -1
    while rows := store.view(run, after)["steps"]:
        assert len(rows) <= MOST_ROWS
        seen += [row[0] for row in rows]
        after = seen[-1]
    assert seen == list(range(4_500))


@pytest.mark.parametrize("after", [-2, 1.5, "1", None, math.nan, True, 10**30, [1]])
def test_a_strange_step_is_refused(store, run, after):
    with pytest.raises(LimitError):
        store.view(run, after)


@pytest.mark.parametrize("id", ["", "..", "a" * 16, None, 3])
def test_a_strange_id_is_refused(store, id):
    with pytest.raises(NotFoundError):
        store.view(id, -1)


def test_an_interrupted_run_says_so(store, run):
    folder = store.folder(run)
    folder.journal().tell(state="running")
    assert view(folder, -1)["status"]["state"] == "interrupted" == store.summary(run).state
    store.index.enqueue(run)
    store.index.claim(run)  # while the queue has it in hand, the page hears what comes next
    assert store.view(run, -1)["status"]["state"] == "starting" == store.summary(run).state
    store.index.set(run, wanted="stop")
    assert store.view(run, -1)["status"]["state"] == "stopped"


def test_the_starter_can_be_viewed_where_nothing_may_be_written(store, run, help):
    folder = store.folder(run)
    folder.journal().add_steps(steps(11))
    folder.journal().tell(state="done")
    read_only = type(folder)(folder.path, read_only=True)
    before = sorted(folder.path.iterdir())
    assert len(view(read_only)["steps"]) == 11 and view(read_only)["status"]["state"] == "done"
    assert sorted(folder.path.iterdir()) == before
