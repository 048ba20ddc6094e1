"""Attention, simplified and weighed: the formulas of their papers, on a model whose every answer is known."""

import numpy as np
import pytest
import torch

from gpt2demo.errors import LimitError
from gpt2demo.inspection.attention import (
    contributions,
    duplicate_cells,
    duplicate_token_score,
    head_mean,
    head_scores,
    head_steps,
    induction_cells,
    induction_score,
    layer_mean,
    previous_cells,
    previous_token_score,
    rollout,
    rows_to_one,
)
from gpt2demo.inspection.capture import capture
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from tests.inspection.induction_model import START, V, induction_model

TEXT = [START, 5, 7, 3, 9, 5, 7, 2]
T = len(TEXT)
COPIES = {5: 1, 6: 2}  # place of a token: that of its earlier copy


def reading(target) -> np.ndarray:
    """A head whose token i reads token target(i) only.  → (T, T)"""
    return np.eye(T)[[target(i) for i in range(T)]]


ALIKE = np.tril(np.ones((T, T))) / np.arange(1, T + 1)[:, None]
IDEAL = np.array(
    [
        [reading(lambda i: max(0, i - 1)), ALIKE],
        [reading(lambda i: COPIES[i] + 1 if i in COPIES else 0), ALIKE],
    ]
)


@pytest.fixture(scope="module")
def model() -> GPT2:
    return induction_model()


@pytest.fixture(scope="module")
def seen(model):
    return capture(model, TEXT, what=["queries", "keys", "values", "logits"])


def test_the_model_built_by_hand_is_an_induction_head(model, seen):
    assert np.allclose(seen.attention, IDEAL, atol=1e-6)
    assert seen.logits[5].argmax() == 7 and seen.logits[6].argmax() == 3
    assert np.abs(seen.logits[[0, 1, 2, 3, 4, 7]]).max() < 1e-4  # nothing to repeat: nothing is said
    scores = head_scores(model, start_id=START, tokens=range(V))
    assert scores.previous[0, 0] > 0.999 and scores.induction[1, 0] > 0.999
    assert scores.induction.round(2).tolist()[0] == [0, 0.06] and scores.duplicate[1, 0] < 1e-6


def their_pattern(kind: str, tokens: list[int]) -> np.ndarray:
    """What TransformerLens's head detector looks for, written anew from what its documentation says."""
    length = range(len(tokens))
    same = np.array([[float(tokens[i] == tokens[j] and j < i) for j in length] for i in length])
    if kind == "previous":
        return np.array([[float(j == i - 1) for j in length] for i in length])
    if kind == "duplicate":
        return same
    shifted = np.concatenate([np.zeros((len(tokens), 1)), same[:, :-1]], axis=1)
    return np.tril(shifted)


@pytest.mark.parametrize("tokens", [[1, 2, 3, 1, 2, 3], [4, 4, 5, 4, 4], [1, 2, 1, 2, 1, 2], [7, 8, 9]])
def test_the_detectors_are_those_of_transformer_lens(tokens):
    attention = np.tril(np.random.default_rng(3).random((2, 2, len(tokens), len(tokens))))
    attention /= attention.sum(axis=-1, keepdims=True)
    without_self = attention * (1 - np.eye(len(tokens)))
    kinds = {
        "previous": (previous_cells(len(tokens)), previous_token_score(attention), attention),
        "duplicate": (duplicate_cells(tokens), duplicate_token_score(attention, tokens), attention),
        "induction": (induction_cells(tokens), induction_score(attention, tokens), without_self),
    }
    for kind, (cells, score, counted) in kinds.items():
        theirs = their_pattern(kind, tokens)
        rows = cells.any(axis=1).sum()
        if not rows:
            assert np.isnan(score).all() and not theirs.any()
            continue
        off_diagonal = theirs * (1 - np.eye(len(tokens))) if kind == "induction" else theirs
        assert np.array_equal(cells, off_diagonal)
        multiplied = (counted * theirs).sum(axis=(-2, -1)) / len(tokens)  # rows of attention sum to 1
        assert np.allclose(score * rows / len(tokens), multiplied)


