"""What kind of head is this? Scores, summaries and simplifications of attention, on plain arrays.

Attention is (L, H, T, T): layer, head, the token that reads (row), the token that is read (column). A score
is the mean attention on the cells that an ideal head of that kind would use: 1 is a perfect one.
Attention shows where a head reads, not why the model says what it says.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt2demo.errors import LimitError
from gpt2demo.inspection.capture import capture
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel

Array = NDArray[np.floating]
Scores = NDArray[np.float64]

SEQUENCES = 16
MAX_PERIOD = 32  # how many random tokens are repeated
# From which score on a head is called by a name.
THRESHOLDS: Mapping[str, float] = {"previous": 0.5, "induction": 0.3, "duplicate": 0.3, "first": 0.6}


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """How much each head behaves like four known kinds, each (L, H) from 0 to 1."""

    previous: Scores  # reads the token just before
    induction: Scores  # reads what followed the same token earlier: "A B … A" → B
    duplicate: Scores  # reads earlier copies of the same token
    first: Scores  # reads the first token, the usual place to rest
    period: int  # how many random tokens were repeated to measure it


def previous_token_score(attention: Array) -> Scores:
    """Mean attention from each token to the one just before it.  (L, H, T, T) → (L, H)

    The first token has none before it and does not count; NaN when there is no other.
    """
    return _mean_on(attention, np.eye(attention.shape[-1], k=-1, dtype=bool))


def first_token_score(attention: Array) -> Scores:
    """Mean attention to the first token, from all others.  (L, H, T, T) → (L, H); NaN for a single token"""
    cells = np.zeros(attention.shape[-2:], dtype=bool)
    cells[1:, 0] = True
    return _mean_on(attention, cells)


def duplicate_token_score(attention: Array, tokens: Sequence[int] | NDArray[np.int64]) -> Scores:
    """Mean attention to earlier copies of the same token, from tokens that have one.

    (L, H, T, T), (T,) → (L, H); NaN when no token comes twice.
    """
    return _mean_on(attention, _same_token(tokens))


def induction_score(attention: Array, tokens: Sequence[int] | NDArray[np.int64]) -> Scores:
    """Mean attention to what followed earlier copies of the same token, from tokens that have one.

    In "A B … A" the second A reads B, which is what the model should say next (Olsson et al. 2022,
    "In-context Learning and Induction Heads"). When R random tokens come twice, it is the attention from
    position i in the second copy to position i − R + 1. (L, H, T, T), (T,) → (L, H); NaN when no token
    comes twice.
    """
    after = np.zeros_like(_same_token(tokens))
    after[:, 1:] = _same_token(tokens)[:, :-1]
    np.fill_diagonal(after, False)  # "A A": what followed the first A is the second itself
    return _mean_on(attention, after)


def head_scores(
    model: LanguageModel,
    *,
    tokens: Sequence[int] | NDArray[np.int64] | None = None,
    seed: int = 0,
    start_id: int | None = None,
    guard: AbstractContextManager[object] | None = None,
) -> HeadScores:
    """Measures every head on 16 sequences of random tokens, each repeated once.

    Random tokens, so that only the repetition can help: nothing learned about language can. All tokens of a
    copy differ. tokens: the ids to draw from, by default the whole vocabulary; for a model that was trained
    on a small text they should be those that occur in it, as the others still mean nothing to it. start_id:
    a token put in front of each sequence. guard: the shared model's lock, held for one sequence at a time.
    Raises LimitError for a model that is too small to read a repetition, or for fewer than two tokens.
    """
    start = [] if start_id is None else [start_id]
    known = np.arange(model.config.vocab_size) if tokens is None else np.unique(tokens)
    known = np.setdiff1d(known, start)
    period = _period(model.config, len(start), len(known))
    scores = []
    for ids in _repeated_random_tokens(known, seed, start, period):
        attention = capture(model, ids, guard=guard).attention
        scores.append(
            (
                previous_token_score(attention),
                induction_score(attention, ids),
                duplicate_token_score(attention, ids),
                first_token_score(attention),
            )
        )
    previous, induction, duplicate, first = np.mean(scores, axis=0)
    return HeadScores(previous=previous, induction=induction, duplicate=duplicate, first=first, period=period)


def badges(scores: HeadScores) -> NDArray[np.str_]:
    """For each head the name it deserves most, or "" when it reaches none of THRESHOLDS.  → (L, H)

    Where it reaches several, the one it exceeds by the largest factor.
    """
    names = np.array(["", *THRESHOLDS])
    reached = np.stack([getattr(scores, name) / threshold for name, threshold in THRESHOLDS.items()])
    best = reached.argmax(axis=0)
    return names[np.where(reached.max(axis=0) >= 1, best + 1, 0)]


def without_first_token(attention: Array) -> Array:
    """The first column emptied and every row renormalised to 1, to see past the head that rests there.

    (…, T, T) → (…, T, T), a copy. A row that read nothing else (the first always) is left all zero.
    """
    rest = attention.copy()
    rest[..., 0] = 0
    total = rest.sum(axis=-1, keepdims=True)
    return np.asarray(rest / np.where(total > 0, total, 1), dtype=attention.dtype)


def head_mean(attention: Array) -> Array:
    """The mean over the heads of each layer: (L, H, T, T) → (L, T, T)"""
    return np.asarray(attention.mean(axis=1))


def rollout(attention: Array) -> Array:
    """How much of each input token has reached each place, up to every layer, if attention were all there is.

    Mean over heads, half of it replaced by the residual connection (each token keeping itself), multiplied
    up through the layers: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers".
    (L, H, T, T) → (L, T, T); rows sum to 1.
    """
    mean = head_mean(attention)
    identity = np.eye(mean.shape[-1], dtype=mean.dtype)
    reached, layers = identity, []
    for layer in mean:
        reached = (0.5 * layer + 0.5 * identity) @ reached
        layers.append(reached)
    return np.stack(layers)


def _mean_on(attention: Array, cells: NDArray[np.bool_]) -> Scores:
    """Attention on the marked cells, summed in each row, averaged over the rows that have one."""
    if attention.ndim != 4 or attention.shape[-2:] != cells.shape:
        raise ValueError(f"expected attention (L, H, T, T) with T = {len(cells)}, got {attention.shape}")
    rows = cells.any(axis=1)
    if not rows.any():
        return np.full(attention.shape[:2], np.nan)
    return np.asarray((attention * cells).sum(axis=-1, dtype=np.float64)[..., rows].mean(axis=-1))


def _same_token(tokens: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
    """True at (i, j) where token j is an earlier copy of token i.  (T,) → (T, T)"""
    ids = np.asarray(tokens)
    return np.tril(ids[:, None] == ids[None, :], k=-1)


def _period(config: GPT2Config, start: int, known: int) -> int:
    """How many of `known` tokens can be repeated in this model's context, with `start` tokens in front."""
    period = min((config.n_positions - start) // 2, MAX_PERIOD, known)
    if period < 2:
        raise LimitError(
            f"This model reads {config.n_positions} tokens, and knows {known} different ones.",
            "To see what its heads do, at least two different tokens must fit in twice.",
            "Choose a larger model.",
        )
    return period


def _repeated_random_tokens(
    known: NDArray[np.int64], seed: int, start: list[int], period: int
) -> Iterator[list[int]]:
    """SEQUENCES times: `start`, then `period` different tokens of `known`, then the same once more."""
    generator = np.random.default_rng(seed)
    for _ in range(SEQUENCES):
        ids = generator.choice(known, size=period, replace=False).tolist()
        yield [*start, *ids, *ids]
