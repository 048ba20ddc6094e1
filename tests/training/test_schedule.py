"""The learning rate follows its formula, and milestones come often early and rarely late."""

import math

import pytest

from gpt2demo.training.course import Course
from gpt2demo.training.schedule import evaluation_interval, is_tired, learning_rate_share, milestones


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_learning_rate_takes_the_values_of_the_formula(make_config, decay):
    config = make_config(decay=decay, warmup=0.1, final_learning_rate=0.2)
    shares = [learning_rate_share(step, Course(100), config) for step in range(100)]
    assert shares[:10] == pytest.approx([i / 11 for i in range(1, 11)])  # the rise
    assert shares[10] == 1.0
    middle = 0.2 + 0.8 * 0.5  # half way down, both curves are half way between top and final share
    assert shares[55] == pytest.approx(middle)
    quarter = 0.5 * (1 + math.cos(math.pi / 5)) if decay == "cosine" else 0.8
    assert shares[28] == pytest.approx(0.2 + 0.8 * quarter)  # 18 of 90 steps fallen: a fifth
    assert all(a > b for a, b in zip(shares[10:], shares[11:], strict=False))
    assert learning_rate_share(100, Course(100), config) == pytest.approx(0.2)  # after the last
    assert 0.2 < shares[99] < 0.22


def test_a_constant_rate_never_falls_and_wsd_falls_at_the_end(make_config):
    constant = make_config(decay="constant", warmup=0.1, final_learning_rate=0.2)
    assert {learning_rate_share(step, Course(100), constant) for step in range(10, 100)} == {1.0}
    stable = make_config(decay="wsd", warmup=0.1, final_learning_rate=0.2)
    shares = [learning_rate_share(step, Course(100), stable) for step in range(100)]
    assert set(shares[10:82]) == {1.0} and shares[83] < 1.0  # the last fifth of the 90 steps after the rise
    assert shares[91] == pytest.approx(0.2 + 0.8 * 0.5) and 0.2 < shares[99] < 0.25
    assert all(a > b for a, b in zip(shares[82:], shares[83:], strict=False))


def test_each_time_a_run_diverged_its_rate_falls_to_a_tenth(make_config):
    config = make_config()
    for step in range(20):
        usual = learning_rate_share(step, Course(20), config)
        expected = usual / 10 ** ((step >= 5) + 2 * (step >= 12))
        assert learning_rate_share(step, Course(20, slower=(5, 12, 12)), config) == pytest.approx(expected)


def test_patience_ends_after_so_many_looks_without_a_new_best():
    assert not is_tired([3.0, 2.0, 1.0], 2) and not is_tired([3.0, 1.0, 2.0], 2)
    assert is_tired([3.0, 1.0, 2.0, 1.5], 2) and is_tired([1.0, 1.0], 1)
    assert not is_tired([1.0, 2.0, 3.0], 0) and not is_tired([], 1) and not is_tired([1.0], 1)


def test_looks_come_as_often_as_is_wanted():
    assert evaluation_interval(600) == 30 and evaluation_interval(600, 7) == 7


def test_without_a_warmup_the_first_step_uses_the_highest_rate(make_config):
    config = make_config(warmup=0.0, final_learning_rate=0.0)
    assert learning_rate_share(0, Course(10), config) == 1.0
    assert learning_rate_share(0, Course(1), config) == 1.0


@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 3, 17, 1000])
def test_no_share_is_zero_or_above_one(make_config, steps, warmup):
    config = make_config(warmup=warmup, final_learning_rate=0.0)
    shares = [learning_rate_share(step, Course(steps), config) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)


def test_the_share_of_a_step_does_not_depend_on_what_was_asked_before(make_config):
    config = make_config()
    forwards = [learning_rate_share(step, Course(50), config) for step in range(50)]
    backwards = [learning_rate_share(step, Course(50), config) for step in reversed(range(50))]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40, 600, 2000, 1_000_000])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 12, 100])
def test_milestones_are_few_sorted_and_reach_from_the_first_to_the_last(steps, count):
    found = milestones(steps, count)
    assert len(found) <= count
    assert list(found) == sorted(set(found))
    if count:
        assert found[-1] == steps
    if count > 1:
        assert found[0] == 0


def test_milestones_are_evenly_spaced_on_a_logarithmic_scale():
    found = milestones(30_000, 12)
    assert len(found) == 12 and found[1] == 100
    growths = [b / a for a, b in zip(found[1:], found[2:], strict=False)]
    assert growths == pytest.approx([300 ** (1 / 10)] * 10, rel=0.01)


@pytest.mark.parametrize("steps", [1, 19, 20, 599, 600, 1_000_000])
def test_the_validation_loss_is_measured_about_twenty_times(steps):
    looks = len(range(0, steps, evaluation_interval(steps)))
    assert min(steps, 20) <= looks <= 39
