"""From scores to one token: temperature, then top-k, then top-p, then a draw. One pure function per rule.

A model gives every token of its vocabulary a score, its logit. The rules below are applied in that order to
logits of shape (V,) or (B, V); a token that a rule cuts gets −∞, which is probability 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2demo.errors import LimitError, check_range

MAX_TEMPERATURE = 5.0
MAX_TOP_K = 60_000
LEAST_TOP_P = 1e-9  # still keeps one token
MAX_SEED = 2**63 - 1
MAX_NEW_TOKENS = 2_000


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the next token is chosen, and how many are; raises LimitError for a value out of range."""

    temperature: float = 0.8  # below 1 the likely get likelier, above 1 rarer; 0 always takes the likeliest
    top_k: int | None = None  # only the k likeliest tokens stay in the draw; None keeps all
    top_p: float | None = None  # only the likeliest tokens that together reach probability p; None keeps all
    seed: int = 0  # the same seed gives the same text
    max_new_tokens: int = 100

    def __post_init__(self) -> None:
        check_range("temperature", self.temperature, 0.0, MAX_TEMPERATURE)
        check_range("seed", self.seed, 0, MAX_SEED, integer=True)
        check_range("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS, integer=True)
        if self.top_k is not None:
            check_range("top-k", self.top_k, 1, MAX_TOP_K, integer=True)
        if self.top_p is not None:
            if self.top_p == 0:
                raise LimitError(
                    "top-p is 0.",
                    "It must be more than 0 and at most 1: with 0 no token would be left.",
                    "Use temperature 0 to always take the likeliest token.",
                )
            check_range("top-p", self.top_p, LEAST_TOP_P, 1.0)


@dataclass(frozen=True)
class Distribution:
    """What the draw is made from: the logits after temperature, which tokens stay, and their chances."""

    scaled: Tensor  # (..., V) float64, logits after temperature
    kept: Tensor  # (..., V) bool, False where temperature 0, top-k or top-p cut the token
    logprobs: Tensor  # (..., V) float64, natural log of the chances among the kept; −∞ where cut

    @property
    def probabilities(self) -> Tensor:
        """The chances themselves; they sum to 1."""
        return self.logprobs.exp()


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divides the logits by the temperature; 0, the limit, leaves only the highest (of equals the lowest id).

    (..., V) → (..., V) float64: single precision would overflow at temperatures near 0.
    """
    logits = logits.double()
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, float("-inf")).scatter(-1, best, logits.gather(-1, best))
    return logits / max(temperature, 1e-30)


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Cuts all but the k highest logits: exactly k stay, and of equal ones those with the lowest ids.

    (..., V) → (..., V); a k beyond the vocabulary cuts nothing.
    """
    if k >= logits.size(-1):
        return logits
    lowest = logits.topk(k, dim=-1).values[..., -1:]  # (..., 1), the k-th highest
    above, equal = logits > lowest, logits == lowest
    room = k - above.sum(dim=-1, keepdim=True)  # how many of the equal ones still fit
    return logits.masked_fill(~(above | equal & (equal.cumsum(dim=-1) <= room)), float("-inf"))


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Cuts all but the smallest set of likeliest tokens whose probabilities together reach p.

    (..., V) → (..., V); at least one token stays, and of equal ones those with the lowest ids come first.
    Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (nucleus sampling).
    """
    if p >= 1:
        return logits
    ordered, ids = logits.double().sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities  # what the likelier tokens reach without this one
    keep = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, before < p)
    return logits.masked_fill(~keep, float("-inf"))


def distribution(logits: Tensor, config: SamplingConfig) -> Distribution:
    """All rules in order: temperature, top-k, top-p, softmax.  (..., V) → three tensors (..., V)"""
    scaled = apply_temperature(logits, config.temperature)
    kept = scaled if config.top_k is None else top_k_filter(scaled, int(config.top_k))
    kept = kept if config.top_p is None else top_p_filter(kept, config.top_p)
    return Distribution(scaled, kept > float("-inf"), kept.log_softmax(dim=-1))


def sample(logits: Tensor, generator: torch.Generator) -> int:
    """Draws one token id, each with the chance that its logit stands for.  (V,) → id"""
    return int(torch.multinomial(logits.softmax(dim=-1), 1, generator=generator))
