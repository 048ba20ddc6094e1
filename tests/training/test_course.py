"""The course of a run: straight with a budget in steps, and corrected until time and steps end together."""

import json
import math

import pytest

from gpt2demo.training.course import CORRECTIONS, Course, Leg
from gpt2demo.training.schedule import learning_rate_share


def gone(course, pace, *, step=0, elapsed=0.0):
    """Goes the whole way at a pace that may change with the time. → seconds it took"""
    while step < course.last:
        elapsed += pace(elapsed)
        course.correct(step, elapsed)
        step += 1
    return elapsed


def test_with_a_budget_in_steps_every_step_is_the_same_share():
    course = Course(40)
    assert [course.done(step) for step in (0, 10, 20, 40)] == [0, 0.25, 0.5, 1]
    assert not course.correct(10, 1e9) and course.legs == [Leg(0, 0.0, 40)]


@pytest.mark.parametrize(
    "pace",
    [
        pytest.param(lambda _: 0.01, id="twice as slow as it seemed"),
        pytest.param(lambda _: 0.002, id="faster than it seemed"),
        pytest.param(lambda now: 0.005 if now < 3 else 0.015, id="slower from the middle on"),
        pytest.param(lambda now: 0.004 + 0.003 * math.sin(now * 7), id="now so, now so"),
        pytest.param(lambda now: 2.0 if 1 < now < 3 else 0.005, id="it stood still for a moment"),
    ],
)
def test_a_budget_in_time_is_kept_whatever_the_machine_does(pace):
    course = Course(2_000, seconds=10)
    assert gone(course, pace) == pytest.approx(10, rel=0.02)
    assert len(course.legs) <= CORRECTIONS + 1
    assert course.done(course.last) == 1.0


def test_where_the_run_is_never_jumps_and_never_goes_back():
    course = Course(2_000, seconds=10)
    gone(course, lambda now: 0.005 if now < 3 else 0.015)
    shares = [course.done(step) for step in range(course.last + 1)]
    steps = [b - a for a, b in zip(shares, shares[1:], strict=False)]
    assert min(steps) > 0
    assert max(steps) < 4 / 1_000


def test_who_knows_the_legs_repeats_the_run(make_config):
    course, config = Course(300, seconds=3), make_config()
    gone(course, lambda now: 0.008 + 0.002 * math.sin(now * 11))
    legs = [Leg(*leg) for leg in json.loads(json.dumps(course.to_json()))]
    again = Course(7, legs=legs)
    assert (again.first_plan, again.last) == (300, course.last)
    rates = [[learning_rate_share(s, c, config) for s in range(course.last)] for c in (course, again)]
    assert rates[0] == rates[1]
    early = Course(300, seconds=3, legs=legs[:3])  # as it was known then
    assert [early.done(s) for s in range(legs[3].step)] == [course.done(s) for s in range(legs[3].step)]


def test_a_resumed_run_ends_in_time_as_well():
    course = Course(1_000, seconds=10)
    for step in range(400):
        course.correct(step, 0.01 * step)
    again = Course(5, seconds=10, legs=course.legs)
    assert gone(again, lambda _: 0.02, step=400, elapsed=4.0) == pytest.approx(10, rel=0.02)


def test_what_was_gone_already_is_not_corrected_again():
    course = Course(1_000, seconds=10)
    for step in range(400):
        course.correct(step, 0.01 * step)
    legs = list(course.legs)
    again = Course(5, seconds=10, legs=legs, gone_to=500)
    assert not any(again.correct(step, 0.02 * step) for step in range(300, 500)) and again.legs == legs
    assert not again.correct(500, 9.0)
    assert again.correct(501, 9.5)


def test_when_the_time_is_over_one_step_is_left():
    course = Course(1_000, seconds=1.0)
    assert not course.correct(2, 0.5)
    assert course.correct(3, 50.0)
    assert course.last == 5


def test_a_slow_beginning_does_not_shorten_the_run():
    course = Course(2_000, seconds=10)
    course.correct(0, 1.2)  # a trial, and the first step
    assert gone(course, lambda _: 0.005, step=1, elapsed=1.2) == pytest.approx(10, rel=0.02)
    assert course.done(100) < 0.1
    assert all(leg.last > 1_000 for leg in course.legs)


def test_the_smallest_course():
    assert Course(1).done(0) == 0 and Course(1).done(1) == 1
