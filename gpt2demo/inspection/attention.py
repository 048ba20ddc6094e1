"""What kind of head is this? Scores, summaries and simplifications of attention, on plain arrays.

Attention is (L, H, T, T): layer, head, the token that reads (row), the token that is read (column). A score
is the mean attention on the cells that an ideal head of that kind would use, over the rows that have such a
cell: 1 is a perfect one. The cells are those of TransformerLens's head detectors; its `detect_head` divides
by all rows, also those that have none.
Attention shows where a head reads, not why the model says what it says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2demo.errors import LimitError, check_range
from gpt2demo.inspection.capture import Activations, capture
from gpt2demo.inspection.hooks import Guard, blocks, head_matrix, inspectable
from gpt2demo.model.attention import attention_scores
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel

Array = NDArray[np.floating]
Scores = NDArray[np.float64]
Cells = NDArray[np.bool_]
Tokens = Sequence[int] | NDArray[np.int64]

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
    return _mean_on(attention, previous_cells(attention.shape[-1]))


def first_token_score(attention: Array) -> Scores:
    """Mean attention to the first token, from all others.  (L, H, T, T) → (L, H); NaN for a single token"""
    cells = np.zeros(attention.shape[-2:], dtype=bool)
    cells[1:, 0] = True
    return _mean_on(attention, cells)


def duplicate_token_score(attention: Array, tokens: Tokens) -> Scores:
    """Mean attention to earlier copies of the same token, from tokens that have one.

    (L, H, T, T), (T,) → (L, H); NaN when no token comes twice.
    """
    return _mean_on(attention, duplicate_cells(tokens))


def induction_score(attention: Array, tokens: Tokens) -> Scores:
    """Mean attention to what followed earlier copies of the same token, from tokens that have one.

    In "A B … A" the second A reads B, which is what the model should say next (Olsson et al. 2022,
    "In-context Learning and Induction Heads"). When R random tokens come twice, it is the attention from
    position i in the second copy to position i − R + 1. (L, H, T, T), (T,) → (L, H); NaN when no token
    comes twice.
    """
    return _mean_on(attention, induction_cells(tokens))


def previous_cells(tokens: int) -> Cells:
    """Where a head that always reads the token just before has its attention.  → (T, T)"""
    return np.eye(tokens, k=-1, dtype=bool)


def duplicate_cells(tokens: Tokens) -> Cells:
    """Where a head that reads earlier copies of the same token has its attention.  (T,) → (T, T)"""
    ids = np.asarray(tokens)
    return np.tril(ids[:, None] == ids[None, :], k=-1)


def induction_cells(tokens: Tokens) -> Cells:
    """Where a head that reads what followed earlier copies has its attention.  (T,) → (T, T)

    In "A A" what followed the first A is the second itself: reading oneself is not counted, as with
    TransformerLens's exclude_current_token.
    """
    after = np.zeros((len(tokens), len(tokens)), dtype=bool)
    after[:, 1:] = duplicate_cells(tokens)[:, :-1]
    np.fill_diagonal(after, False)
    return after


def head_scores(
    model: LanguageModel,
    *,
    tokens: Tokens | None = None,
    seed: int = 0,
    start_id: int | None = None,
    guard: Guard | None = None,
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
    return rows_to_one(rest)


def rows_to_one(weights: Array) -> Array:
    """Every row as shares of its own sum; a row of zeros, which has none, stays.  (…, T, T) → (…, T, T)"""
    total = weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1), dtype=weights.dtype)


def head_mean(attention: Array) -> Array:
    """What the heads of each layer read on average; it hides that they read different things.

    (L, H, T, T) → (L, T, T)
    """
    return np.asarray(attention.mean(axis=1))


def layer_mean(attention: Array) -> Array:
    """What all heads of all layers read on average; it says nothing about how layers build on each other.

    That is what `rollout` does. (L, H, T, T) → (T, T)
    """
    return np.asarray(attention.mean(axis=(0, 1)))


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


def contributions(model: LanguageModel, seen: Activations) -> Array:
    """How much each head writes because of each token it reads: a token may be looked at and give nothing.

    The length of attention × value × the head's part of c_proj: Kobayashi et al. 2020, "Attention is Not Only
    a Weight: Analyzing Transformers with Vector Norms", section 3. In the stream's units, so that heads
    compare; rows do not sum to 1 (`rows_to_one` makes them). It does not show what is written, nor whether
    later layers use it. seen: with its values, of this model. → (L, H, T, T)
    """
    if seen.values is None:
        raise ValueError('contributions need the values: capture(..., what=["values"])')
    weighted = np.empty_like(seen.attention)
    with torch.inference_mode():
        for layer, block in enumerate(blocks(inspectable(model))):
            values = torch.from_numpy(seen.values[layer])  # (H, T, D)
            written = (values @ head_matrix(block).float().cpu()).norm(dim=-1).numpy()  # (H, T)
            weighted[layer] = seen.attention[layer] * written[:, None, :]
    return weighted


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadSteps:
    """From queries and keys to attention, the four steps of one head, each (T, T)."""

    products: Array  # query · key
    scaled: Array  # divided by √D, so that large heads are no surer of themselves than small ones
    masked: Array  # −∞ where token i may not read token j
    weights: Array  # after the softmax: shares, every row sums to 1


def head_steps(seen: Activations, layer: int, head: int) -> HeadSteps:
    """How one head comes to its attention, step by step: scores, scale, mask, softmax.

    seen: with its queries and keys. Raises LimitError for a layer or head that there is not.
    """
    layers, heads = seen.attention.shape[:2]
    check_range("layer", layer, 0, layers - 1, integer=True)
    check_range("head", head, 0, heads - 1, integer=True)
    if seen.queries is None or seen.keys is None:
        raise ValueError('the steps need queries and keys: capture(..., what=["queries", "keys"])')
    q, k = seen.queries[layer, head], seen.keys[layer, head]  # (T, D)
    scaled = attention_scores(torch.from_numpy(q), torch.from_numpy(k)).numpy()
    return HeadSteps(
        products=q @ k.T,
        scaled=scaled,
        masked=np.where(seen.allowed, scaled, np.float32(-np.inf)),
        weights=seen.attention[layer, head],
    )


def _mean_on(attention: Array, cells: Cells) -> Scores:
    """Attention on the marked cells, summed in each row, averaged over the rows that have one."""
    if attention.ndim != 4 or attention.shape[-2:] != cells.shape:
        raise ValueError(f"expected attention (L, H, T, T) with T = {len(cells)}, got {attention.shape}")
    rows = cells.any(axis=1)
    if not rows.any():
        return np.full(attention.shape[:2], np.nan)
    return np.asarray((attention * cells).sum(axis=-1, dtype=np.float64)[..., rows].mean(axis=-1))


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
