"""The same model in fewer bytes: weights as whole numbers from −127 to 127, and training that expects it.

A number becomes the nearest of a few equally spaced levels: round(x / s), with one step width s for each row
of a matrix, chosen so that the row's largest number is the last level (symmetric and per channel, Jacob et
al. 2018, section 2.1). Four bytes become one, and processors multiply whole numbers faster than fractions.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import Router

SMALLEST = 1e-12  # a row of zeros has some step width too


def quantize(x: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
    """Says each row in whole numbers: x ≈ levels · widths.  (…, C) → levels (…, C), widths (…, 1)

    bits: 8 leaves 255 levels, −127 to 127; n leaves 2ⁿ − 1. The levels are whole numbers, kept as floats.
    """
    last: int = 2 ** (bits - 1) - 1
    widths = x.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST) / last  # (…, 1)
    return (x / widths).round(), widths


class StraightThrough(torch.autograd.Function):
    """Rounds on the way there, and looks away on the way back.

    Rounding has the slope 0 nearly everywhere, by which nothing could be learned, so the gradient passes as
    if nothing had been rounded (Bengio et al. 2013, section 3.1, "straight-through estimator").
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int) -> Tensor:
        """(…, C) → (…, C), each number on one of its row's levels"""
        levels, widths = quantize(x.float(), bits)
        return (levels * widths).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """(…, C) → (…, C), as it is"""
        return gradients[0], None


def rounded(x: Tensor, bits: int = 8) -> Tensor:
    """What is left of x when it is said in whole numbers, as a float; gradients pass. (…, C) → (…, C)"""
    result: Tensor = StraightThrough.apply(x, bits)  # type: ignore[no-untyped-call]
    return result


def _parts(model: nn.Module) -> dict[str, nn.Linear | nn.Embedding]:
    """Whose weights become whole numbers: every linear layer and the table of the tokens.

    The router of a mixture of experts stays as it is: it is tiny, and a near tie would go the other way.
    """
    gates = {module.gate for module in model.modules() if isinstance(module, Router)}
    return {
        name: module
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) and module not in gates)
        or (isinstance(module, nn.Embedding) and name == "wte")
    }


@contextmanager
def fake_quantization(model: LanguageModel, *, bits: int = 8) -> Iterator[None]:
    """Inside the `with`, the model computes what it would if its weights were whole numbers of so many bits.

    With 8 bits that is what `quantized` computes, but slowly, in floats, and it can be trained: gradients go
    straight through to the model's own weights, which nothing is done to (Jacob et al. 2018, section 3). The
    inputs of linear layers are rounded to 8 bits whatever `bits` is. A backward pass belongs inside as well,
    for gradient checkpointing, which runs the blocks once more. Weights must not change in the meantime.
    """
    swapped: dict[nn.Module, dict[str, Any]] = {}
    handles = []
    stand_ins: dict[int, Tensor] = {}  # by weight, as a tied table is one for both who use it
    try:
        for module in _parts(model).values():
            own = module.weight
            stand_in = stand_ins.setdefault(id(own), rounded(own, bits))
            swapped[module] = dict(module._parameters)
            del module._parameters["weight"]
            module.weight = stand_in  # no parameter, but a tensor that depends on it
            if isinstance(module, nn.Linear):
                handles.append(module.register_forward_pre_hook(lambda _, inputs: rounded(inputs[0])))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for part, parameters in swapped.items():
            part.__dict__.pop("weight", None)
            part._parameters.clear()
            part._parameters.update(parameters)  # in their old order, by which sums are rounded


class Int8Table(nn.Module):
    """The token table in whole numbers: a row for each token, and how wide its steps are."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        levels, widths = quantize(weight.detach().float())
        self.register_buffer("levels", levels.to(torch.int8))
        self.register_buffer("widths", widths[:, 0])
        self.levels: Tensor  # (rows, columns) int8
        self.widths: Tensor  # (rows,)

    def forward(self, ids: Tensor) -> Tensor:
        """(…) int64 → (…, C): the rows of these tokens"""
        return self.levels[ids] * self.widths[ids, None]


class Int8Linear(nn.Module):
    """A linear layer whose weights are whole numbers, and whose inputs become so while it runs.

    y = x Wᵀ + b with x ≈ sₓ·X and W ≈ s_w·Q is y ≈ (X Qᵀ) · sₓ · s_w + b, where X Qᵀ is a product of whole
    numbers (Jacob et al. 2018, equation 4, with zero points of 0). Each token has a step width of its own.
    """

    def __init__(self, table: Int8Table, bias: Tensor | None) -> None:
        super().__init__()
        self.table = table  # shared with the token embedding, where the two are tied
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.bias: Tensor | None  # (out,)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        levels, widths = quantize(x.flatten(0, -2))  # (N, in), (N, 1)
        # a transposed view, so that the rows of the table stay where they are: faster than a copy in order
        sums = torch._int_mm(levels.to(torch.int8), self.table.levels.t())  # (N, out) int32
        y = sums * widths * self.table.widths
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], y.size(-1))


def quantized(model: LanguageModel) -> LanguageModel:
    """A copy of a finished model with linear layers and token table in int8, to write with on a processor.

    It has the interface and the cache of the model it was made from, and cannot be trained. It is not for
    looking into: what it computes is not quite what the model computes.
    """
    made = copy.deepcopy(model).eval().requires_grad_(False)
    tables: dict[int, Int8Table] = {}
    for name, part in _parts(made).items():
        table = tables.setdefault(id(part.weight), Int8Table(part.weight))
        above, _, own = name.rpartition(".")
        whole = Int8Linear(table, part.bias) if isinstance(part, nn.Linear) else table
        setattr(made.get_submodule(above), own, whole)
    return made
