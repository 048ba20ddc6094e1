"""Word2vec: the loss is its paper's, and tokens with the same neighbours end up side by side."""

import math

import numpy as np
import pytest
import torch

from gpt2demo.errors import LimitError, TextError
from gpt2demo.inspection.embeddings import neighbours
from gpt2demo.inspection.word2vec import (
    Word2VecConfig,
    draw_pairs,
    skip_gram_loss,
    train_word2vec,
)

FAST = Word2VecConfig(dimensions=16, window=2, pairs=150_000, batch_size=512, learning_rate=0.03)


def test_the_loss_is_the_papers_equation():
    generator = torch.Generator().manual_seed(0)
    v, u = torch.randn(2, 3, 4, generator=generator)
    n = torch.randn(3, 5, 4, generator=generator)
    for i in range(3):
        dots = [float(v[i] @ u[i]), *(-float(v[i] @ n[i, j]) for j in range(5))]
        expected = -sum(math.log(1 / (1 + math.exp(-dot))) for dot in dots)
        assert skip_gram_loss(v, u, n)[i].item() == pytest.approx(expected, rel=1e-5)


def sentences(count: int = 4_000) -> np.ndarray:
    """ "0 or 1, then 2 or 3" and "4 or 5, then 6 or 7", in any order: 0 and 1 have the same neighbours."""
    draw = np.random.default_rng(1)
    first = draw.integers(2, size=count) * 4
    return np.stack(
        [first + draw.integers(2, size=count), first + 2 + draw.integers(2, size=count)]
    ).T.ravel()


def test_tokens_with_the_same_neighbours_become_neighbours():
    *steps, last = train_word2vec(sentences(), 9, FAST)
    assert last.vectors is not None and last.vectors.shape == (9, 16)
    assert not last.vectors[8].any()  # it does not occur
    assert all(step.vectors is None for step in steps)
    assert last.loss < steps[0].loss
    for token, twin in ((0, 1), (1, 0), (4, 5), (5, 4)):
        assert neighbours(last.vectors[:8], token, 1)[0][0] == twin


def test_the_seed_decides_everything():
    short = Word2VecConfig(dimensions=8, pairs=4_096, batch_size=256)
    one, same = (list(train_word2vec(sentences(500), 8, short))[-1].vectors for _ in range(2))
    other = list(
        train_word2vec(sentences(500), 8, Word2VecConfig(dimensions=8, pairs=4_096, batch_size=256, seed=1))
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other[-1].vectors)


def test_pairs_are_neighbours_near_ones_more_often_and_frequent_tokens_less():
    text = torch.arange(1_000)
    config = Word2VecConfig(window=4, batch_size=20_000)
    centre, other = draw_pairs(
        text, torch.ones(1_000, dtype=torch.float64), config, torch.Generator().manual_seed(0)
    )
    distance = (centre - other).abs().bincount(minlength=5)
    assert distance[0] == 0 and len(distance) == 5
    assert distance[1] > distance[2] > distance[3] > distance[4] > 0
    often = torch.tensor([0] * 900 + list(range(1, 101)))
    counts = often.bincount().double()
    centre, _ = draw_pairs(often, counts, config, torch.Generator().manual_seed(0))
    assert (centre == 0).double().mean() < 0.5


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(TextError, match="neighbour"):
        next(train_word2vec([3], 8, FAST))
    for change in ({"window": 0}, {"dimensions": 1}, {"learning_rate": math.nan}, {"pairs": 10**9}):
        with pytest.raises(LimitError, match=next(iter(change))):
            Word2VecConfig(**change)
