"""The loop that writes: read, choose a token, read that too. And the same eye turned on a given text.

It knows only token ids. `guard` is the shared model's lock: it is held for one forward pass at a time, never
while a token is on its way to the reader.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt2demo.errors import DivergedError, LimitError, TextError
from gpt2demo.generation.sampling import SamplingConfig, distribution, sample
from gpt2demo.model.cache import Cache
from gpt2demo.model.gpt2 import check_ids
from gpt2demo.model.language_model import LanguageModel

TOP = 20  # so many alternatives are recorded with every token
MAX_READ_TOKENS = 4_096
ROWS = 64  # positions scored at once: a whole context of GPT-2's logits would fill hundreds of megabytes

Guard = AbstractContextManager[object]
Logits = NDArray[np.float32]  # (V,), the model's score for every token of its vocabulary


class Alternative(NamedTuple):
    """A token that could have come at this place."""

    id: int
    logit: float  # the model's score
    logprob: float  # natural log of its probability under the model
    logprob_sampled: float  # the same after temperature and filters; −inf when cut


@dataclass(frozen=True, kw_only=True)
class TokenStep:
    """One token and everything the page shows about it."""

    index: int  # 0 for the first token written, or the place in a text that was read
    id: int
    logprob: float  # natural log of its probability under the model
    logprob_sampled: float  # the same after temperature and filters
    rank: int  # 1 when no token had a higher logit (of equals the lowest id comes first)
    entropy: float  # in nats: how undecided the model was; e**entropy is "between how many tokens"
    top: tuple[Alternative, ...]  # the likeliest 20, and the token itself where it is not among them


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How surprising a text was on average."""

    tokens: int
    nats: float  # mean of −logprob
    perplexity: float  # e**nats: the model was as unsure as between so many equally likely tokens


def prompt_window(prompt_ids: Sequence[int], n_positions: int) -> list[int]:
    """The part of a prompt that is read: all of it, or its last n_positions tokens where it is longer."""
    return list(prompt_ids[-n_positions:])


def context_window(prompt_ids: Sequence[int], written: Sequence[int], n_positions: int) -> list[int]:
    """What the model still has in view after writing: it keeps the last half whenever its context is full."""
    window = prompt_window(prompt_ids, n_positions)
    for id_ in written:
        window.append(id_)
        _slide(window, n_positions)
    return window


def _slide(window: list[int], n_positions: int) -> bool:
    """Keeps the last n_positions // 2 tokens of a context that has become too long. → whether it had"""
    if len(window) <= n_positions:
        return False
    del window[: -max(1, n_positions // 2)]
    return True


def generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    config: SamplingConfig,
    *,
    written: Sequence[int] = (),
    cached: bool = True,
    guard: Guard | None = None,
) -> Generator[TokenStep, None, None]:
    """Continues a prompt, one TokenStep at a time; the same seed gives the same text.

    When the context is full, the model keeps the last n_positions // 2 tokens, reads them afresh and goes on.
    written: what was written after the prompt before; the text goes on as if it had not been interrupted.
    cached=False reads the whole context for every token: slow and plain, it is what the cache is tested
    against. Raises TextError for an empty prompt (give a start token) and for ids the model does not know.
    """
    pairs = generate_with_logits(model, prompt_ids, config, written=written, cached=cached, guard=guard)
    return (step for step, _ in pairs)


def generate_with_logits(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    config: SamplingConfig,
    *,
    written: Sequence[int] = (),
    cached: bool = True,
    guard: Guard | None = None,
) -> Generator[tuple[TokenStep, Logits], None, None]:
    """Does what `generate` does, and hands out the scores that each token was chosen by."""
    _check_model(model)
    check_ids(prompt_ids, model.config.vocab_size)
    if written:
        check_ids(written, model.config.vocab_size)
    cache = model.new_cache() if cached else None
    return _generate(model, prompt_ids, config, written, cache, guard)


def _generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    config: SamplingConfig,
    written: Sequence[int],
    cache: Cache | None,
    guard: Guard | None,
) -> Generator[tuple[TokenStep, Logits], None, None]:
    generator = torch.Generator().manual_seed(int(config.seed))
    for _ in written:  # the same draws as before, so that the luck goes on where it was
        sample(torch.zeros(model.config.vocab_size, dtype=torch.float64), generator)
    n_positions = model.config.n_positions
    window = context_window(prompt_ids, written, n_positions)
    for index in range(len(written), len(written) + int(config.max_new_tokens)):
        unread = window if cache is None else window[cache.length :]
        logits = _forward(model, unread, cache, guard, last=1)
        step = _choose(logits, config, generator, index)
        yield step, logits[0].numpy()  # outside of every lock: the reader may take his time, or never return
        window.append(step.id)
        if _slide(window, n_positions) and cache is not None:
            cache.truncate(0)


