"""Embeddings: what the model's two tables have learned about tokens and positions, as maps and distances."""

import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from gpt2demo.errors import ConfigError, DivergedError, LimitError, check_range
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel

Array = NDArray[np.float32]

MAX_NEIGHBOURS = 100
SPECIAL_TOKENS = (b"", b"<pad>", b"<unk>", b" <unk>", b"<bos>", b"<eos>", b"<|endoftext|>")
TOKEN_KINDS = (
    "word start",  # Latin letters after a space: " the"
    "word part",  # Latin letters without one: "ing", or a single letter
    "capitalised",  # "The", " The", "T"
    "other script",  # Greek, Cyrillic, Chinese, …
    "digits",
    "punctuation",  # and symbols
    "whitespace",
    "byte",  # a piece of a character, or a control character
    "special",
)


@dataclass(frozen=True)
class Basis:
    """The directions of a PCA: fitted once, it shows other snapshots of a model from the same side."""

    mean: Array  # (C,)
    components: Array  # (n, C), orthogonal directions of length 1
    explained: NDArray[np.float64]  # (n,) share of the variance of the points it was fitted on

    def project(self, matrix: Array) -> Array:
        """Where other points lie on this map: (N, C) → (N, n)"""
        if matrix.ndim != 2 or matrix.shape[1] != self.mean.size:
            raise ValueError(f"expected points of {self.mean.size} numbers, got shape {matrix.shape}")
        return np.asarray((matrix - self.mean) @ self.components.T, dtype=np.float32)


@dataclass(frozen=True)
class Projection:
    """Points seen from their most telling side."""

    points: Array  # (N, n)
    explained: NDArray[np.float64]  # (n,) share of the whole variance that each axis shows
    basis: Basis


def token_embeddings(model: LanguageModel) -> Array:
    """A copy of the table of token vectors, wte.  → (V, C)"""
    return np.array(model.wte.weight.detach().cpu().numpy(), dtype=np.float32)


def position_embeddings(model: LanguageModel) -> Array:
    """A copy of the table of position vectors, wpe.  → (n_positions, C)"""
    if not isinstance(model, GPT2):
        raise ConfigError(
            f"This model is of the kind {model.config.architecture}.",
            "Only a GPT-2 has vectors for positions.",
            "Choose a GPT-2.",
        )
    return np.array(model.wpe.weight.detach().cpu().numpy(), dtype=np.float32)


def pca(matrix: Array, dimensions: int = 2) -> Projection:
    """The 2 or 3 directions in which the points differ most.  (N, C) → points (N, 2 or 3)

    Exact and without randomness: the same points always give the same picture, signs included.
    """
    check_range("dimensions", dimensions, 2, 3, integer=True)
    _check_matrix(matrix)
    if min(matrix.shape) < dimensions:
        raise LimitError(
            f"There are {matrix.shape[0]} points of {matrix.shape[1]} numbers.",
            f"A map in {dimensions} dimensions needs at least {dimensions} of each.",
            "Choose more tokens, or fewer dimensions.",
        )
    if np.ptp(matrix, axis=0).max() == 0:  # all in one place: any two directions do, and explain nothing
        components = np.eye(dimensions, matrix.shape[1], dtype=np.float32)
        basis = Basis(matrix[0].copy(), components, np.zeros(dimensions))
    else:
        # For many points the covariance gives the same directions in a tenth of the time; the mean is taken
        # off first, in double precision, so that points far from zero lose no digits.
        mean = np.float32(matrix.mean(axis=0, dtype=np.float64))
        many = matrix.shape[0] >= 10 * matrix.shape[1]
        fitted = PCA(n_components=dimensions, svd_solver="covariance_eigh" if many else "full")
        fitted.fit(matrix - mean)
        explained = np.float64(fitted.explained_variance_ratio_)
        basis = Basis(mean, np.float32(fitted.components_), explained)
    return Projection(basis.project(matrix), basis.explained, basis)


def neighbours(matrix: Array, row: int, k: int = 10) -> list[tuple[int, float]]:
    """The k rows that point most nearly the same way as `row`, nearest first, as (row, cosine).

    In the original space, with the mean taken off first: GPT-2's vectors all share one large common part that
    would make everything look alike. The row itself is left out. (N, C)
    """
    _check_matrix(matrix)
    check_range("token", row, 0, matrix.shape[0] - 1, integer=True)
    check_range("neighbours", k, 1, MAX_NEIGHBOURS, integer=True)
    directions = _directions(matrix - matrix.mean(axis=0))
    cosines = directions @ directions[row]
    cosines[row] = -np.inf
    nearest = np.argsort(-cosines, kind="stable")[: min(k, matrix.shape[0] - 1)]
    return [(int(i), float(cosines[i])) for i in nearest]


def position_similarity(matrix: Array, *, centred: bool = False) -> Array:
    """How alike every two positions are, as cosines from −1 to 1.  (P, C) → (P, P)

    centred: take off the mean of all positions first, which brings out how they differ.
    """
    _check_matrix(matrix)
    directions = _directions(matrix - matrix.mean(axis=0) if centred else matrix)
    return np.asarray((directions @ directions.T).clip(-1.0, 1.0), dtype=np.float32)


def drift(before: Array, after: Array) -> Array:
    """How far each vector has moved between two snapshots, in the original space.  (V, C) × 2 → (V,)"""
    if before.shape != after.shape:
        raise ValueError(f"two snapshots of one table have one shape, got {before.shape} and {after.shape}")
    return np.asarray(np.linalg.norm(after - before, axis=-1), dtype=np.float32)


def lengths(matrix: Array) -> Array:
    """The length of each vector.  (V, C) → (V,)"""
    return np.asarray(np.linalg.norm(matrix, axis=-1), dtype=np.float32)


def extent(points: Array, margin: float = 0.06) -> list[tuple[float, float]]:
    """From where to where a map of these points reaches along each axis, with a margin.  (N, n) → n pairs"""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.maximum((high - low) * margin, 1e-6)
    return list(zip((low - room).tolist(), (high + room).tolist(), strict=True))


def token_kind(data: bytes) -> str:
    """What sort of token these bytes are: one of TOKEN_KINDS."""
    if data in SPECIAL_TOKENS:
        return "special"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "byte"
    if text.isspace():
        return "whitespace"
    if any(unicodedata.category(c) == "Cc" and not c.isspace() for c in text):
        return "byte"
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return "digits" if any(c.isdigit() for c in text) else "punctuation"
    if not all(unicodedata.name(c, "").startswith("LATIN") for c in letters):
        return "other script"
    if letters[0].isupper():
        return "capitalised"
    return "word start" if text[0].isspace() else "word part"


def _directions(matrix: Array) -> Array:
    """Every row at length 1; a row of zeros, which points nowhere, stays as it is."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _check_matrix(matrix: Array) -> None:
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"expected a table with rows and columns, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise DivergedError(
            "The embeddings contain numbers that are NaN or infinite.",
            "Training must have diverged before this snapshot.",
            "Choose an earlier step.",
        )
