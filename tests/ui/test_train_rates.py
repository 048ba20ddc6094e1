"""Trying out learning rates on the Train tab: it draws, says and fills in; one visitor at a time."""

import json
import threading
import time
from itertools import count

import pytest
import torch

from gpt2demo.runs import rate_searches
from gpt2demo.training.estimate import Estimator, Pace
from gpt2demo.training.finder import Suggestion, Trial
from gpt2demo.ui.text import learning as words
from gpt2demo.ui.theme import hint
from gpt2demo.ui.train_rates import said
from gpt2demo.ui.train_tab import TrainTab
from tests.ui.little_runs import one_thread
from tests.ui.test_train_tab import STORY, same_tab, told, values  # noqa: F401

LITTLE = {"n_embd": 16, "n_head": 2, "n_positions": 16}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(rate_searches, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(Estimator, "pace", lambda *_, **__: Pace(step=0.01, look=0.0, measured=True))
    with one_thread():
        yield


def form(**changes):
    return values(n_embd=16, n_head=2, context=16, batch=4, optimizer="adamw", **changes)


def test_a_curve_grows_and_the_rate_can_be_used(same_tab: TrainTab) -> None:  # noqa: F811
    luck = torch.get_rng_state()
    (first, *_), *_, last = same_tab.rates_part.search(*form(rate=0.002))
    assert first == hint(words.BEGINS)
    note, drawn, curve, found, use = last
    names = [trace["name"] for trace in json.loads(curve)["figure"]["data"]]
    assert names[2:] == ["now: 0.002", f"suggested: {found:.2g}"] and drawn["visible"] and use["visible"]
    assert f"{found:.2g} looks good" in note and "now it is 0.002" in note
    assert same_tab.rates_part.use(found)[0] == found
    assert all(same_tab.rates_part.use(wrong)[0] != wrong for wrong in (None, "1", [0.1]))
    assert torch.equal(torch.get_rng_state(), luck)


def test_one_at_a_time_and_it_ends_when_nobody_watches(same_tab: TrainTab, monkeypatch) -> None:  # noqa: F811
    closed = threading.Event()

    def endless(*_, **__):
        try:
            for step in count():
                yield Trial(step=step, steps=100, learning_rate=0.1, loss=2.0, smoothed=2.0)
                time.sleep(0.002)
        finally:
            closed.set()

    monkeypatch.setattr(rate_searches, "search", endless)
    going = same_tab.rates_part.search(*form())
    next(going), next(going)
    assert "already" in told(lambda: list(same_tab.rates_part.search(*form())))
    going.close()
    assert closed.wait(5)
    turn = same_tab.rates_part.searches._turn
    assert turn.acquire(timeout=5)  # the next may come
    turn.release()


def test_what_is_said_of_a_bad_form_and_of_a_run_at_work(same_tab: TrainTab, monkeypatch) -> None:  # noqa: F811
    assert "n_layer" in told(lambda: list(same_tab.rates_part.search(*form(n_layer=100_000))))
    assert "at least" in told(lambda: list(same_tab.rates_part.search(*form(source="paste", pasted="x"))))
    monkeypatch.setattr(Estimator, "pace", lambda *_, **__: Pace(step=9.0, look=0.0, measured=False))
    assert "about 9.0 seconds" in told(lambda: list(same_tab.rates_part.search(*form())))
    monkeypatch.setattr(same_tab.rates_part.searches, "training_now", lambda: True)
    assert words.DISTURBS in next(same_tab.rates_part.search(*form()))[0]


def test_the_sentence() -> None:
    found = Suggestion(learning_rate=0.003, lowest=0.0043, explodes=0.02)
    assert "lowest at 0.0043 and explodes from 0.02 on." in said(found, 0.001)
    assert "never exploded." in said(Suggestion(learning_rate=0.003, lowest=1.0, explodes=None), 0.001)


def test_a_program_finds_a_rate(same_tab: TrainTab) -> None:  # noqa: F811
    found = same_tab.api.find_learning_rate(STORY, size="pico", optimizer="adamw", variants=LITTLE)
    assert found["recipe"] == 0.001 and found["suggested"] <= found["lowest"] * 1.05
    assert len(found["trials"]) > 40 and len(found["trials"][0]) == 3
    assert "at least" in told(same_tab.api.find_learning_rate, "too short")
    assert json.dumps(found)
