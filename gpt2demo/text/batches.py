"""Documents → one long row of tokens → a training and a validation part → the batches a model is fed.

Shapes: N tokens in a part, B windows in a batch, T tokens in a window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2demo.text.corpus import Corpus, encode_documents, split_sizes, too_short
from gpt2demo.text.tokenizers import Tokenizer


@dataclass(frozen=True)
class TokenData:
    """A text as token ids: what the model learns from, and what it is only tested on."""

    train: Tensor  # (N,) int64
    validation: Tensor  # (N,) int64


def encode_corpus(
    corpus: Corpus, tokenizer: Tokenizer, *, length: int, validation_fraction: float = 0.1
) -> TokenData:
    """Encodes the documents one after the other and sets the end apart for validation.

    length: the tokens of a window; each part must hold one window and the token after it, else TextError.
    """
    ids = encode_documents(corpus, tokenizer)
    train, validation = split_sizes(len(ids), length=length, validation_fraction=validation_fraction)
    if min(train, validation) <= length:
        raise too_short(len(ids), length)
    tokens = torch.tensor(ids, dtype=torch.int64)
    return TokenData(train=tokens[:train], validation=tokens[train:])


def batch(tokens: Tensor, *, seed: int, step: int, batch_size: int, length: int) -> tuple[Tensor, Tensor]:
    """The batch of one step: inputs (B, T), and as targets (B, T) the token that follows each of them.

    The text is cut into windows, and all of them are read in random order before any is read again: that is
    an epoch. The next one cuts at other places. A pure function of seed and step, so that a resumed run
    continues with the very batches it would have seen.  (N,) -> (B, T), (B, T)
    """
    if len(tokens) <= length:
        raise too_short(len(tokens), length)
    windows = max(1, (len(tokens) - length) // length)  # in an epoch
    numbers = torch.arange(step * batch_size, (step + 1) * batch_size)  # of the windows since the beginning
    epochs, places = numbers // windows, numbers % windows
    starts = torch.empty_like(numbers)  # (B,)
    for epoch in sorted(set(epochs.tolist())):
        generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
        first = torch.randint(len(tokens) - windows * length, (1,), generator=generator)
        order = torch.randperm(windows, generator=generator)
        here = epochs == epoch
        starts[here] = first + order[places[here]] * length
    chosen = tokens.unfold(0, length + 1, 1)[starts]  # (B, T + 1)
    return chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous()


def validation_windows(tokens: Tensor, *, length: int, max_tokens: int) -> tuple[Tensor, Tensor]:
    """The same windows every time, spread evenly and without overlap: inputs and targets.

    (N,) -> (W, T), (W, T); W is as many as fit into the tokens and into `max_tokens`, and at least one.
    """
    last = len(tokens) - length - 1  # the last place a window can begin at
    if last < 0:
        raise too_short(len(tokens), length)
    count = max(1, min(max_tokens // length, (len(tokens) - 1) // length))
    chosen = torch.tensor([i * last // max(1, count - 1) for i in range(count)])  # (W,)
    windows = tokens.unfold(0, length + 1, 1)[chosen]  # (W, T + 1)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def mixed_seed(seed: int, number: int) -> int:
    """A seed for part `number` of something: 63 bits in which neighbours have nothing in common.

    Splitmix64, twice.
    """
    return _splitmix64(_splitmix64(seed) + number) >> 1


def _splitmix64(x: int) -> int:
    """Steele, Lea and Flood's mixing function: each bit of x changes about half the bits of the result."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)
