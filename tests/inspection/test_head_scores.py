"""Head scores: ideal heads score 1, others 0, and the summaries are what their papers say."""

import threading

import numpy as np
import pytest
import torch

from gpt2demo.errors import LimitError
from gpt2demo.inspection.attention import (
    HeadScores,
    badges,
    duplicate_token_score,
    first_token_score,
    head_mean,
    head_scores,
    induction_score,
    previous_token_score,
    rollout,
    without_first_token,
)
from gpt2demo.inspection.capture import capture
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2

R = 6
TOKENS = [11, 12, 13, 14, 15, 16] * 2  # R different tokens, repeated


def reading(target) -> np.ndarray:
    """A head whose token i reads token target(i) only: (1, 1, T, T)."""
    attention = np.zeros((1, 1, 2 * R, 2 * R), dtype=np.float32)
    for i in range(2 * R):
        attention[0, 0, i, max(0, target(i))] = 1
    return attention


PREVIOUS = reading(lambda i: i - 1)
FIRST = reading(lambda i: 0)
DUPLICATE = reading(lambda i: i - R)
INDUCTION = reading(lambda i: i - R + 1 if i >= R else i)


def all_scores(attention: np.ndarray) -> list[float]:
    return [
        previous_token_score(attention).item(),
        first_token_score(attention).item(),
        duplicate_token_score(attention, TOKENS).item(),
        induction_score(attention, TOKENS).item(),
    ]


def test_an_ideal_head_scores_one_for_its_kind():
    assert all_scores(PREVIOUS) == [1, pytest.approx(1 / 11), 0, 0]
    assert all_scores(FIRST) == [pytest.approx(1 / 11), 1, pytest.approx(1 / 6), 0]
    assert all_scores(DUPLICATE) == [pytest.approx(1 / 11), pytest.approx(6 / 11), 1, 0]
    assert all_scores(INDUCTION) == [0, 0, 0, 1]


def test_induction_is_the_diagonal_that_starts_one_after_the_copy():
    attention = np.random.default_rng(1).random((3, 2, 2 * R, 2 * R))
    expected = np.mean([attention[:, :, i, i - R + 1] for i in range(R, 2 * R)], axis=0)
    assert np.allclose(induction_score(attention, TOKENS), expected)


def test_several_earlier_copies_count_together():
    tokens = [5, 6, 5, 7, 5]
    attention = np.full((1, 1, 5, 5), 0.1)
    # Token 4 may read copies 0 and 2, token 2 may read copy 0: 0.2 and 0.1.
    assert duplicate_token_score(attention, tokens).item() == pytest.approx(0.15)
    # What followed them: 1 and 3 for token 4, 1 for token 2.
    assert induction_score(attention, tokens).item() == pytest.approx(0.15)


def test_a_token_directly_after_its_copy_does_not_read_itself_by_induction():
    assert np.isnan(induction_score(np.ones((1, 1, 2, 2)), [4, 4])).all()


def test_without_repetition_there_is_nothing_to_measure():
    attention = np.ones((2, 3, 4, 4)) / 4
    assert np.isnan(duplicate_token_score(attention, [1, 2, 3, 4])).all()
    assert np.isnan(induction_score(attention, [1, 2, 3, 4])).all()
    assert np.isnan(previous_token_score(attention[:, :, :1, :1])).all()
    assert np.isnan(first_token_score(attention[:, :, :1, :1])).all()
    assert previous_token_score(attention).shape == (2, 3)


def test_tokens_and_attention_must_fit():
    with pytest.raises(ValueError, match="T = 3"):
        induction_score(np.ones((1, 1, 4, 4)), [1, 2, 1])


def make_model(n_positions: int = 24, vocab_size: int = 41) -> GPT2:
    config = GPT2Config(vocab_size=vocab_size, n_positions=n_positions, n_embd=32, n_layer=2, n_head=2)
    return GPT2(config, seed=1).eval()


def test_head_scores_are_reproducible_and_leave_the_lock_free():
    model, lock = make_model(), threading.Lock()
    scores = head_scores(model, seed=3, guard=lock)
    again, other = head_scores(model, seed=3), head_scores(model, seed=4)
    assert scores.period == 12 and not lock.locked()
    for name in ("previous", "induction", "duplicate", "first"):
        values = getattr(scores, name)
        assert values.shape == (2, 2) and (values >= 0).all() and (values <= 1).all()
        assert np.array_equal(values, getattr(again, name))
        assert not np.array_equal(values, getattr(other, name))


