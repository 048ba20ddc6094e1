"""GPT-2's GELU on a processor: the formula that PyTorch also has, in fewer and cheaper steps."""

import math
from typing import Any

import torch
from torch import Tensor

A = 2 * math.sqrt(2 / math.pi)
B = 0.044715 * A


class QuickGELU(torch.autograd.Function):
    """0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))) as x · σ(Ax + Bx³), which is the same number.

    For (1 + tanh z) / 2 = σ(2z), and a processor takes several times as long for a tanh as for a sigmoid σ.
    What σ was is kept for the backward pass. Computed in 32 bits whatever x has.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(…) → (…)"""
        wide = x.float()
        gate = (wide * wide).mul_(B).add_(A).mul_(wide).sigmoid_()
        ctx.save_for_backward(x, gate.to(x.dtype))
        return gate.mul(wide).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """d/dx x·σ(u) = σ(u) (1 + x u' (1 − σ(u))) with u' = A + 3Bx²."""
        x, gate = (saved.float() for saved in ctx.saved_tensors)
        slope = (x * x).mul_(3 * B).add_(A).mul_(x)  # x u'
        slope.addcmul_(slope, gate, value=-1).add_(1).mul_(gate)
        found: Tensor = slope.mul_(grad).to(grad.dtype)
        return found
