"""How long a run will wait: foretold from what the others have left to do, and only now and then."""

import pytest

from gpt2demo.runs import waiting as waiting_module
from gpt2demo.runs.identity import new_owner
from gpt2demo.runs.index import Index
from gpt2demo.runs.waiting import CHANGE_SECONDS, Forecast
from gpt2demo.training.lock import hold
from gpt2demo.training.loop import TrainStep


@pytest.fixture
def enqueue(store, help):
    """Makes a run and puts it into the queue. → its id"""

    def make(*, started=False, owner=None, **changes):
        steps = None if "minutes" in changes else 30
        id = store.create(owner or new_owner(), help.plan(**{"steps": steps} | changes))
        store.index.enqueue(id)
        if started:
            store.index.claim(id)
        return id

    return make


@pytest.fixture
def at_work(store, enqueue):
    """A run that has made 100 of 200 steps in 50 seconds."""
    id = enqueue(started=True, steps=200)
    folder = store.folder(id)
    record = TrainStep(
        step=100, tokens=6_400, train_loss=2.0, val_loss=None, val_accuracy=None, learning_rate=0.1,
        gradient_norm=1.0, tokens_per_second=128.0, elapsed=50.5,
    )  # fmt: skip
    folder.journal().add_steps([record])
    folder.journal().tell(state="running", steps_planned=200)
    with hold(folder.lock):
        yield id


def test_nobody_waits_in_an_empty_queue(store):
    assert store.forecast.seconds() == 0 and store.forecast.seconds("a" * 16) is None


def test_each_waits_for_what_those_before_it_have_left(store, at_work, enqueue):
    first, second, third = enqueue(minutes=2.0), enqueue(minutes=0.5), enqueue()
    wait = store.forecast.seconds
    assert wait(first) == pytest.approx(50 + CHANGE_SECONDS)
    assert wait(second) == pytest.approx(50 + 120 + 2 * CHANGE_SECONDS)
    assert wait(third) == pytest.approx(50 + 150 + 3 * CHANGE_SECONDS)
    assert wait() == pytest.approx(50 + 150 + 30 * 0.5 + 4 * CHANGE_SECONDS)  # at the pace of the run at work
    assert wait(at_work) is None
    for id in (first, second):
        status = store.view(id)["status"]
        assert (status["position"], status["wait_seconds"]) == ([first, second].index(id) + 1, wait(id))
    assert store.view(at_work)["status"]["wait_seconds"] is None


def test_two_places_halve_the_wait(store, at_work, enqueue):
    enqueue(started=True, minutes=1.0)
    first, second = enqueue(), enqueue()
    assert store.forecast.seconds(first) == pytest.approx(50 + CHANGE_SECONDS)
    assert store.forecast.seconds(second) == pytest.approx(60 + CHANGE_SECONDS)


def test_the_second_run_of_an_owner_waits_for_the_first(store, at_work, enqueue):
    owner = new_owner()
    enqueue(started=True, minutes=5.0, owner=owner)
    second = enqueue(owner=owner)
    assert store.forecast.seconds(second) == pytest.approx(300 + CHANGE_SECONDS)  # though a place is free


def test_nobody_waits_longer_than_a_turn_for_one_run(store, enqueue):
    enqueue(started=True, minutes=600.0)
    assert store.forecast.seconds(enqueue()) == 60 * store.quotas.minutes_per_turn + CHANGE_SECONDS


def test_a_damaged_run_holds_up_no_forecast(store, at_work, enqueue):
    broken, last = enqueue(minutes=5.0), enqueue()
    (store.root / broken / "run.json").write_text("{")
    assert store.forecast.seconds(last) == pytest.approx(50 + 2 * CHANGE_SECONDS)


def test_many_questions_are_answered_by_one_look(store, at_work, enqueue, monkeypatch):
    runs, looks = [enqueue(minutes=1.0) for _ in range(5)], []
    foretell = Forecast._foretell
    monkeypatch.setattr(Forecast, "_foretell", lambda self, queue: looks.append(1) or foretell(self, queue))
    for id in runs * 4:
        store.forecast.seconds(id)
    assert len(looks) == 1
    store.index.remove(runs[0])  # the queue is another
    assert store.forecast.seconds(runs[1]) == pytest.approx(50 + CHANGE_SECONDS) and len(looks) == 2
    monkeypatch.setattr(waiting_module, "FRESH_SECONDS", 0.0)
    store.forecast.seconds(runs[1])
    assert len(looks) == 3


def test_an_empty_folder_has_an_empty_queue(tmp_path):
    assert Forecast(tmp_path, Index(tmp_path / "index"), turn_seconds=1.0).seconds() == 0
