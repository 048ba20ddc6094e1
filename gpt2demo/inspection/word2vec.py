"""Word2vec: vectors for tokens learned from their neighbours alone, to set beside GPT-2's own.

It is what came before: one vector for each token, the same in every sentence. GPT-2's table begins like that,
but its blocks then turn it into what the token means here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt2demo.errors import TextError, check_range

RARER = 0.75  # negatives are drawn by frequency to this power (Mikolov et al. 2013, section 2.2)
FREQUENT = 1e-3  # tokens above this share of the text are left out now and then (section 2.3)


@dataclass(frozen=True, kw_only=True)
class Word2VecConfig:
    """How the vectors are learned. Raises LimitError."""

    dimensions: int = 64  # how many numbers a token gets
    window: int = 5  # neighbours on each side, at most
    negatives: int = 5  # random tokens that each true neighbour is told apart from
    pairs: int = 2_000_000  # so many (token, neighbour) pairs are looked at in all
    batch_size: int = 2_048  # pairs in one step
    learning_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("dimensions", self.dimensions, 2, 300, integer=True)
        check_range("window", self.window, 1, 20, integer=True)
        check_range("negatives", self.negatives, 1, 50, integer=True)
        check_range("pairs", self.pairs, 1, 20_000_000, integer=True)
        check_range("batch_size", self.batch_size, 1, 65_536, integer=True)
        check_range("learning_rate", self.learning_rate, 1e-6, 1.0)
        check_range("seed", self.seed, 0, 2**63 - 1, integer=True)


@dataclass(frozen=True, kw_only=True)
class Word2VecStep:
    """What is known after some steps."""

    pairs: int  # looked at so far
    loss: float  # mean over the last steps, nats per pair
    vectors: NDArray[np.float32] | None  # (V, dimensions), only in the last record


def skip_gram_loss(centre: Tensor, neighbour: Tensor, negatives: Tensor) -> Tensor:
    """How badly true neighbours are told apart from random tokens: (B, D), (B, D), (B, N, D) → (B,)

    −log σ(v·u) − Σ log σ(−v·uₙ): Mikolov et al. 2013, "Distributed Representations of Words and Phrases and
    their Compositionality", equation 4.
    """
    true = (centre * neighbour).sum(-1)  # (B,)
    false = (negatives @ centre[:, :, None]).squeeze(-1)  # (B, N)
    return -F.logsigmoid(true) - F.logsigmoid(-false).sum(-1)


def train_word2vec(
    ids: Sequence[int] | NDArray[np.int64],
    vocab_size: int,
    config: Word2VecConfig,
    *,
    records: int = 20,
) -> Iterator[Word2VecStep]:
    """Learns a vector for each token by telling its neighbours from random tokens (skip-gram).

    ids: the text, (N,). Yields about `records` Word2VecSteps, the last one with the vectors; tokens that do
    not occur keep a vector of zeros. Raises TextError for a text of fewer than two tokens.
    """
    text = torch.as_tensor(np.asarray(ids, dtype=np.int64))
    if len(text) < 2:
        raise TextError("The text is too short.", "A token needs a neighbour.", "Use a longer text.")
    generator = torch.Generator().manual_seed(config.seed)
    counts = torch.bincount(text, minlength=vocab_size).double()  # (V,)
    vectors = nn.Embedding(vocab_size, config.dimensions, sparse=True)
    contexts = nn.Embedding(vocab_size, config.dimensions, sparse=True)
    near_zero = 0.5 / config.dimensions
    nn.init.uniform_(vectors.weight, -near_zero, near_zero, generator=generator)
    nn.init.zeros_(contexts.weight)
    optimizer = torch.optim.SparseAdam([vectors.weight, contexts.weight], lr=config.learning_rate)
    steps = -(-config.pairs // config.batch_size)
    pause, losses = max(1, steps // records), []
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - (step - 1) / steps)
        centre, neighbour = draw_pairs(text, counts, config, generator)
        others = torch.multinomial(
            counts**RARER, len(centre) * config.negatives, replacement=True, generator=generator
        ).view(-1, config.negatives)  # (B, N)
        loss = skip_gram_loss(vectors(centre), contexts(neighbour), contexts(others)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        if step % pause == 0 or step == steps:
            found = vectors.weight.detach() * (counts > 0)[:, None] if step == steps else None
            yield Word2VecStep(
                pairs=step * config.batch_size,
                loss=sum(losses) / len(losses),
                vectors=None if found is None else found.float().numpy(),
            )
            losses = []


def draw_pairs(
    text: Tensor, counts: Tensor, config: Word2VecConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random tokens of the text, each with one of its neighbours: (B,), (B,)

    Near neighbours are drawn more often than far ones, and frequent tokens less often than they occur: a
    token of the share f is kept with the chance √(FREQUENT / f).
    """
    share = counts / counts.sum()
    kept = (FREQUENT / share.clamp_min(FREQUENT)).sqrt()  # (V,)
    place = torch.randint(len(text), (4 * config.batch_size,), generator=generator)
    place = place[torch.rand(len(place), generator=generator) < kept[text[place]]][: config.batch_size]
    if len(place) == 0:
        place = torch.randint(len(text), (config.batch_size,), generator=generator)
    reach = torch.randint(1, config.window + 1, (len(place),), generator=generator)
    distance = (torch.rand(len(place), generator=generator) * reach).long() + 1  # 1 … reach
    side = torch.randint(2, (len(place),), generator=generator) * 2 - 1
    other = place + side * distance
    inside = (other >= 0) & (other < len(text))
    other = torch.where(inside, other, (place - side * distance).clamp(0, len(text) - 1))
    return text[place], text[other]
