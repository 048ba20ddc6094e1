"""Optimisers: how the weights are changed once the gradients are known."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from gpt2demo.model.gpt2 import GPT2
from gpt2demo.training.config import TrainingConfig

NEWTON_SCHULZ_STEPS = 5
MUON_MOMENTUM = 0.9
# The embeddings and the vectors (biases, LayerNorms) are trained by AdamW even in a Muon run, at these
# shares of Muon's learning rate. Positions learn faster than tokens: heads that look a fixed distance back
# form only once the positions stand out against the tokens that they are added to.
TOKEN_SHARE = 0.3
POSITION_SHARE = 2.0
VECTOR_SHARE = 1 / 3


class HeadwiseMuon(Muon):
    """Muon that sees the fused query-key-value matrix of a block as the three matrices that it is.

    Muon gives all directions of one matrix updates of the same length. In the fused one the values, whose
    gradients are by far the largest early in training, would take nearly all of it, and the queries and keys
    would learn where to look many times slower than what to fetch.
    """

    def __init__(self, fused: Sequence[Tensor], others: Sequence[Tensor], **settings: Any) -> None:
        self.fused = list(fused)  # each (3C, C)
        # views on the same numbers: what changes in a part changes in the whole
        self.parts = [[torch.nn.Parameter(part) for part in whole.detach().chunk(3)] for whole in fused]
        super().__init__([*(part for parts in self.parts for part in parts), *others], **settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every matrix; the gradients of the fused ones are handed to their parts first."""
        for whole, parts in zip(self.fused, self.parts, strict=True):
            if whole.grad is not None:
                for part, gradient in zip(parts, whole.grad.chunk(3), strict=True):
                    part.grad = gradient
        return super().step(closure)  # type: ignore[no-untyped-call]


def make_optimizers(model: GPT2, config: TrainingConfig) -> tuple[Optimizer, ...]:
    """The optimisers that together train every parameter of the model exactly once.

    AdamW (Loshchilov and Hutter 2019) for everything, or Muon (Jordan et al. 2024) for the matrices inside
    the blocks: it makes each update orthogonal, so that it moves all directions equally far.
    """
    named = dict(model.named_parameters())
    matrices = {name: p for name, p in named.items() if p.dim() == 2}
    vectors = [p for p in named.values() if p.dim() < 2]
    betas = (0.9, config.beta2)
    rate = config.learning_rate
    if config.optimizer == "adamw":
        groups = [
            {"params": list(matrices.values()), "weight_decay": config.weight_decay, "lr": rate},
            {"params": vectors, "weight_decay": 0.0, "lr": rate},
        ]
        return _remember_rates(AdamW(groups, betas=betas, fused=True))
    fused = [p for name, p in matrices.items() if name.endswith("c_attn.weight")]
    others = [p for name, p in matrices.items() if name.endswith(("c_proj.weight", "c_fc.weight"))]
    muon = HeadwiseMuon(
        fused,
        others,
        lr=rate,
        weight_decay=config.weight_decay,
        momentum=MUON_MOMENTUM,
        ns_steps=NEWTON_SCHULZ_STEPS,
    )
    groups = [
        {"params": [model.wte.weight], "weight_decay": config.weight_decay, "lr": rate * TOKEN_SHARE},
        {"params": [model.wpe.weight], "weight_decay": config.weight_decay, "lr": rate * POSITION_SHARE},
        {"params": vectors, "weight_decay": 0.0, "lr": rate * VECTOR_SHARE},
    ]
    return _remember_rates(muon, AdamW(groups, betas=betas, fused=True))


def _remember_rates(*optimizers: Optimizer) -> tuple[Optimizer, ...]:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return optimizers


def set_learning_rate(optimizers: Iterable[Optimizer], share: float) -> None:
    """Sets every group's learning rate to this share of its highest one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["highest_lr"] * share


def optimizer_tensors(optimizers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """Everything the optimisers remember, as named tensors: "0.17.momentum_buffer" and so on."""
    tensors = {}
    for number, optimizer in enumerate(optimizers):
        for index, memory in optimizer.state_dict()["state"].items():
            for key, value in memory.items():
                tensors[f"{number}.{index}.{key}"] = torch.as_tensor(value).clone().contiguous()
    return tensors


def load_optimizer_tensors(optimizers: Iterable[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Gives the optimisers back what `optimizer_tensors` took."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, index, key = name.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
