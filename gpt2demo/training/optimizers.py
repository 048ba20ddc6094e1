"""Optimisers: how the weights are changed once the gradients are known."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Muon, Optimizer

from gpt2demo.errors import FileError
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.training.config import TrainingConfig

NEWTON_SCHULZ_STEPS = 5
MUON_MOMENTUM = 0.9
# The embeddings and the vectors (biases, LayerNorms) are trained by AdamW even in a Muon run, at these
# shares of Muon's learning rate. Positions learn faster than tokens: heads that look a fixed distance back
# form only once the positions stand out against the tokens that they are added to.
TOKEN_SHARE = 0.3
POSITION_SHARE = 2.0
VECTOR_SHARE = 1 / 3
EPSILON = 1e-8  # of Adam and AdamW, as in their papers
TABLES = ("wte.weight", "wpe.weight", "lm_head.weight")
ROUTER = "router.gate.weight"


class HeadwiseMuon(Muon):
    """Muon that sees a fused matrix, such as a block's query-key-value matrix, as the several that it is.

    Muon gives all directions of one matrix updates of the same length. In the fused one the values, whose
    gradients are by far the largest early in training, would take nearly all of it, and the queries and keys
    would learn where to look many times slower than what to fetch.
    """

    def __init__(self, fused: Mapping[Tensor, int], others: Sequence[Tensor], **settings: Any) -> None:
        """fused: matrices (n·rows, columns), each with the number n of matrices that it is."""
        self.fused = list(fused)
        # views on the same numbers: what changes in a part changes in the whole
        self.parts = [
            [torch.nn.Parameter(part) for part in whole.detach().chunk(count)]
            for whole, count in fused.items()
        ]
        super().__init__([*(part for parts in self.parts for part in parts), *others], **settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every matrix; the gradients of the fused ones are handed to their parts first."""
        self.hand_over()
        return super().step(closure)  # type: ignore[no-untyped-call]

    def hand_over(self) -> None:
        """Gives the parts of fused matrices their parts of the gradient: views on the same numbers."""
        for whole, parts in zip(self.fused, self.parts, strict=True):
            if whole.grad is not None:
                for part, gradient in zip(parts, whole.grad.chunk(len(parts)), strict=True):
                    part.grad = gradient

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, those of the fused matrices as well."""
        super().zero_grad(set_to_none)
        for whole in self.fused:
            whole.grad = None


def make_optimizers(
    model: LanguageModel, config: TrainingConfig, muon: Callable[..., Optimizer] = HeadwiseMuon
) -> tuple[Optimizer, ...]:
    """The optimisers that together train every parameter of the model exactly once.

    AdamW (Loshchilov and Hutter 2019) or Adam (Kingma and Ba 2015) for everything, or Muon (Jordan et al.
    2024) for the matrices inside the blocks: it makes each update orthogonal, so that it moves all directions
    equally far. A bigram model has no such matrix, and is trained by AdamW alone. muon: makes Muon, called as
    HeadwiseMuon is.
    """
    named = dict(model.named_parameters())
    inside = {n: p for n, p in named.items() if p.dim() == 2 and n not in TABLES and not n.endswith(ROUTER)}
    if config.optimizer == "muon" and inside:
        return _remember_rates(
            _muon(inside, config, muon), _adamw(named.keys() - inside.keys(), named, config)
        )
    return _remember_rates(_adamw(named, named, config))


def _adamw(names: Iterable[str], named: Mapping[str, Tensor], config: TrainingConfig) -> Optimizer:
    """AdamW (or Adam) for some of the parameters, in the order of the model, each kind at its own rate."""
    muon = config.optimizer == "muon"
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name in (name for name in named if name in set(names)):
        vector = named[name].dim() < 2
        share = VECTOR_SHARE if vector else POSITION_SHARE if name == "wpe.weight" else TOKEN_SHARE
        rate = config.learning_rate * (share if muon else 1.0)
        decay = 0.0 if vector else config.weight_decay
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(named[name])
    kind = Adam if config.optimizer == "adam" else AdamW
    return kind(groups.values(), betas=(0.9, config.beta2), eps=EPSILON, fused=True)


def _muon(inside: Mapping[str, Tensor], config: TrainingConfig, muon: Callable[..., Optimizer]) -> Optimizer:
    """Muon for the matrices inside the blocks; the four gates of an LSTM are fused as well."""
    parts = {name: 3 if name.endswith("c_attn.weight") else 4 if "rnn." in name else 1 for name in inside}
    return muon(
        {inside[name]: count for name, count in parts.items() if count > 1},
        [inside[name] for name, count in parts.items() if count == 1],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=MUON_MOMENTUM,
        ns_steps=NEWTON_SCHULZ_STEPS,
    )


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


def check_optimizer_shapes(optimizers: Iterable[Optimizer], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses tensors from elsewhere that these optimisers would choke on. Raises FileError.

    shapes: of the tensors, by the names of `optimizer_tensors`. What a parameter has is there as a whole, or
    not at all: one that never had a gradient has no memory yet.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for number, optimizer in enumerate(optimizers):
        keys = ("momentum_buffer",) if isinstance(optimizer, Muon) else ("step", "exp_avg", "exp_avg_sq")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, parameter in enumerate(parameters):
            shape = tuple(parameter.shape)
            whole = {f"{number}.{index}.{key}": () if key == "step" else shape for key in keys}
            wanted |= whole if whole.keys() & shapes.keys() else {}
    different = sorted(wanted.items() ^ dict(shapes).items())
    if different:
        raise FileError(
            f"The optimiser's memory does not fit the model (first at {different[0][0][:40]}).",
            f"It must hold {len(wanted)} tensors of the shapes of the parameters.",
            "Use another checkpoint.",
        )


def load_optimizer_tensors(optimizers: Iterable[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Gives the optimisers back what `optimizer_tensors` took."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, index, key = name.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
