"""The weights under the names and in the layout of OpenAI's checkpoint, which the rest of the field reads."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gpt2demo.errors import FileError
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel

PREFIX = "transformer."
LINEAR = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def to_gpt2_tensors(model: LanguageModel) -> dict[str, Tensor]:
    """A copy of the weights as GPT-2's checkpoint stores them.

    Its linear layers are written (in, out), the transpose of PyTorch's (out, in), so the four kinds of
    matrices are turned; every other tensor stays as it is. A GPT-2 without biases gets biases of zero, which
    do nothing, so that programs that expect them can run it.
    """
    state = model.state_dict() | _zero_biases(model)
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)  # the token table itself
    tensors = {}
    for name, value in state.items():
        turned = value.detach().t() if name.endswith(LINEAR) else value.detach()
        tensors[stored_name(name)] = turned.clone().contiguous()
    return tensors


@torch.no_grad()
def load_gpt2_tensors(model: LanguageModel, tensors: Mapping[str, Tensor]) -> None:
    """Copies a checkpoint's weights into the model, after checking every name, shape, type and number.

    Raises FileError, and leaves the model as it was, when anything is missing, left over or not a number.
    """
    own = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        own.pop("lm_head.weight", None)
    wanted = {stored_name(name): value for name, value in (own | _zero_biases(model)).items()}
    different = sorted(set(wanted) ^ set(tensors))
    if different:
        raise FileError(
            f"{len(different)} weights are missing or too many: {', '.join(different[:5])}"
            + (", …." if len(different) > 5 else "."),
            f"This model needs {len(wanted)} tensors under GPT-2's names.",
            "Choose the weights that belong to this config.json.",
        )
    turned = {name: (t.t() if name.endswith(LINEAR) and t.dim() == 2 else t) for name, t in tensors.items()}
    for name, value in wanted.items():
        found = turned[name]
        if found.shape != value.shape or not found.is_floating_point():
            raise FileError(
                f"{name} has the shape {tuple(tensors[name].shape)} and the type {tensors[name].dtype}.",
                f"It should hold {value.numel():,} floating point numbers.",
                "Choose the weights that belong to this config.json.",
            )
        if not bool(torch.isfinite(found).all()):
            raise FileError(
                f"{name} contains NaN or infinity.",
                "Weights must be ordinary numbers.",
                "Use an earlier checkpoint.",
            )
    for name, value in own.items():
        value.copy_(turned[stored_name(name)])


def stored_name(name: str) -> str:
    """What a checkpoint calls one of our tensors: only the output head has no prefix."""
    return name if name.startswith("lm_head.") else PREFIX + name


def _zero_biases(model: LanguageModel) -> dict[str, Tensor]:
    """The biases that GPT-2's format has and this model does without, by our names."""
    config: GPT2Config = model.config
    if config.bias or not config.is_plain_gpt2:
        return {}
    state = model.state_dict()
    layers = [name for name in state if name.endswith((*LINEAR, "ln_1.weight", "ln_2.weight", "ln_f.weight"))]
    return {name.replace(".weight", ".bias"): state[name].new_zeros(state[name].size(0)) for name in layers}
