"""A model's eye turned on a text that is already there: how surprising it found every token."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2demo.errors import LimitError, TextError
from gpt2demo.generation.records import TokenStep, check_finite, describe
from gpt2demo.generation.writing import Guard
from gpt2demo.model.gpt2 import check_ids
from gpt2demo.model.language_model import LanguageModel

MAX_READ_TOKENS = 4_096
ROWS = 64  # positions scored at once: a whole context of GPT-2's logits would fill hundreds of megabytes


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How surprising a text was on average."""

    tokens: int
    nats: float  # mean of −logprob
    perplexity: float  # e**nats: the model was as unsure as between so many equally likely tokens


def read_text(
    model: LanguageModel, ids: Sequence[int], *, start_id: int | None = None, guard: Guard | None = None
) -> tuple[TokenStep, ...]:
    """Scores a given text: how likely the model found each token after those before it.

    start_id: a token put in front, so that the first token is scored too; without it there is nothing to
    predict that one from, and the steps begin with index 1. A text longer than the context is read in windows
    that overlap by half, so every token is scored with at least half a context before it. Raises LimitError
    beyond 4,096 tokens, TextError when there is nothing to score.
    """
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout changes what it says: call model.eval()"
        )
    if len(ids) > MAX_READ_TOKENS:
        raise LimitError(
            f"The text has {len(ids):,} tokens.",
            f"At most {MAX_READ_TOKENS:,} can be scored at once.",
            "Give a shorter part of it.",
        )
    text = list(ids) if start_id is None else [start_id, *ids]
    check_ids(text, model.config.vocab_size)
    if len(text) < 2:
        raise TextError(
            "The text is a single token.",
            "Scoring needs a token before it.",
            "Give a longer text, or a start token.",
        )
    shift = len(ids) - len(text)  # −1 with a start token: indices count the text's own tokens
    steps: list[TokenStep] = []
    for start, end in _windows(len(text) - 1, model.config.n_positions):
        first = len(steps)  # tokens before this one were scored by the window before
        logits = _forward(model, text[start:end], guard, last=end - first)
        targets = text[first + 1 : end + 1]
        for row in range(0, len(targets), ROWS):
            ids_ = torch.tensor(targets[row : row + ROWS])
            indices = range(first + row + 1 + shift, first + row + 1 + shift + len(ids_))
            steps += describe(logits[row : row + ROWS], ids_, None, indices)
    return tuple(steps)


def perplexity(steps: Sequence[TokenStep]) -> Perplexity:
    """The average surprise of tokens that were read or written."""
    nats = -math.fsum(step.logprob for step in steps) / len(steps)
    return Perplexity(tokens=len(steps), nats=nats, perplexity=math.exp(nats) if nats < 700 else math.inf)


def _windows(length: int, n_positions: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts that a long text is read in; each begins half a context after the last."""
    start, end = 0, min(length, n_positions)
    yield start, end
    while end < length:
        start += max(1, n_positions // 2)
        end = min(length, start + n_positions)
        yield start, end


@torch.inference_mode()
def _forward(model: LanguageModel, ids: Sequence[int], guard: Guard | None, *, last: int) -> Tensor:
    """One forward pass under the guard; the logits of the last positions.  → (last, V)"""
    with guard or nullcontext():
        logits: Tensor = model(torch.tensor([ids], device=model.device))[0, -last:].float().cpu()
    check_finite(logits)
    return logits
