"""The same look at a model again and again while it learns: what came when.

A run keeps its weights at a few steps only; what happened between two of them is not known.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2demo.errors import ConfigError, TextError
from gpt2demo.inspection.attention import HeadScores, Tokens, head_scores
from gpt2demo.inspection.capture import MAX_CAPTURE_TOKENS, Activations, Array, capture
from gpt2demo.inspection.embeddings import drift, position_embeddings, token_embeddings
from gpt2demo.inspection.hooks import Guard
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel


class Moment(NamedTuple):
    """A model as it was at one step of its training."""

    step: int
    model: LanguageModel
    guard: Guard | None = None  # the shared model's lock


Moments = Iterable[Moment]  # in the order of their steps; made one by one, they need not all be in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoresAt:
    """What each head was at a step."""

    step: int
    scores: HeadScores


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftAt:
    """How far each vector of the two tables has come since the first step that was kept."""

    step: int
    tokens: Array  # (V,) distances
    positions: Array | None  # (n_positions,); None for a model without


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenAt:
    """What went on inside at a step, for the same text."""

    step: int
    seen: Activations


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """What one model does more than another with the same text; below 0, less."""

    attention: Array  # (L, H, T, T) from −1 to 1; rows sum to 0
    residual: Array  # (L + 1, T, C)


@dataclass(frozen=True, kw_only=True)
class HalfWay:
    """When a score came to half of what it is at the end, as far as the kept steps tell."""

    step: int  # the first kept step from which on it never is below half again
    before: int | None  # the kept step just before, where it was below; None: it never was
    value: float  # at that step
    final: float


def scores_over_time(
    moments: Moments, *, tokens: Tokens | None = None, seed: int = 0, start_id: int | None = None
) -> Iterator[ScoresAt]:
    """When each head became what it is: its scores at each step, on the same random tokens.

    See `head_scores` for the arguments.
    """
    for step, model, guard in moments:
        scores = head_scores(model, tokens=tokens, seed=seed, start_id=start_id, guard=guard)
        yield ScoresAt(step=step, scores=scores)


def drift_over_time(moments: Moments) -> Iterator[DriftAt]:
    """Which tokens' vectors have moved, and when: tokens that are never met stay where they began.

    Distances in the original space from the first moment's vectors; a long way says nothing about where to.
    """
    began: tuple[Array, Array | None] | None = None
    for step, model, _ in moments:
        now = token_embeddings(model), position_embeddings(model) if isinstance(model, GPT2) else None
        began = began or now
        positions = None if now[1] is None or began[1] is None else drift(began[1], now[1])
        yield DriftAt(step=step, tokens=drift(began[0], now[0]), positions=positions)


def captures_over_time(
    moments: Moments,
    ids: Sequence[int],
    *,
    what: Sequence[str] = (),
    max_tokens: int = MAX_CAPTURE_TOKENS,
) -> Iterator[SeenAt]:
    """The same text through the model as it was at each step. See `capture` for the arguments."""
    for step, model, guard in moments:
        seen = capture(model, ids, guard=guard, what=what, max_tokens=max_tokens)
        yield SeenAt(step=step, seen=seen)


def difference(one: Activations, other: Activations) -> Difference:
    """What the other model, or the later step, does differently with the same text: other − one.

    Heads of two runs with the same number need not do the same work: a difference says most between two steps
    of one run. Raises TextError for different tokens, ConfigError for models of different shapes.
    """
    if not np.array_equal(one.tokens, other.tokens):
        raise TextError(
            "The two models read different tokens.",
            "A difference needs the same text in the same tokens.",
            "Give both the same text, and choose models with the same tokenizer.",
        )
    if one.attention.shape != other.attention.shape or one.residual.shape != other.residual.shape:
        raise ConfigError(
            f"One model has {_shape(one)}, the other {_shape(other)}.",
            "A difference needs models of the same shape.",
            "Look at them side by side, or choose two steps of one run.",
        )
    return Difference(attention=other.attention - one.attention, residual=other.residual - one.residual)


def half_way(steps: Sequence[int], values: Sequence[float] | NDArray[np.float64]) -> HalfWay:
    """At which kept step a score passes half of its final value, and stays there.

    steps: in order; values: the score at each. What never fell below half has no step before.
    """
    if len(steps) == 0 or len(steps) != len(values):
        raise ValueError(f"every step needs a value: got {len(steps)} steps and {len(values)} values")
    final = float(values[-1])
    below = [i for i, value in enumerate(values) if not value >= final / 2]
    first = below[-1] + 1 if below else 0
    if first == len(steps):
        raise ValueError(f"the last value, {final}, is not at least half of itself")
    return HalfWay(
        step=int(steps[first]),
        before=int(steps[first - 1]) if first else None,
        value=float(values[first]),
        final=final,
    )


def _shape(seen: Activations) -> str:
    layers, heads = seen.attention.shape[:2]
    return f"{layers} layers of {heads} heads and {seen.residual.shape[-1]} channels"
