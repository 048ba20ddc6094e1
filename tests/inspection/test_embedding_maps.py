"""Embeddings: maps are exact and repeatable, neighbours those of the original space, kinds fit the bytes."""

import numpy as np
import pytest
import torch

from gpt2demo.errors import DivergedError, LimitError
from gpt2demo.inspection.embeddings import (
    TOKEN_KINDS,
    drift,
    neighbours,
    pca,
    position_embeddings,
    position_similarity,
    token_embeddings,
    token_kind,
)
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2


def points(rows: int = 60, columns: int = 8, seed: int = 1) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(rows, columns)) * np.arange(columns, 0, -1) + 5
    return matrix.astype(np.float32)


def test_the_tables_are_copies():
    model = GPT2(GPT2Config(vocab_size=41, n_positions=24, n_embd=32, n_layer=2, n_head=2))
    tokens, positions = token_embeddings(model), position_embeddings(model)
    assert tokens.shape == (41, 32) and positions.shape == (24, 32) and tokens.dtype == np.float32
    assert np.array_equal(tokens, model.wte.weight.detach().numpy())
    before = tokens.copy()
    with torch.no_grad():
        model.wte.weight.zero_()
    assert np.array_equal(tokens, before)


@pytest.mark.parametrize("rows", [5, 30, 200])  # the last is many enough for the shortcut over the covariance
@pytest.mark.parametrize("dimensions", [2, 3])
def test_pca_is_the_singular_value_decomposition(rows, dimensions):
    matrix = points(rows)
    projection = pca(matrix, dimensions)
    _, sizes, directions = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    assert projection.points.shape == (rows, dimensions) and projection.points.dtype == np.float32
    assert projection.explained == pytest.approx((sizes**2 / (sizes**2).sum())[:dimensions], rel=1e-4)
    along = np.abs(np.sum(projection.basis.components * directions[:dimensions], axis=1))
    assert along == pytest.approx(np.ones(dimensions), abs=1e-4)
    assert np.allclose(projection.points.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("rows", [30, 200])
def test_pca_loses_no_digits_far_from_zero(rows):
    near, far = pca(points(rows), 3), pca(points(rows) + 1024, 3)
    assert np.allclose(far.explained, near.explained, atol=1e-4)
    assert np.allclose(far.points, near.points, atol=1e-2)


@pytest.mark.parametrize("rows", [30, 200])
def test_pca_has_no_randomness_and_its_signs_are_fixed(rows):
    matrix = points(rows)
    projection = pca(matrix, 3)
    assert np.array_equal(pca(matrix.copy(), 3).points, projection.points)
    for direction in projection.basis.components:
        assert direction[np.abs(direction).argmax()] > 0
    mirrored = pca(-matrix, 3)  # the same cloud seen from behind: same directions, opposite points
    assert np.allclose(mirrored.points, -projection.points, atol=1e-3)


def test_one_basis_shows_every_snapshot_from_the_same_side():
    before = points()
    projection = pca(before)
    assert np.array_equal(projection.basis.project(before), projection.points)
    moved = before + 0.5 * projection.basis.components[0]
    assert np.allclose(projection.basis.project(moved) - projection.points, [0.5, 0], atol=1e-4)
    with pytest.raises(ValueError, match="8 numbers"):
        projection.basis.project(points(columns=7))


def test_points_in_one_place_are_no_error():
    projection = pca(np.ones((6, 4), dtype=np.float32))
    assert not projection.points.any() and projection.explained.tolist() == [0, 0]


@pytest.mark.parametrize("dimensions", [1, 4, 2.5, None])
def test_maps_have_two_or_three_dimensions(dimensions):
    with pytest.raises(LimitError):
        pca(points(), dimensions)


def test_a_map_needs_enough_points_and_real_numbers():
    with pytest.raises(LimitError, match="2 points"):
        pca(points(rows=2), 3)
    broken = points()
    broken[3, 3] = np.nan
    for function in (pca, position_similarity, lambda matrix: neighbours(matrix, 0)):
        with pytest.raises(DivergedError):
            function(broken)
        with pytest.raises(ValueError, match="rows and columns"):
            function(np.zeros((0, 4), dtype=np.float32))


def test_neighbours_are_the_most_similar_by_centred_cosine():
    matrix = points()
    centred = matrix - matrix.mean(axis=0)
    cosines = centred @ centred[7] / np.linalg.norm(centred, axis=1) / np.linalg.norm(centred[7])
    expected = [i for i in np.argsort(-cosines) if i != 7][:5]
    found = neighbours(matrix, 7, 5)
    assert [row for row, _ in found] == expected
    assert [cosine for _, cosine in found] == pytest.approx([cosines[i] for i in expected], abs=1e-5)
    assert all(type(row) is int and type(cosine) is float for row, cosine in found)


def test_centring_changes_who_is_near():
    matrix = np.array([[10, 1], [10, -1], [11, 1.2], [10, -3]], dtype=np.float32)
    assert neighbours(matrix, 0, 1)[0][0] == 2


def test_a_token_is_not_its_own_neighbour_but_its_double_is():
    matrix = points()
    matrix[20] = matrix[7]
    assert neighbours(matrix, 7, 1) == [(20, pytest.approx(1))]
    assert 7 not in [row for row, _ in neighbours(matrix, 7, 100)] and len(neighbours(matrix, 7, 100)) == 59


@pytest.mark.parametrize(("row", "k"), [(-1, 5), (60, 5), (1.5, 5), (0, 0), (0, 101)])
def test_neighbours_out_of_range_are_refused(row, k):
    with pytest.raises(LimitError):
        neighbours(points(), row, k)


def test_position_similarity_is_a_map_of_cosines():
    matrix = points(rows=12)
    matrix[3] = 0  # a position that was never trained points nowhere
    similarity = position_similarity(matrix)
    assert similarity.shape == (12, 12) and np.allclose(similarity, similarity.T)
    assert np.allclose(np.delete(similarity.diagonal(), 3), 1) and not similarity[3].any()
    assert similarity[0, 1] == pytest.approx(
        matrix[0] @ matrix[1] / np.linalg.norm(matrix[0]) / np.linalg.norm(matrix[1]), abs=1e-6
    )
    assert np.abs(similarity).max() <= 1
    assert np.allclose(
        position_similarity(matrix + 3, centred=True), position_similarity(matrix, centred=True), atol=1e-4
    )


def test_drift_is_the_distance_each_vector_moved():
    before = points()
    after = before.copy()
    after[4, :2] += [3, 4]
    assert drift(before, after).tolist() == [0] * 4 + [pytest.approx(5)] + [0] * 55
    with pytest.raises(ValueError, match="shape"):
        drift(before, after[:5])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (" the", "word start"),
        ("\nso", "word start"),
        ("ing", "word part"),
        ("'s", "word part"),
        ("é", "word part"),
        ("The", "capitalised"),
        (" The", "capitalised"),
        ("Q", "capitalised"),
        ("42", "digits"),
        (" 1.5", "digits"),
        ("...", "punctuation"),
        (" —", "punctuation"),
        ("😀", "punctuation"),
        ("。", "punctuation"),
        (" ", "whitespace"),
        ("\n\n", "whitespace"),
        ("\t", "whitespace"),
        ("中文", "other script"),
        ("мир", "other script"),
        (" λ", "other script"),
        ("\x07", "byte"),
        (b"\xe4\xb8", "byte"),
        (b"\xff", "byte"),
        ("<|endoftext|>", "special"),
        ("<pad>", "special"),
        (" <unk>", "special"),
        ("", "special"),
    ],
)
def test_the_kind_of_a_token(data, kind):
    assert token_kind(data if isinstance(data, bytes) else data.encode()) == kind
    assert kind in TOKEN_KINDS


def test_every_single_byte_has_a_kind():
    assert {token_kind(bytes([value])) for value in range(256)} <= set(TOKEN_KINDS)