@torch.inference_mode()
def chosen_instead(logits: Logits, id_: int, config: SamplingConfig, index: int) -> TokenStep:
    """The record of a token that a person put in place of the one that was drawn from the same scores."""
    check_ids([id_], len(logits))
    scores = torch.from_numpy(logits)[None]  # (1, V)
    return _describe(scores, [id_], distribution(scores, config).logprobs, index)[0]


def next_token_logits(
    model: LanguageModel, prompt_ids: Sequence[int], *, guard: Guard | None = None
) -> Tensor:
    """The model's scores for what may follow a prompt, to try temperature and filters on.  → (V,) float32"""
    _check_model(model)
    check_ids(prompt_ids, model.config.vocab_size)
    return _forward(model, prompt_window(prompt_ids, model.config.n_positions), None, guard, last=1)[0]


def read_text(
    model: LanguageModel, ids: Sequence[int], *, start_id: int | None = None, guard: Guard | None = None
) -> tuple[TokenStep, ...]:
    """Scores a given text: how likely the model found each token after those before it.

    start_id: a token put in front, so that the first token is scored too; without it there is nothing to
    predict that one from, and the steps begin with index 1. A text longer than the context is read in windows
    that overlap by half, so every token is scored with at least half a context before it. Raises LimitError
    beyond 4,096 tokens, TextError when there is nothing to score.
    """
    _check_model(model)
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
        logits = _forward(model, text[start:end], None, guard, last=end - first)
        targets = text[first + 1 : end + 1]
        for row in range(0, len(targets), ROWS):
            steps += _score(logits[row : row + ROWS], targets[row : row + ROWS], first + row + 1 + shift)
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
def _forward(
    model: LanguageModel, ids: Sequence[int], cache: Cache | None, guard: Guard | None, *, last: int
) -> Tensor:
    """One forward pass under the guard; the logits of the last positions.  → (last, V)"""
    with guard or nullcontext():
        input_ids = torch.tensor([ids], device=model.device)
        logits: Tensor = model(input_ids, cache)[0, -last:].float().cpu()  # (last, V)
    if not bool(torch.isfinite(logits).all()):
        raise DivergedError(
            "The model's scores are not numbers.",
            "Its weights must have been damaged while training: the loss became infinite.",
            "Choose an earlier step of this model, or another one.",
        )
    return logits.clone()  # the rows before them may be thousands of times as big


@torch.inference_mode()
def _choose(logits: Tensor, config: SamplingConfig, generator: torch.Generator, index: int) -> TokenStep:
    """Draws a token from the logits (1, V) and records what there was to choose from."""
    logprobs = distribution(logits, config).logprobs
    return _describe(logits, [sample(logprobs[0], generator)], logprobs, index)[0]


@torch.inference_mode()
def _score(logits: Tensor, ids: list[int], first_index: int) -> list[TokenStep]:
    """Records the tokens of a text, of which nothing was cut.  (N, V) → N steps"""
    return _describe(logits, ids, None, first_index)


def _describe(
    logits: Tensor, ids: list[int], logprobs_sampled: Tensor | None, first_index: int
) -> list[TokenStep]:
    """One TokenStep per row of logits (N, V); in double precision, so that e**logprob sums to 1."""
    logprobs = logits.double().log_softmax(dim=-1)
    sampled = logprobs if logprobs_sampled is None else logprobs_sampled
    chosen = torch.tensor(ids)[:, None]  # (N, 1)
    score = logits.gather(-1, chosen)
    earlier = torch.arange(logits.size(-1)) < chosen
    ranks = 1 + ((logits > score) | (logits == score) & earlier).sum(dim=-1)
    entropies = -(logprobs.exp() * logprobs).sum(dim=-1)
    best = torch.cat([logits.topk(min(TOP, logits.size(-1)), dim=-1).indices, chosen], dim=-1)  # (N, 21)
    columns = (best, logits.gather(-1, best), logprobs.gather(-1, best), sampled.gather(-1, best))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    steps = []
    for i, (row, rank, entropy) in enumerate(zip(rows, ranks.tolist(), entropies.tolist(), strict=True)):
        *top, own = (Alternative(*values) for values in zip(*row, strict=True))
        top.sort(key=lambda alternative: (-alternative.logit, alternative.id))
        steps.append(
            TokenStep(
                index=first_index + i,
                id=own.id,
                logprob=own.logprob,
                logprob_sampled=own.logprob_sampled,
                rank=rank,
                entropy=entropy,
                top=tuple(top if own in top else [*top, own]),
            )
        )
    return steps


def _check_model(model: LanguageModel) -> None:
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout changes what it says: call model.eval()"
        )
