"""Sampling: each rule keeps exactly what it says, agrees with transformers, and the draw is fair."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from gpt2demo.errors import LimitError
from gpt2demo.generation.sampling import (
    SamplingConfig,
    apply_temperature,
    distribution,
    draw,
    luck,
    min_p_filter,
    penalise_repetition,
    sample,
    top_k_filter,
    top_p_filter,
)

CUT = float("-inf")


def some_logits(rows: int = 50, vocabulary: int = 64) -> torch.Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(1))


def kept(logits: torch.Tensor) -> list[int]:
    return (logits > CUT).nonzero().flatten().tolist()


def test_temperature_divides():
    assert torch.equal(apply_temperature(torch.tensor([1.0, 2.0]), 0.5), torch.tensor([2.0, 4.0]).double())


def test_temperature_zero_leaves_only_the_argmax_and_of_equals_the_lowest_id():
    logits = torch.tensor([[1.0, 3.0, 3.0, -1.0], [9.0, 9.0, 9.0, 9.0]])
    assert distribution(logits, SamplingConfig(temperature=0)).probabilities.tolist() == [
        [0, 1, 0, 0],
        [1, 0, 0, 0],
    ]


@pytest.mark.parametrize("temperature", [1e-9, 1e-30, 5e-324])
def test_a_temperature_near_zero_gives_no_nan(temperature):
    logits = torch.tensor([1000.0, 999.0, -1000.0, 0.0])
    assert distribution(logits, SamplingConfig(temperature=temperature)).probabilities.tolist() == [
        1,
        0,
        0,
        0,
    ]


def test_exactly_k_survive_ties_and_the_lowest_ids_win():
    assert kept(top_k_filter(torch.tensor([1.0, 5.0, 2.0, 2.0, 2.0, 2.0]), 3)) == [1, 2, 3]
    for k in range(1, 65):
        assert kept(top_k_filter(torch.zeros(64), k)) == list(range(k))


def test_top_k_keeps_all_when_k_is_beyond_the_vocabulary():
    logits = some_logits()
    assert torch.equal(top_k_filter(logits, 64), logits) and torch.equal(top_k_filter(logits, 60_000), logits)


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log()
    for p, expected in [
        (0.4, [1]),
        (0.5, [1]),
        (0.51, [1, 2]),
        (0.75, [1, 2]),
        (0.8, [0, 1, 2]),
        (1, [0, 1, 2, 3]),
    ]:
        assert kept(top_p_filter(logits, p)) == expected, p


def test_top_p_stops_when_p_is_reached_exactly_and_of_equals_the_lowest_ids_win():
    assert kept(top_p_filter(torch.zeros(4), 0.5)) == [0, 1]
    assert kept(top_p_filter(torch.zeros(4096), 0.25)) == list(range(1024))


def test_top_p_keeps_at_least_one_token():
    assert kept(top_p_filter(torch.zeros(8), 1e-12)) == [0]


@given(st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=30), st.floats(1e-6, 1))
@settings(max_examples=100, deadline=None)
def test_top_p_reaches_p_and_would_not_without_its_least_likely_token(values, p):
    logits = torch.tensor(values)
    probabilities = logits.double().softmax(-1)
    stays = top_p_filter(logits, p) > CUT
    total = probabilities[stays].sum().item()
    assert total >= p - 1e-9
    assert stays.sum() == 1 or total - probabilities[stays].min().item() < p + 1e-9
    assert stays.all() or probabilities[stays].min() >= probabilities[~stays].max()


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30),
    st.floats(0, 5),
    st.one_of(st.none(), st.integers(1, 40)),
    st.one_of(st.none(), st.floats(1e-9, 1)),
)
@settings(max_examples=100, deadline=None)
def test_every_distribution_sums_to_one(values, temperature, top_k, top_p):
    chosen = distribution(
        torch.tensor(values), SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    )
    assert chosen.probabilities.sum().item() == pytest.approx(1, abs=1e-9)
    assert not chosen.probabilities[~chosen.kept].any()
    if top_k is not None:
        assert chosen.kept.sum() <= top_k


def test_the_order_is_temperature_then_top_k_then_top_p():
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    # Of the best two, 0.4 is 57 %: top-p 0.5 keeps one. Without top-k first, 0.4 alone would not reach 0.5.
    assert kept(
        distribution(logits, SamplingConfig(temperature=1, top_k=2, top_p=0.5)).probabilities.log()
    ) == [0]
    # At temperature 0.5 the squares count: 0.16 of 0.30 is 53 %. Without temperature first, two would stay.
    assert kept(distribution(logits, SamplingConfig(temperature=0.5, top_p=0.5)).probabilities.log()) == [0]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("top_k", [None, 1, 5, 64, 1000])
@pytest.mark.parametrize("top_p", [None, 0.1, 0.7, 0.99, 1.0])
def test_the_rules_agree_with_transformers(temperature, top_k, top_p):
    logits = some_logits()
    expected = TemperatureLogitsWarper(temperature)(None, logits.double())
    expected = expected if top_k is None else TopKLogitsWarper(top_k)(None, expected)
    expected = expected if top_p is None else TopPLogitsWarper(top_p)(None, expected)
    chosen = distribution(logits, SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p))
    assert torch.equal(chosen.kept, expected > CUT)
    assert torch.allclose(chosen.probabilities, expected.softmax(-1), atol=1e-12)


@pytest.mark.parametrize("min_p", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("penalty", [1.0, 1.3, 10.0])
@pytest.mark.parametrize("top_p", [None, 0.8])
def test_min_p_and_the_repetition_penalty_agree_with_transformers(min_p, penalty, top_p):
    logits = some_logits()
    ids = torch.randint(64, (50, 9), generator=torch.Generator().manual_seed(3))
    seen = torch.zeros(50, 64, dtype=torch.bool).scatter(1, ids, True)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits) if penalty > 1 else logits
    expected = TemperatureLogitsWarper(0.7)(None, expected.double())
    expected = expected if top_p is None else TopPLogitsWarper(top_p)(None, expected)
    expected = MinPLogitsWarper(min_p)(None, expected) if min_p else expected
    config = SamplingConfig(temperature=0.7, top_p=top_p, min_p=min_p, repetition_penalty=penalty)
    chosen = distribution(logits, config, seen)
    assert torch.equal(chosen.kept, expected > CUT)
    assert torch.allclose(chosen.probabilities, expected.softmax(-1), atol=1e-7)


def test_min_p_measures_by_the_likeliest_and_keeps_what_is_exactly_at_the_share():
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).double().log()
    assert kept(min_p_filter(logits, 0.5)) == [0, 1]
    assert kept(min_p_filter(logits, 0.51)) == [0]
    assert kept(min_p_filter(logits, 0.0)) == [0, 1, 2, 3]
    assert kept(min_p_filter(torch.zeros(4), 1.0)) == [0, 1, 2, 3]


def test_the_penalty_lowers_what_was_seen_whatever_its_sign_and_nothing_else():
    logits, seen = torch.tensor([2.0, -2.0, 2.0, -2.0]), torch.tensor([True, True, False, False])
    assert penalise_repetition(logits, seen, 2.0).tolist() == [1.0, -4.0, 2.0, -2.0]


def test_the_penalty_comes_first_and_min_p_last():
    logits = torch.tensor([4.0, 3.0, 1.0, 0.0])
    seen = torch.tensor([True, False, False, False])
    # With the penalty first, token 1 is the likeliest (3 against 2), and the only one of the best 1.
    config = SamplingConfig(temperature=1, top_k=1, repetition_penalty=2)
    assert kept(distribution(logits, config, seen).probabilities.log()) == [1]
    # Of 0.4 and 0.3, top-p leaves 0.4 alone if min-p comes after it, or else 0.9 of the rest would need both.
    found = distribution(logits, SamplingConfig(temperature=1, top_p=0.5, min_p=0.01))
    assert [stage.rule for stage in found.stages] == ["top-p", "min-p"]
    assert kept(found.probabilities.log()) == [0]


def test_each_cut_is_said_by_the_first_rule_that_made_it():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    found = distribution(logits, SamplingConfig(temperature=1, top_k=3, top_p=0.7, min_p=0.9))
    assert [found.cut_by(i) for i in range(4)] == ["", "min-p", "top-p", "top-k"]
    greedy = distribution(logits, SamplingConfig(temperature=0, top_k=2))
    assert [greedy.cut_by(i) for i in range(4)] == ["", "temperature 0", "temperature 0", "temperature 0"]


FILTERS = [
    {},
    {"temperature": 0.5},
    {"top_k": 7},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"repetition_penalty": 1.5},
    {"temperature": 1.4, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2},
]


@pytest.mark.parametrize("rules", FILTERS, ids=lambda rules: "-".join(rules) or "plain")
def test_200_000_draws_have_the_exact_chances(rules):
    logits = some_logits(1)[0]
    seen = torch.arange(64) % 3 == 0
    found = distribution(logits, SamplingConfig(**{"temperature": 1.0} | rules), seen)
    generator = torch.Generator().manual_seed(11)
    lucks = torch.rand(200_000, dtype=torch.float64, generator=generator).tolist()
    drawn = draw(found.probabilities.expand(1, -1), lucks[:1])
    assert drawn.shape == (1,)
    rows = found.probabilities.expand(1_000, -1)
    counts = torch.zeros(64)
    for start in range(0, 200_000, 1_000):
        counts += torch.bincount(draw(rows, lucks[start : start + 1_000]), minlength=64)
    assert counts[~found.kept].sum() == 0
    expected = 200_000 * found.probabilities[found.kept].numpy()
    often = expected >= 5  # where the statistic is what it should be
    observed = counts[found.kept].numpy()
    if often.sum() > 1:
        scale = observed[often].sum() / expected[often].sum()
        assert chisquare(observed[often], expected[often] * scale).pvalue > 0.001
    assert abs(observed[~often].sum() - expected[~often].sum()) < 30


def test_luck_at_either_end_of_the_line_draws_a_token_that_is_there():
    halves = torch.tensor([[0, 0.5, 0, 0.5, 0]], dtype=torch.float64)
    assert draw(halves, [0.0]).tolist() == [1]
    assert draw(halves, [math.nextafter(1, 0)]).tolist() == [3]
    third = torch.full((1, 3), 0.3333, dtype=torch.float64)  # which do not add up to exactly 1
    assert draw(third, [math.nextafter(1, 0)]).tolist() == [2]


def test_the_same_generator_gives_the_same_luck():
    one, other = (torch.Generator().manual_seed(4) for _ in range(2))
    assert [luck(one) for _ in range(5)] == [luck(other) for _ in range(5)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"min_p": float("nan")},
        {"repetition_penalty": 0.5},
        {"repetition_penalty": 11},
        {"repetition_penalty": None},
        {"stop": ("a",) * 5},
        {"stop": ("a" * 10_000,)},
        {"stop": ("",)},
        {"stop": "abc"},
        {"stop": (1,)},
        {"stop": None},
    ],
    ids=str,
)
def test_new_settings_out_of_range_are_refused_with_a_sentence(wrong):
    with pytest.raises(LimitError):
        SamplingConfig(**wrong)


def test_the_draw_is_fair():
    logits = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]).log()
    chosen = distribution(logits, SamplingConfig(temperature=1.5, top_k=4, top_p=0.95))
    generator = torch.Generator().manual_seed(5)
    counts = torch.zeros(5)
    for _ in range(4000):
        counts[sample(chosen.probabilities.log(), generator)] += 1
    assert counts[~chosen.kept].sum() == 0
    expected = 4000 * chosen.probabilities[chosen.kept].numpy()
    assert chisquare(counts[chosen.kept].numpy(), expected).pvalue > 0.01


def test_the_rules_leave_their_argument_alone():
    logits = some_logits()
    before = logits.clone()
    distribution(logits, SamplingConfig(temperature=0.5, top_k=3, top_p=0.5))
    distribution(logits, SamplingConfig(temperature=0))
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": 5.1},
        {"temperature": math.nan},
        {"temperature": None},
        {"top_k": 0},
        {"top_k": 60_001},
        {"top_k": 2.5},
        {"top_p": 0},
        {"top_p": 0.0},
        {"top_p": -0.5},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"top_p": True},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": 0.5},
        {"max_new_tokens": 0},
        {"max_new_tokens": 2001},
        {"max_new_tokens": "ten"},
    ],
)
def test_a_setting_out_of_range_is_refused_with_what_works(wrong):
    with pytest.raises(LimitError) as error:
        SamplingConfig(**wrong)
    assert error.value.got and error.value.needed and error.value.todo


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "seed", "max_new_tokens"])
@pytest.mark.parametrize("wrong", [-1, -(10**400), 10**400, math.nan, math.inf, "0.5", None, [1], True])
def test_the_value_that_a_refusal_recommends_works(name, wrong):
    try:
        SamplingConfig(**{name: wrong})
    except LimitError as error:
        recommended = re.findall(r"[\d.,e-]+", error.todo)[-1].rstrip(".").replace(",", "")
        read = float if name in ("temperature", "top_p") else int
        SamplingConfig(**{name: read(recommended)})
    else:
        assert wrong is None and name in ("top_k", "top_p"), "only None switches a rule off"


def test_the_ends_of_every_range_are_allowed():
    SamplingConfig(temperature=0, top_k=1, top_p=1, seed=2**63 - 1, max_new_tokens=2000)
    SamplingConfig(temperature=5, top_k=60_000, top_p=1e-9, seed=0, max_new_tokens=1)
