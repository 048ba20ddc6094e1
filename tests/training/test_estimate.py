"""How fast this machine trains, tried out on a model of a few thousand parameters."""

import pytest

from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.training import estimate
from gpt2demo.training.config import MAX_STEPS, recipe
from gpt2demo.training.estimate import Estimator, Pace

SHAPE = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2, dropout=0.0)
TRAINING = recipe("adamw", SHAPE, steps=10, batch_size=4)


def test_steps_and_seconds_count_the_looks_at_the_held_out_text() -> None:
    pace = Pace(step=0.01, look=0.1, measured=True)
    steps = pace.steps(60)
    assert 5_500 < steps < 6_000
    assert pace.seconds(steps) == pytest.approx(60, rel=0.02)
    assert pace.steps(0) == 1
    assert Pace(step=1e-9, look=0.0, measured=True).steps(1e9) == MAX_STEPS


def test_a_pace_is_tried_out_once_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PROBE_SECONDS", 0.05)
    estimator = Estimator()
    assert not estimator.knows(SHAPE, TRAINING)
    first = estimator.pace(SHAPE, TRAINING)
    assert first.measured and first.step > 0 and first.look > 0
    assert estimator.knows(SHAPE, TRAINING)
    monkeypatch.setattr(estimate, "try_out", lambda *_: pytest.fail("tried out twice"))
    similar = GPT2Config(vocab_size=60, n_positions=16, n_embd=16, n_layer=1, n_head=2, dropout=0.0)
    assert estimator.pace(similar, recipe("adamw", similar, minutes=1.0, batch_size=4)) is first


def test_a_pace_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PROBE_SECONDS", 0.01)
    estimator = Estimator()
    estimator.pace(SHAPE, TRAINING)
    monkeypatch.setattr(estimate, "FRESH_SECONDS", 0)
    assert not estimator.knows(SHAPE, TRAINING)


def test_nothing_is_tried_out_on_a_busy_machine_or_for_a_huge_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "try_out", lambda *_: pytest.fail("tried out"))
    estimator = Estimator()
    assert not estimator.pace(SHAPE, TRAINING, measure=False).measured
    huge = preset("gpt2", vocab_size=50_257)
    pace = estimator.pace(huge, recipe("adamw", huge, steps=1))
    assert not pace.measured and pace.step > 10


def test_large_batches_are_scaled_up_from_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(estimate, "PROBE_FLOPS", 1e6)
    seen = []
    real = estimate.new_state
    monkeypatch.setattr(estimate, "new_state", lambda model, c: seen.append(c.batch_size) or real(model, c))
    pace = estimate.try_out(SHAPE, recipe("muon", SHAPE, steps=10, batch_size=400))
    assert 1 <= seen[0] < 400
    assert pace.step > 0
