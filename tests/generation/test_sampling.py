"""Sampling: each rule keeps exactly what it says, agrees with transformers, and the draw is fair."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from gpt2demo.errors import LimitError
from gpt2demo.generation.sampling import (
    SamplingConfig,
    apply_temperature,
    distribution,
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
    assert kept(distribution(logits, SamplingConfig(temperature=1, top_k=2, top_p=0.5)).logprobs) == [0]
    # At temperature 0.5 the squares count: 0.16 of 0.30 is 53 %. Without temperature first, two would stay.
    assert kept(distribution(logits, SamplingConfig(temperature=0.5, top_p=0.5)).logprobs) == [0]


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


def test_the_draw_is_fair():
    logits = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]).log()
    chosen = distribution(logits, SamplingConfig(temperature=1.5, top_k=4, top_p=0.95))
    generator = torch.Generator().manual_seed(5)
    counts = torch.zeros(5)
    for _ in range(4000):
        counts[sample(chosen.logprobs, generator)] += 1
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
