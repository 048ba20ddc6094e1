"""The quick GELU is GPT-2's GELU: in its values, in its slopes, in 32 and in 16 bits."""

import math

import pytest
import torch
import torch.nn.functional as F

from gpt2demo.model.gelu import QuickGELU
from gpt2demo.model.mlp import activate

RANGE = torch.linspace(-12, 12, 4_001)


def by_the_paper(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def test_it_is_the_formula_of_the_paper():
    exact = by_the_paper(RANGE.double()).float()
    torch.testing.assert_close(QuickGELU.apply(RANGE), exact, rtol=1e-5, atol=1e-6)
    assert torch.equal(activate(RANGE, "gelu_new"), QuickGELU.apply(RANGE))


def test_its_slope_is_that_of_the_formula():
    x = RANGE.double().requires_grad_()
    [exact] = torch.autograd.grad(by_the_paper(x).sum(), x)
    y = RANGE.clone().requires_grad_()
    [found] = torch.autograd.grad(QuickGELU.apply(y).sum(), y)
    torch.testing.assert_close(found, exact.float(), rtol=1e-4, atol=2e-6)


def test_in_half_precision_it_is_as_near_as_pytorchs_own():
    x = RANGE.bfloat16().requires_grad_()
    found = QuickGELU.apply(x)
    assert found.dtype == torch.bfloat16
    exact = by_the_paper(x.detach().double())
    theirs = (F.gelu(x.detach(), approximate="tanh") - exact).abs().max()
    assert (found.detach() - exact).abs().max() <= theirs
    [slope] = torch.autograd.grad(found.sum(), x)
    assert slope.dtype == torch.bfloat16


@pytest.mark.parametrize("value", [-1e30, -60.0, 0.0, 60.0, 1e30])
def test_far_away_it_is_nothing_or_the_number_itself(value):
    x = torch.tensor([value], requires_grad=True)
    y = QuickGELU.apply(x)
    assert y.item() == pytest.approx(max(0.0, value))
