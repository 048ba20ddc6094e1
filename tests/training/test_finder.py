"""The learning rate that a search suggests: a good one, found without a trace, or a sentence."""

import math
import threading
from dataclasses import replace

import pytest
import torch

from gpt2demo.errors import BusyError, ConfigError, LimitError
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.training import finder
from gpt2demo.training.estimate import Pace
from gpt2demo.training.finder import Trial, rate_at, search, search_steps, suggest
from gpt2demo.training.loop import train

PLENTY = 10**9


def trials(losses, steps=None):
    """A search in which every smoothed loss is the loss itself."""
    steps = steps or len(losses)
    return [
        Trial(step=i, steps=steps, learning_rate=rate_at(i, steps), loss=loss, smoothed=loss)
        for i, loss in enumerate(losses)
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_finds_a_rate_close_to_the_best(optimizer, shape, data, make_config, make_state):
    config = make_config(optimizer, steps=40)
    found = suggest(list(search(shape, config, data, steps=60, memory_bytes=PLENTY)))

    def result(rate):
        once = replace(config, learning_rate=rate)
        return list(train(make_state(once), data, once, steps=40))[-1].val_loss

    best = min((3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), key=result)
    assert best / 10 <= found.learning_rate <= best * 10
    assert found.learning_rate <= found.lowest < (found.explodes or math.inf)


def test_it_leaves_nothing_behind(shape, data, make_config):
    config = make_config("muon", threads=2)
    luck, threads = torch.get_rng_state(), set(threading.enumerate())
    known = GPT2(shape, seed=1)
    before = [p.clone() for p in known.parameters()]
    torch.set_rng_state(luck)
    going = search(shape, config, data, steps=60, memory_bytes=PLENTY, start=known)
    first, *_ = (next(going) for _ in range(3))
    assert set(threading.enumerate()) > threads  # two hands are at work
    going.close()
    assert set(threading.enumerate()) == threads
    assert torch.equal(torch.get_rng_state(), luck)
    assert all(torch.equal(p, q) for p, q in zip(before, known.parameters(), strict=True))
    other = next(search(shape, replace(config, seed=8), data, steps=60, memory_bytes=PLENTY))
    assert other.loss != first.loss


def test_an_explosion_ends_it(shape, data, make_config):
    seen = list(search(shape, make_config("adamw"), data, steps=60, memory_bytes=PLENTY))
    assert len(seen) < 60 and seen[-1].smoothed > seen[0].loss + finder.LOST
    rates = [trial.learning_rate for trial in seen]
    assert rates == sorted(rates) and rates[0] == finder.LOWEST_RATE
    assert seen[7].smoothed == pytest.approx(sum(trial.loss for trial in seen[3:8]) / 5)
    assert suggest(seen).explodes <= rates[-1]


def test_what_is_no_number_ends_it_too(shape, data, make_config, monkeypatch):
    real = finder.gradient_step

    def breaks(state, data, config, share, *, learn):
        if state.step == 9:
            next(state.model.parameters()).data.fill_(math.nan)
        return real(state, data, config, share, learn=learn)

    monkeypatch.setattr(finder, "gradient_step", breaks)
    assert len(list(search(shape, make_config(), data, steps=60, memory_bytes=PLENTY))) == 9


def test_the_rule(monkeypatch):
    falls = [4.0, 4.0, 3.0, 2.04, 2.0, 2.4, 2.6, 3.0]
    found = suggest(trials(falls))
    assert found.learning_rate == pytest.approx(rate_at(3, 8), rel=0.05)
    assert found.lowest == rate_at(4, 8) and found.explodes == rate_at(6, 8)
    assert suggest(trials(falls[:6])).explodes is None
    assert suggest(trials(falls[:6], steps=8)).explodes == rate_at(5, 8)  # it ended there
    for nothing in ([], [3.0, 2.99, 3.5]):
        with pytest.raises(ConfigError, match="fell at no learning rate"):
            suggest(trials(nothing))


def test_it_takes_no_longer_than_it_may(shape, data, make_config, monkeypatch):
    config = make_config()

    def steps(seconds):
        return search_steps(Pace(step=seconds, look=0.0, measured=True), config)

    assert steps(0.001) == 100 and steps(1.0) == 60
    with pytest.raises(LimitError, match=r"about 3\.0 seconds.*about 2 minutes.*smaller model"):
        steps(3.0)
    monkeypatch.setattr(finder, "SECONDS", 0.0)
    with pytest.raises(BusyError, match="step 0 of 60"):
        list(search(shape, config, data, steps=60, memory_bytes=PLENTY))


def test_what_does_not_fit_is_refused_before_it_is_made(shape, data, make_config, monkeypatch):
    monkeypatch.setattr(finder, "make_model", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(LimitError, match="memory"):
        next(search(shape, make_config(), data, steps=60, memory_bytes=1_000))
