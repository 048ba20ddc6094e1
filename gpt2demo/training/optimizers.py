"""Optimisers: how the weights are changed once the gradients are known."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from gpt2demo.errors import FileError
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.memory import BUNDLE
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.hands import Hands

MUON_MOMENTUM = 0.9
# Three polynomials a·x + b·x³ + c·x⁵, of which each is the best after the ones before it for singular values
# from 0.0001 to 1; the last two taken at x / 1.01, so that rounding does not carry them beyond 2, where they
# explode. Those that are the best from 0.001 on, or higher, come nearer to 1, and models learn less by them.
POLAR_EXPRESS = (
    (8.5099, -25.2643, 18.7536),
    (4.2075, -3.0622, 0.5575),
    (4.1833, -3.0457, 0.5557),
)
SAFELY = 1.02  # the same for the first
# The embeddings and the vectors (biases, LayerNorms) are trained by AdamW even in a Muon run, at these
# shares of Muon's learning rate. Positions learn faster than tokens: heads that look a fixed distance back
# form only once the positions stand out against the tokens that they are added to.
TOKEN_SHARE = 0.3
POSITION_SHARE = 0.6
VECTOR_SHARE = 1 / 3
EPSILON = 1e-8  # of Adam and AdamW, as in their papers
TABLES = ("wte.weight", "wpe.weight", "lm_head.weight")
ROUTER = "router.gate.weight"


class Muon(Optimizer):
    """Momentum, made orthogonal: it moves all directions of a matrix equally far (Jordan et al. 2024).

    Plain gradients are long in a few directions and short in most; here the rare ones learn as fast. A fused
    matrix, such as a block's queries, keys and values, is treated as the several that it is: else the values,
    whose gradients are by far the largest early in training, would take nearly all of the update, and the
    queries and keys would learn where to look many times slower than what to fetch.
    """

    def __init__(
        self, matrices: Mapping[Tensor, int], *, lr: float, momentum: float, weight_decay: float, hands: Hands
    ) -> None:
        """matrices: (n·rows, columns), each with the number n of matrices that it is, mostly 1."""
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.counts = dict(matrices)
        self.hands = hands

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            for matrices in self._bundles([p for p in group["params"] if p.grad is not None]):
                self._update(matrices, group["lr"], group["momentum"], group["weight_decay"])

    def _bundles(self, matrices: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """Matrices of which the parts have the same two sizes: one product of stacks serves them all."""
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for matrix in matrices:
            rows, columns = matrix.size(0) // self.counts[matrix], matrix.size(1)
            alike.setdefault((min(rows, columns), max(rows, columns)), []).append(matrix)
        for same in alike.values():
            most = max(1, BUNDLE // max(matrix.numel() for matrix in same))
            yield from (same[start : start + most] for start in range(0, len(same), most))

    def _update(self, matrices: list[Tensor], rate: float, momentum: float, decay: float) -> None:
        moments = [self._moment(p) for p in matrices]
        gradients = [p.grad for p in matrices if p.grad is not None]
        torch._foreach_lerp_(moments, gradients, 1 - momentum)
        wishes = torch._foreach_lerp(gradients, moments, momentum)  # Nesterov's: from a step ahead
        torch._foreach_mul_(matrices, 1 - rate * decay)
        parts = [part for p in matrices for part in p.chunk(self.counts[p])]
        updates = [part for w, p in zip(wishes, matrices, strict=True) for part in w.chunk(self.counts[p])]
        for part, update in zip(parts, self._orthogonal(updates), strict=True):
            part.add_(update, alpha=-rate * stretch(part))

    def _moment(self, matrix: Tensor) -> Tensor:
        memory = self.state[matrix]
        if not memory:
            memory["momentum_buffer"] = torch.zeros_like(matrix)
        moment: Tensor = memory["momentum_buffer"]
        return moment

    def _orthogonal(self, updates: Sequence[Tensor]) -> list[Tensor]:
        """The nearest orthogonal matrix to each of them, at their own shapes."""
        tall = [update.size(0) > update.size(1) for update in updates]
        wide = torch.stack(
            [u.bfloat16().mT if t else u.bfloat16() for u, t in zip(updates, tall, strict=True)]
        )
        done = torch.cat(self.hands.map(orthogonalise, wide.chunk(self.hands.count)))
        return [o.mT if t else o for o, t in zip(done, tall, strict=True)]


def stretch(matrix: Tensor) -> float:
    """How much longer the update of a tall matrix is. (rows, columns) → at least 1"""
    return math.sqrt(max(1.0, matrix.size(0) / matrix.size(1)))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Sets all singular values of each matrix to about 1, and leaves its directions as they are.

    (n, rows, columns) with rows ≤ columns → the same. Newton-Schulz iterations: a polynomial of the matrix,
    X ← aX + (bXXᵀ + c(XXᵀ)²)X, is the same polynomial of each singular value, and these (Amsel et al. 2025,
    "The Polar Express", algorithm 1) lift what is small as fast as possible. Half precision is enough.
    """
    x: Tensor = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) * SAFELY + 1e-7)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT  # (n, rows, rows)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def make_optimizers(
    model: LanguageModel, config: TrainingConfig, hands: Hands | None = None, muon: type[Muon] = Muon
) -> tuple[Optimizer, ...]:
    """The optimisers that together train every parameter of the model exactly once.

    AdamW (Loshchilov and Hutter 2019) or Adam (Kingma and Ba 2015) for everything, or Muon (Jordan et al.
    2024) for the matrices inside the blocks: it makes each update orthogonal, so that it moves all directions
    equally far. A bigram model has no such matrix, and is trained by AdamW alone. muon: which kind.
    """
    named = dict(model.named_parameters())
    inside = {n: p for n, p in named.items() if p.dim() == 2 and n not in TABLES and not n.endswith(ROUTER)}
    if config.optimizer == "muon" and inside:
        return _remember_rates(
            _muon(inside, config, hands or Hands(1), muon),
            _adamw(named.keys() - inside.keys(), named, config),
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


def _muon(inside: Mapping[str, Tensor], config: TrainingConfig, hands: Hands, muon: type[Muon]) -> Muon:
    """Muon for the matrices inside the blocks; the four gates of an LSTM are fused as well."""
    parts = {name: 3 if name.endswith("c_attn.weight") else 4 if "rnn." in name else 1 for name in inside}
    return muon(
        {inside[name]: count for name, count in parts.items()},
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=MUON_MOMENTUM,
        hands=hands,
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
