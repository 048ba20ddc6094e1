"""Time: each step is looked at alike, drift starts at 0, differences are of like with like, half is half."""

import numpy as np
import pytest

from gpt2demo.errors import ConfigError, TextError
from gpt2demo.inspection.capture import capture
from gpt2demo.inspection.timeline import (
    HalfWay,
    Moment,
    captures_over_time,
    difference,
    drift_over_time,
    half_way,
    scores_over_time,
)
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from tests.inspection.induction_model import START, V, induction_model
from tests.inspection.wild import wild

STRENGTHS = {0: 0.0, 10: 0.001, 100: 0.005, 1000: 1.0}  # of the induction head, by step


def moments(locks=None):
    """A model that becomes an induction head: one at a time, as from a run's folder."""
    for step, strength in STRENGTHS.items():
        yield Moment(step, induction_model(strength), locks and locks[step])


class Counted:
    """A lock that knows how often it was taken."""

    taken = held = 0

    def __enter__(self):
        self.taken, self.held = self.taken + 1, self.held + 1

    def __exit__(self, *error):
        self.held -= 1


def test_the_head_becomes_an_induction_head_and_the_other_stays_what_it_is():
    locks = {step: Counted() for step in STRENGTHS}
    told = list(scores_over_time(moments(locks), start_id=START))
    assert [one.step for one in told] == list(STRENGTHS)
    induction = [one.scores.induction[1, 0] for one in told]
    assert induction == sorted(induction) and induction[0] < 0.1 and induction[-1] > 0.999
    assert all(one.scores.previous[0, 0] > 0.999 for one in told)
    assert all(lock.taken == 16 and not lock.held for lock in locks.values())  # once for each sequence
    assert half_way([one.step for one in told], induction).final == induction[-1]
    some = next(scores_over_time(moments(), start_id=START, tokens=[1, 2, 3, 4, 5], seed=1))
    assert some.scores.period == 5


def test_work_is_done_only_for_what_is_taken():
    taken = []

    def noting():
        for moment in moments():
            taken.append(moment.step)
            yield moment

    told = scores_over_time(noting(), start_id=START)
    next(told), next(told)
    assert taken == [0, 10]


def test_drift_begins_at_zero_and_is_a_distance():
    first, later = induction_model(), induction_model()
    later.wte.weight[3, :2] += np.float32(1.0) * later.wte.weight.new_tensor([3.0, 4.0])
    later.wpe.weight[7, 0] += 2.0
    start, then = drift_over_time([Moment(0, first), Moment(5, later)])
    assert (start.step, then.step) == (0, 5) and not start.tokens.any() and not start.positions.any()
    assert then.tokens[3] == pytest.approx(5) and np.count_nonzero(then.tokens) == 1
    assert then.positions[7] == pytest.approx(2) and np.count_nonzero(then.positions) == 1
    other = make_model(GPT2Config(vocab_size=V, architecture="bigram", n_embd=8, n_head=1, n_layer=1)).eval()
    assert next(drift_over_time([Moment(0, other)])).positions is None


def test_the_same_text_is_seen_at_each_step():
    text = [START, 4, 8, 3, 4]
    locks = {step: Counted() for step in STRENGTHS}
    told = list(captures_over_time(moments(locks), text, what=["values"]))
    assert all(lock.taken == 1 and not lock.held for lock in locks.values())
    assert [one.step for one in told] == list(STRENGTHS)
    for one in told:
        expected = capture(induction_model(STRENGTHS[one.step]), text)
        assert np.array_equal(one.seen.attention, expected.attention) and one.seen.values is not None
    change = difference(told[0].seen, told[-1].seen)
    assert change.attention[1, 0, 4, 2] == pytest.approx(0.8, abs=1e-5)  # from a fifth to all
    assert change.attention[1, 0, 4, 4] == pytest.approx(-0.2, abs=1e-5)
    assert np.abs(change.attention.sum(-1)).max() < 1e-5 and not change.residual[1].any()
    assert np.array_equal(change.residual, told[-1].seen.residual - told[0].seen.residual)


def test_only_like_is_compared_with_like():
    seen = capture(induction_model(), [START, 4])
    with pytest.raises(TextError, match="different tokens"):
        difference(seen, capture(induction_model(), [START, 5]))
    with pytest.raises(ConfigError, match="2 heads and 120 channels.*2 heads and 32 channels"):
        difference(seen, capture(wild(), [START, 4]))


@pytest.mark.parametrize(
    ("values", "step", "before"),
    [
        ([0.0, 0.1, 0.6, 0.8], 100, 10),
        ([0.0, 0.1, 0.2, 0.8], 1000, 100),
        ([0.0, 0.5, 0.1, 0.8], 1000, 100),  # it fell back
        ([0.0, 0.4, 0.4, 0.8], 10, 0),  # half itself is enough
        ([0.5, 0.5, 0.5, 0.5], 0, None),
        ([0.0, 0.0, 0.0, 0.0], 0, None),
    ],
)
def test_half_way_is_the_step_from_which_on_it_stays_above_half(values, step, before):
    found = half_way(list(STRENGTHS), values)
    value = values[list(STRENGTHS).index(step)]
    assert found == HalfWay(step=step, before=before, value=value, final=values[-1])


def test_half_way_needs_a_value_for_each_step():
    for steps, values in (([], []), ([1, 2], [0.5]), ([1], [float("nan")])):
        with pytest.raises(ValueError):
            half_way(steps, values)