def test_a_head_built_to_read_the_previous_token_gets_its_badge():
    model = make_model()
    with torch.no_grad():
        # Positions as angles on a circle; keys of head 0 in layer 0 are queries turned one step further.
        model.wte.weight.zero_()
        model.wpe.weight.zero_()
        angles = torch.arange(24) * 2 * torch.pi / 24
        model.wpe.weight[:, 0], model.wpe.weight[:, 1] = angles.cos(), angles.sin()
        model.wpe.weight[:, 2], model.wpe.weight[:, 3] = -angles.cos(), -angles.sin()  # mean 0 for ln_1
        qkv, step = model.h[0].attn.c_attn.weight, torch.tensor(2 * torch.pi / 24)
        qkv[:96] = 0
        qkv[0, 0], qkv[0, 1] = 20 * step.cos(), 20 * step.sin()
        qkv[1, 0], qkv[1, 1] = -20 * step.sin(), 20 * step.cos()
        qkv[32, 0], qkv[33, 1] = 20, 20
    scores = head_scores(model)
    assert scores.previous[0, 0] > 0.99
    assert badges(scores)[0, 0] == "previous"
    assert badges(scores)[0, 1] == ""


def test_the_random_tokens_all_differ_and_begin_with_the_start_token(monkeypatch):
    texts = []

    def spy(model, tokens, **settings):
        texts.append(tokens)
        return capture(model, tokens, **settings)

    monkeypatch.setattr("gpt2demo.inspection.attention.capture", spy)
    assert head_scores(make_model(), start_id=7).period == 11
    assert len(texts) == 16 and len({tuple(text) for text in texts}) == 16
    for text in texts:
        assert text[0] == 7 and text[1:12] == text[12:] and len(set(text)) == 12


def test_only_the_tokens_that_the_model_has_met_are_drawn(monkeypatch):
    drawn = set()

    def spy(model, tokens, **settings):
        drawn.update(tokens)
        return capture(model, tokens, **settings)

    monkeypatch.setattr("gpt2demo.inspection.attention.capture", spy)
    met = [3, 5, 5, 8, 9, 21, 40]  # a text says some of its tokens twice
    assert head_scores(make_model(), tokens=met).period == 6
    assert drawn == {3, 5, 8, 9, 21, 40}


def test_a_small_model_is_measured_with_what_fits():
    assert head_scores(make_model(vocab_size=5)).period == 5
    for small in (make_model(n_positions=3), make_model(vocab_size=1)):
        with pytest.raises(LimitError, match="larger model"):
            head_scores(small)
    with pytest.raises(LimitError, match="knows 1 different"):
        head_scores(make_model(), tokens=[4, 4, 4])


def test_badges_name_the_best_kind_above_its_threshold():
    def row(*values: float) -> np.ndarray:
        return np.array([values])

    scores = HeadScores(
        previous=row(0.5, 0.49, 0.6, 0.0, 0.0),
        induction=row(0.0, 0.29, 0.9, 0.3, 0.0),
        duplicate=row(0.0, 0.29, 0.0, 0.31, 0.0),
        first=row(0.0, 0.59, 0.0, 0.0, 0.6),
        period=8,
    )
    assert badges(scores).tolist() == [["previous", "", "induction", "duplicate", "first"]]


def causal_attention() -> np.ndarray:
    attention = np.tril(np.random.default_rng(1).random((3, 2, 5, 5)))
    return attention / attention.sum(axis=-1, keepdims=True)


def test_without_the_first_token_rows_sum_to_one_again():
    attention = causal_attention()
    before = attention.copy()
    rest = without_first_token(attention)
    assert np.array_equal(attention, before)
    assert not rest[..., 0].any() and not rest[..., 0, :].any()
    assert np.allclose(rest[..., 1:, :].sum(axis=-1), 1)
    assert np.allclose(rest[..., 3, 2] / rest[..., 3, 1], attention[..., 3, 2] / attention[..., 3, 1])
    assert not without_first_token(FIRST).any()  # nothing else was read: no NaN


def test_head_mean_is_the_mean():
    attention = causal_attention()
    assert np.allclose(head_mean(attention), (attention[:, 0] + attention[:, 1]) / 2)


def test_rollout_multiplies_attention_and_residual_up_the_layers():
    attention = causal_attention()
    mixed = [0.5 * layer.mean(axis=0) + 0.5 * np.eye(5) for layer in attention]
    reached = rollout(attention)
    assert reached.shape == (3, 5, 5)
    assert np.allclose(reached[0], mixed[0])
    assert np.allclose(reached[2], mixed[2] @ mixed[1] @ mixed[0])
    assert np.allclose(reached.sum(axis=-1), 1) and not np.triu(reached, k=1).any()
