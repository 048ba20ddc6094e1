"""From scores to one token, rule by rule, then a draw. One pure function per rule.

A model gives every token of its vocabulary a score, its logit. The rules act on logits of shape (V,) or
(B, V) in this order, which is also that of `transformers`; a token that a rule cuts gets −∞, which is
probability 0:

    repetition penalty → temperature → top-k → top-p → min-p → draw
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gpt2demo.errors import LimitError, check_range

MAX_TEMPERATURE = 5.0
MAX_TOP_K = 60_000
LEAST_TOP_P = 1e-9  # still keeps one token
MAX_PENALTY = 10.0
MAX_SEED = 2**63 - 1
MAX_NEW_TOKENS = 2_000
MAX_STOPS, MAX_STOP_CHARACTERS = 4, 200
NUCLEUS = 256  # so many of the likeliest tokens are looked at first, as they mostly reach p


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the next token is chosen, and how many are; raises LimitError for a value out of range."""

    temperature: float = 0.8  # below 1 the likely get likelier, above 1 rarer; 0 always takes the likeliest
    top_k: int | None = None  # only the k likeliest tokens stay in the draw; None keeps all
    top_p: float | None = None  # only the likeliest tokens that together reach probability p; None keeps all
    min_p: float | None = None  # only tokens at least this share as likely as the likeliest; None keeps all
    repetition_penalty: float = 1.0  # above 1, what is in the text already gets less likely
    seed: int = 0  # the same seed gives the same text
    max_new_tokens: int = 100
    stop: tuple[str, ...] = ()  # the text ends as soon as one of these stands in what was written

    def __post_init__(self) -> None:
        check_range("temperature", self.temperature, 0.0, MAX_TEMPERATURE)
        check_range("seed", self.seed, 0, MAX_SEED, integer=True)
        check_range("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS, integer=True)
        check_range("The repetition penalty", self.repetition_penalty, 1.0, MAX_PENALTY)
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
        if self.min_p is not None:
            check_range("min-p", self.min_p, 0.0, 1.0)
        object.__setattr__(self, "stop", _checked_stops(self.stop))

    @property
    def rules(self) -> tuple[object, ...]:
        """What decides about a token; seed, length and ends do not."""
        return self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty


def _checked_stops(stops: object) -> tuple[str, ...]:
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) and stop for stop in stops):
        raise LimitError(
            f"The stop strings are {str(stops)[:40]!r}.", "Each must be some text.", "Leave out empty ones."
        )
    longest = max(map(len, stops), default=0)
    if len(stops) > MAX_STOPS or longest > MAX_STOP_CHARACTERS:
        raise LimitError(
            f"There are {len(stops)} stop strings, the longest of {longest:,} characters.",
            f"At most {MAX_STOPS} of at most {MAX_STOP_CHARACTERS} characters are watched for.",
            "Give fewer or shorter ones.",
        )
    return tuple(stops)


class Stage(NamedTuple):
    """What one rule that cuts has left."""

    rule: str  # "temperature 0", "top-k", "top-p" or "min-p"
    logits: Tensor  # (..., V), −∞ where it or a rule before it cut the token


