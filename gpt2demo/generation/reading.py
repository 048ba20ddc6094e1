"""A model's eye turned on a text that is already there: how surprising it found every token."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2demo.errors import LimitError, TextError
from gpt2demo.generation.records import TokenStep, check_finite, describe
from gpt2demo.generation.writing import Guard
from gpt2demo.model.gpt2 import check_ids
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import overlapping_windows
from gpt2demo.text.tokenizers import Tokenizer

MAX_READ_TOKENS = 4_096
MAX_READ_CHARACTERS = 20_000
ROWS = 64  # positions scored at once: a whole context of GPT-2's logits would fill hundreds of megabytes


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How surprising a text was on average."""

    tokens: int
    nats: float  # mean of −logprob
    perplexity: float  # e**nats: the model was as unsure as between so many equally likely tokens


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How well a model foretold the tokens of a text."""

    tokens: int  # that were scored
    characters: int  # that these tokens stand for
    perplexity: float  # the model was as unsure as between so many equally likely tokens
    bits_per_character: float | None  # None where no token stands for any character
    accuracy: float  # share of the tokens that were the model's first guess


def readable(text: object) -> str:
    """A text that somebody wants to have read, with plain newlines, as texts for training have them.

    Raises TextError for what is no text or empty, LimitError beyond 20,000 characters.
    """
    if not isinstance(text, str):
        kind = "not given" if text is None else f"{type(text).__name__}, not text"
        raise TextError(f"The text to read is {kind}.", "It must be text.", "Paste a few sentences.")
    if not text:
        raise TextError(
            "There is no text to read.", "At least one character is needed.", "Paste a few sentences."
        )
    if len(text) > MAX_READ_CHARACTERS:
        raise LimitError(
            f"The text to read has {len(text):,} characters.",
            f"At most {MAX_READ_CHARACTERS:,} can be read at once.",
            "Give a shorter part of it.",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
    for start, end in overlapping_windows(len(text) - 1, model.config.n_positions):
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


def measures(steps: Sequence[TokenStep], tokenizer: Tokenizer) -> Measures:
    """What the surprise at a text comes to, also per character, so that tokenizers can be compared.

    Bits per character are the bits of all scored tokens, divided by the characters that these tokens stand
    for. So a first token that nothing stood before counts in neither; nor does a special token, which stands
    for no characters, or for a word that nobody knows (<unk>). A word counts with the space before it.
    """
    spelled = [step for step in steps if step.id not in tokenizer.special_ids]
    characters = sum(map(characters_begun, (tokenizer.token_bytes(step.id) for step in spelled)))
    bits = -math.fsum(step.logprob for step in spelled) / math.log(2)
    return Measures(
        tokens=len(steps),
        characters=characters,
        perplexity=perplexity(steps).perplexity,
        bits_per_character=bits / characters if characters else None,
        accuracy=sum(step.rank == 1 for step in steps) / len(steps),
    )


def characters_begun(data: bytes) -> int:
    """How many characters begin in a part of a UTF-8 text: one of several tokens counts with the first."""
    return sum(byte & 0xC0 != 0x80 for byte in data)


@torch.inference_mode()
def _forward(model: LanguageModel, ids: Sequence[int], guard: Guard | None, *, last: int) -> Tensor:
    """One forward pass under the guard; the logits of the last positions.  → (last, V)"""
    with guard or nullcontext():
        logits: Tensor = model(torch.tensor([ids], device=model.device))[0, -last:].float().cpu()
    check_finite(logits)
    return logits
