"""The weights under the names and in the layout of OpenAI's checkpoint, which the rest of the field reads."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gpt2demo.errors import FileError
from gpt2demo.model.gpt2 import GPT2

PREFIX = "transformer."
LINEAR = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def _parameters(model: GPT2) -> dict[str, Tensor]:
    """The model's parameters without the output head, which is the token table itself."""
    return {name: p for name, p in model.state_dict().items() if not name.startswith("lm_head.")}


def to_gpt2_tensors(model: GPT2) -> dict[str, Tensor]:
    """A copy of the weights as GPT-2's checkpoint stores them.

    Its linear layers are written (in, out), the transpose of PyTorch's (out, in), so the four kinds of
    matrices are turned; every other tensor stays as it is.
    """
    tensors = {}
    for name, value in _parameters(model).items():
        turned = value.detach().t() if name.endswith(LINEAR) else value.detach()
        tensors[PREFIX + name] = turned.clone().contiguous()
    return tensors


@torch.no_grad()
def load_gpt2_tensors(model: GPT2, tensors: Mapping[str, Tensor]) -> None:
    """Copies a checkpoint's weights into the model, after checking every name, shape, type and number.

    Raises FileError, and leaves the model as it was, when anything is missing, left over or not a number.
    """
    wanted = {PREFIX + name: parameter for name, parameter in _parameters(model).items()}
    different = sorted(set(wanted) ^ set(tensors))
    if different:
        raise FileError(
            f"{len(different)} weights are missing or too many: {', '.join(different[:5])}"
            + (", …." if len(different) > 5 else "."),
            f"This model needs {len(wanted)} tensors under GPT-2's names.",
            "Choose the weights that belong to this config.json.",
        )
    turned = {name: (t.t() if name.endswith(LINEAR) and t.dim() == 2 else t) for name, t in tensors.items()}
    for name, parameter in wanted.items():
        found = turned[name]
        if found.shape != parameter.shape or not found.is_floating_point():
            raise FileError(
                f"{name} has the shape {tuple(tensors[name].shape)} and the type {tensors[name].dtype}.",
                f"It should hold {parameter.numel():,} floating point numbers.",
                "Choose the weights that belong to this config.json.",
            )
        if not bool(torch.isfinite(found).all()):
            raise FileError(
                f"{name} contains NaN or infinity.",
                "Weights must be ordinary numbers.",
                "Use an earlier checkpoint.",
            )
    for name, parameter in wanted.items():
        parameter.copy_(turned[name])