@dataclass(frozen=True)
class Distribution:
    """What the draw is made from, and how it came about."""

    scaled: Tensor  # (..., V) float64, logits after repetition penalty and temperature, before any cut
    stages: tuple[Stage, ...]  # the rules that cut, in order
    probabilities: Tensor  # (..., V) float64, the chances among the kept; they sum to 1, 0 where cut

    @property
    def kept(self) -> Tensor:
        """(..., V) bool, False where a rule cut the token."""
        return (self.stages[-1].logits if self.stages else self.scaled) > -math.inf

    def cut_by(self, *place: int) -> str:
        """The rule that cut the token at this place; "" where it stays."""
        return next((stage.rule for stage in self.stages if stage.logits[place] == -math.inf), "")


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Makes tokens less likely that are in the text already.  (..., V) → (..., V)

    Positive logits are divided by the penalty, negative ones multiplied. seen: (..., V) bool, the tokens of
    prompt and continuation. Keskar et al. 2019, "CTRL", section 4.1, in the form that the field uses.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divides the logits by the temperature; 0 is left to `take_likeliest`.

    (..., V) → (..., V) float64: single precision would overflow at temperatures near 0.
    """
    return logits.double() / (max(temperature, 1e-30) if temperature else 1.0)


def take_likeliest(logits: Tensor) -> Tensor:
    """Cuts all but the highest logit, of equals the lowest id: temperature 0.  (..., V) → (..., V)"""
    best = logits.argmax(dim=-1, keepdim=True)
    return torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best))


def top_k_filter(logits: Tensor, k: int | Tensor) -> Tensor:
    """Cuts all but the k highest logits: exactly k stay, and of equal ones those with the lowest ids.

    (..., V) → (..., V); a k beyond the vocabulary cuts nothing. k: a number, or one for each row (..., 1).
    """
    most = int(k if isinstance(k, int) else k.max())
    if isinstance(k, int) and k >= logits.size(-1):
        return logits
    highest = logits.topk(min(most, logits.size(-1)), dim=-1).values  # (..., k)
    lowest = highest[..., -1:] if isinstance(k, int) else highest.gather(-1, k - 1)  # the k-th highest
    above, equal = logits > lowest, logits == lowest
    room = k - above.sum(dim=-1, keepdim=True)  # how many of the equal ones still fit
    return logits.masked_fill(~(above | equal & (equal.cumsum(dim=-1) <= room)), -math.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Cuts all but the smallest set of likeliest tokens whose probabilities together reach p.

    (..., V) → (..., V); at least one token stays, and of equal ones those with the lowest ids come first.
    Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (nucleus sampling).
    """
    if p >= 1:
        return logits
    logits_64 = logits.double()
    most = logits_64.amax(dim=-1, keepdim=True)  # (..., 1)
    whole = (logits_64 - most).exp().sum(dim=-1, keepdim=True)
    for count in (NUCLEUS, logits.size(-1)):
        highest = logits_64.topk(min(count, logits.size(-1)), dim=-1).values  # (..., count), descending
        reached = ((highest - most).exp() / whole).cumsum(dim=-1)
        if bool((reached[..., -1] >= p).all()):
            break
    before = torch.cat([torch.zeros_like(reached[..., :1]), reached[..., :-1]], dim=-1)
    return top_k_filter(logits, (before < p).sum(dim=-1, keepdim=True))


def min_p_filter(logits: Tensor, p: float) -> Tensor:
    """Cuts tokens that are less than p times as likely as the likeliest one.  (..., V) → (..., V)

    Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs".
    """
    if p <= 0:
        return logits
    least = logits.amax(dim=-1, keepdim=True) + math.log(p)
    return logits.masked_fill(logits < least, -math.inf)


def distribution(logits: Tensor, config: SamplingConfig, seen: Tensor | None = None) -> Distribution:
    """All rules in order.  (..., V) → tensors (..., V)

    seen: (..., V) bool, the tokens of the text so far, on which the repetition penalty acts.
    """
    if config.repetition_penalty != 1 and seen is not None:
        logits = penalise_repetition(logits, seen, config.repetition_penalty)
    scaled = left = apply_temperature(logits, config.temperature)
    stages = []
    if config.temperature == 0:
        stages.append(Stage("temperature 0", left := take_likeliest(left)))
    if config.top_k is not None:
        stages.append(Stage("top-k", left := top_k_filter(left, int(config.top_k))))
    if config.top_p is not None:
        stages.append(Stage("top-p", left := top_p_filter(left, config.top_p)))
    if config.min_p is not None:
        stages.append(Stage("min-p", left := min_p_filter(left, config.min_p)))
    return Distribution(scaled, tuple(stages), left.softmax(dim=-1))


def luck(generator: torch.Generator) -> float:
    """A random number in [0, 1), which decides about one token."""
    return float(torch.rand((), dtype=torch.float64, generator=generator))


def draw(probabilities: Tensor, lucks: Sequence[float]) -> Tensor:
    """Draws one token of each row with these chances.  (B, V) → (B,) ids

    The chances lie side by side on a line from 0 to 1, and luck points at one of them (inverse transform).
    """
    line = probabilities.cumsum(dim=-1)  # (B, V)
    points = torch.tensor(lucks, dtype=line.dtype)[:, None] * line[:, -1:]
    found = torch.searchsorted(line, points, right=True)
    last = torch.searchsorted(
        line, line[:, -1:].contiguous()
    )  # rounding must not point behind the last token
    return torch.minimum(found, last)[:, 0]


def sample(logits: Tensor, generator: torch.Generator) -> int:
    """Draws one token id, each with the chance that its logit stands for.  (V,) → id"""
    return int(draw(logits.double().softmax(dim=-1)[None], [luck(generator)]))
