"""How fast this machine trains, tried out on a model of a few thousand parameters."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.training import estimate, loop
from gpt2demo.training.config import MAX_STEPS, recipe
from gpt2demo.training.estimate import Estimator, Pace, try_out
from gpt2demo.training.evaluation import Evaluation
from gpt2demo.training.loop import train

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


OTHER_PRECISION = {"precision": "bf16" if TRAINING.precision == "fp32" else "fp32"}


@pytest.mark.parametrize(
    "knob", [OTHER_PRECISION, {"gradient_checkpointing": True}, {"quantization_aware": True}], ids=str
)
def test_what_changes_the_pace_is_tried_out_by_itself(knob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PROBE_SECONDS", 0.01)
    estimator = Estimator()
    estimator.pace(SHAPE, TRAINING)
    other = replace(TRAINING, **knob)
    assert not estimator.knows(SHAPE, other) and estimator.pace(SHAPE, other).measured


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
    wide = preset("gpt2", vocab_size=50_257, n_positions=16)  # its steps are short, but making it is not
    assert all(estimator.knows(shape, recipe("adamw", shape, steps=1)) for shape in (huge, wide))
    pace = estimator.pace(huge, recipe("adamw", huge, steps=1))
    assert not pace.measured and pace.step > 10


def test_large_batches_are_scaled_up_from_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PROBE_FLOPS", 1e7)
    seen = []
    real = estimate.new_state
    monkeypatch.setattr(estimate, "new_state", lambda model, c: seen.append(c.batch_size) or real(model, c))
    for seconds in (0.01, 0.1, 1e9):
        assert try_out(SHAPE, recipe("muon", SHAPE, steps=10, batch_size=400), seconds=seconds).step > 0
    assert 1 == seen[0] < seen[1] < seen[2] == 400  # the more time there is, the larger


class VirtualClock:
    """A machine whose every update and evaluation takes a known time."""

    def __init__(self, patch, *, update, evaluation):
        self.now, self.updates = 0.0, 0
        self.update, self.evaluation = update, evaluation
        for module in (loop, estimate):
            patch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))
            patch.setattr(module, "evaluate", self.evaluate)
        patch.setattr(loop, "gradient_step", self.step)

    def step(self, state, data, config, share, *, learn):
        self.updates += 1
        self.now += self.update * (5 if self.updates < 3 else 1)  # the first ones are slow, as they are
        return 1.0, 1.0, 64

    def evaluate(self, model, tokens, *, length, max_tokens, hands):
        self.now += self.evaluation
        return Evaluation(loss=1.0, accuracy=0.5, tokens=max_tokens)


@pytest.mark.parametrize("update, evaluation", [(0.002, 0.0), (0.005, 0.02), (0.01, 0.05), (0.4, 0.2)])
@pytest.mark.parametrize("seconds", [3.0, 60.0])
def test_a_budget_in_minutes_buys_as_many_steps_as_fit(
    seconds, update, evaluation, shape, make_config, make_state, data, monkeypatch
):
    config = make_config(minutes=seconds / 60)
    clock = VirtualClock(monkeypatch, update=update, evaluation=evaluation)
    steps = try_out(shape, config, data=data, seconds=seconds / 10).steps(seconds)
    assert clock.now < max(2.0, 15 * update)  # finding out took a moment
    clock.updates = 10
    last = list(train(make_state(config), data, config, steps=steps))[-1]
    assert 0.7 * seconds <= last.elapsed <= 1.2 * seconds


def test_however_little_time_there_is_one_step_is_made(shape, make_config, data, monkeypatch):
    VirtualClock(monkeypatch, update=100.0, evaluation=30.0)
    assert try_out(shape, make_config(minutes=0.05), data=data, seconds=0.3).steps(3.0) == 1