def test_means_over_heads_and_layers(seen):
    assert np.allclose(head_mean(seen.attention), IDEAL.mean(1), atol=1e-6)
    assert np.allclose(layer_mean(seen.attention), IDEAL.mean((0, 1)), atol=1e-6)
    assert np.allclose(rows_to_one(3 * IDEAL), IDEAL) and not rows_to_one(np.zeros((2, 3, 3))).any()


def test_rollout_finds_the_way_through_both_heads(seen):
    flow = rollout(seen.attention)[-1]
    # To place 2 from each place, one layer up: itself, the previous-token head, or the head that reads alike.
    first = {2: 0.5 + 0.25 / 3, 3: 0.25 + 0.25 / 4, 4: 0.25 / 5, 5: 0.25 / 6, 6: 0.25 / 7}
    # From place 6, two layers up: the induction head reads place 3, the other all alike, and half stays.
    assert flow[6, 2] == pytest.approx(0.25 * first[3] + 0.25 / 7 * sum(first.values()) + 0.5 * first[6])
    half = [0.5 * layer.mean(0) + 0.5 * np.eye(T) for layer in IDEAL]
    assert np.allclose(flow, half[1] @ half[0], atol=1e-6)
    assert np.allclose(flow.sum(-1), 1)


def test_a_head_that_writes_nothing_contributes_nothing_wherever_it_looks(model, seen):
    given = contributions(model, seen)
    assert not given[:, 1].any() and seen.attention[:, 1].any()
    note = 2**0.5  # each token is noted as 1 and −1
    assert np.allclose(given[0, 0], note * IDEAL[0, 0], atol=1e-4)
    spoken = IDEAL[1, 0].copy()
    spoken[:, 0] = 0  # it rests on START and writes nothing of it
    assert np.allclose(given[1, 0], note * spoken, atol=1e-4)
    assert np.allclose(rows_to_one(given)[1, 0, 5:7], spoken[5:7], atol=1e-6)  # the others have no sum
    with pytest.raises(ValueError, match="values"):
        contributions(model, capture(model, TEXT))


def test_contributions_are_the_lengths_of_what_adds_up_to_a_heads_output():
    wild = GPT2(GPT2Config(vocab_size=V, n_positions=8, n_embd=8, n_layer=1, n_head=2), seed=3).eval()
    with torch.no_grad():
        wild.h[0].attn.c_proj.weight.normal_(generator=torch.Generator().manual_seed(1))
    seen = capture(wild, TEXT, what=["values", "head_outputs"])
    matrix = wild.h[0].attn.c_proj.weight.detach().numpy()  # (C, C)
    for head in range(2):
        columns = slice(4 * head, 4 * head + 4)
        parts = np.einsum("ij,jd,cd->ijc", seen.attention[0, head], seen.values[0, head], matrix[:, columns])
        assert np.allclose(contributions(wild, seen)[0, head], np.linalg.norm(parts, axis=-1), atol=1e-6)
        assert np.allclose(parts.sum(1), seen.head_outputs[0, head], atol=1e-6)


def test_the_steps_of_a_head_lead_to_its_attention(seen):
    steps = head_steps(seen, 1, 0)
    q, k = seen.queries[1, 0].astype(np.float64), seen.keys[1, 0].astype(np.float64)
    assert steps.products[6, 3] == pytest.approx(q[6] @ k[3])
    assert np.allclose(steps.products / np.sqrt(q.shape[1]), steps.scaled, rtol=1e-5)
    future = np.triu(np.ones((T, T), dtype=bool), k=1)
    assert (steps.masked[future] == -np.inf).all() and np.isfinite(steps.scaled).all()
    assert np.array_equal(steps.masked[~future], steps.scaled[~future])
    shares = np.exp(steps.masked - steps.masked.max(-1, keepdims=True))
    assert np.allclose(rows_to_one(shares), steps.weights, atol=1e-6)
    for wrong in ((2, 0), (0, 2), (-1, 0)):
        with pytest.raises(LimitError):
            head_steps(seen, *wrong)
