"""A copy of a finished model to write with: the same arithmetic, its matrices laid out for the processor.

For each token a model reads all its weights from memory once. Rows that lie in the order in which a processor
reads them arrive twice as fast, and numbers of 16 or 8 bits arrive faster again.
"""

import copy
import warnings

import torch
from torch import Tensor, nn

from gpt2demo.errors import check_choice
from gpt2demo.model.flat import FlatGPT2
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import Router
from gpt2demo.model.quantized import Int8Table, quantize

WORTH_PACKING = 250_000  # numbers in a matrix: smaller ones are near the processor anyway
PRECISIONS = ("fp32", "bf16", "int8")  # in which a finished model can write


class PackedLinear(nn.Module):
    """A linear layer whose matrix oneDNN, PyTorch's library for processors, has put in its own order."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.packed_bytes = sum(t.nbytes for t in linear.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return y


class PackedInt8Linear(nn.Module):
    """A linear layer in whole numbers, by the kernels that PyTorch has for them (fbgemm on x86).

    The weights are those of `Int8Linear`: a step width for each row. The inputs share one step width, all
    texts of a batch together, so that what a text gets depends a little on its company.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        levels, widths = quantize(linear.weight.detach().float())
        with warnings.catch_warnings():  # PyTorch announces that another package will have this one day
            warnings.simplefilter("ignore")
            whole = torch._make_per_channel_quantized_tensor(
                levels.to(torch.int8), widths[:, 0].double(), torch.zeros(len(levels), dtype=torch.int64), 0
            )
            bias = None if linear.bias is None else linear.bias.detach().float()
            self.packed = torch.ops.quantized.linear_prepack(whole, bias)
        self.packed_bytes = levels.numel() + widths.nbytes + (0 if bias is None else bias.nbytes)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        y: Tensor = torch.ops.quantized.linear_dynamic(x, self.packed)
        return y


def packed(model: LanguageModel, precision: str = "fp32") -> LanguageModel:
    """A copy of the model to write with, in 32 bits, half of them ("bf16") or a quarter ("int8").

    It has the interface and the cache of the model it was made from. It is not for looking into, and cannot
    be trained. Where a processor has no such kernels (or on a GPU) the layers stay as they are. Raises
    ConfigError for another precision.
    """
    check_choice("precision", precision, PRECISIONS)
    made = copy.deepcopy(model).eval().requires_grad_(False)
    if precision == "bf16":
        made = made.bfloat16()
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.Dropout):  # which does nothing here, and takes its time for it
            _put(made, name, nn.Identity())
    if made.device.type != "cpu":
        return made
    able = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    gates = {module.gate for module in made.modules() if isinstance(module, Router)}
    linears = [(n, m) for n, m in made.named_modules() if isinstance(m, nn.Linear) and m not in gates]
    for name, linear in linears:
        if precision == "int8":
            _put(made, name, PackedInt8Linear(linear))
        elif linear.weight.numel() >= WORTH_PACKING and able:
            _put(made, name, PackedLinear(linear))
    if precision == "int8":
        made.wte = Int8Table(made.wte.weight)  # type: ignore[assignment]
    if isinstance(made, GPT2) and FlatGPT2.suits(made):
        return FlatGPT2(made)
    return made


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    above, _, own = name.rpartition(".")
    setattr(model.get_submodule(above), own, module)


def weight_bytes(model: nn.Module) -> int:
    """How many bytes the weights take, a table that is used twice counted once."""
    held = {t.data_ptr(): t.nbytes for t in (*model.parameters(), *model.buffers())}
    return sum(held.values()) + sum(getattr(module, "packed_bytes", 0) for module in model.modules())
