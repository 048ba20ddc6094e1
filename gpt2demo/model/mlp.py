"""The MLP: what each token does for itself with what attention brought it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2demo.model.config import GPT2Config


def activate(x: Tensor, activation: str) -> Tensor:
    """Bends a straight line, so that two linear layers can do more than one.

    gelu_new: GPT-2's 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), which approximates gelu: x times the chance
    that a standard normal number is smaller than x (both Hendrycks and Gimpel 2016). relu: max(0, x).
    """
    if activation == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_new" else "none")


class MLP(nn.Module):
    """Two linear layers with a bend between them, applied to every token alone."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.activation = config.activation
        self.c_fc = nn.Linear(config.n_embd, config.mlp_width, bias=config.bias)
        self.c_proj = nn.Linear(config.mlp_width, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) → (…, C)"""
        x = self.c_fc(x)  # (…, F)
        x = activate(x, self.activation)
        x = self.dropout(self.c_proj(x))  # (…, C)
        return x


class Routing(NamedTuple):
    """Which experts work on which token, and how much each of them counts. N tokens, E experts, K of them."""

    experts: Tensor  # (N, K) int64, the best first
    weights: Tensor  # (N, K), sum to 1 over the K
    probabilities: Tensor  # (N, E), sum to 1 over all experts


class Router(nn.Module):
    """Chooses for each token the K experts that it needs most.

    A module of its own so that a forward hook can see the choice: for the balance of the load while training,
    and for everybody who wants to know what an expert is for.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.chosen = config.experts_per_token
        self.gate = nn.Linear(config.n_embd, config.n_experts, bias=False)

    def forward(self, x: Tensor) -> Routing:
        """(N, C) → Routing. The weights are a softmax over the chosen ones (Shazeer et al. 2017, eq. 3-5)."""
        scores = self.gate(x)  # (N, E)
        best = scores.topk(self.chosen, dim=-1)
        return Routing(best.indices, best.values.softmax(dim=-1), scores.softmax(dim=-1))


class MixtureOfExperts(nn.Module):
    """Several MLPs of which each token uses only a few: more parameters for hardly more work per token.

    With one expert chosen its weight is the probability it was chosen with, not 1, or else the router could
    learn nothing from how well it chose (Fedus et al. 2021, "Switch Transformers", equation 2).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.router = Router(config)
        self.experts = nn.ModuleList([MLP(config) for _ in range(config.n_experts)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        tokens = x.flatten(0, 1)  # (N, C), N = B·T
        routing: Routing = self.router(tokens)
        weights = routing.weights
        if weights.size(-1) == 1:
            weights = routing.probabilities.gather(-1, routing.experts)  # (N, 1)
        y = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, place = (routing.experts == number).nonzero(as_tuple=True)  # those that chose this expert
            part = weights[token, place, None] * expert(tokens[token])  # half as many bits under autocast
            y = y.index_add(0, token, part.to(y.dtype))
        return y.view_as(x)


def load_balance(routing: Routing) -> Tensor:
    """How unevenly the work is shared: 1 when all experts do the same, E when one does everything. → ()

    E · Σ f·p over the experts, with f the share of choices that fell on an expert and p its mean probability
    (Fedus et al. 2021, equations 4-6). Added to the loss, it keeps a router from always asking the same one.
    """
    experts = routing.probabilities.size(-1)
    share = F.one_hot(routing.experts, experts).float().mean(dim=(0, 1))  # (E,)
    return experts * (share * routing.probabilities.mean(dim=0)).sum()
