"""Documents → tokens → a training, a validation and a test part → the batches a model is fed.

*Packed* is GPT-2's way: all documents in one long row, cut into windows wherever they fall, so that no place
in a batch is wasted. *Padded* gives every document a row of its own, so that the model reads each from its
beginning and nothing else; what is left of a row is filled up, and the loss does not count it.

Shapes: N tokens in a part, R rows in a padded one; B windows or rows in a batch, T tokens in each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from gpt2demo.errors import ConfigError, TextError
from gpt2demo.text.corpus import Corpus, encode_documents, paragraphs, split_sizes, too_short
from gpt2demo.text.tokenizers import Tokenizer

BATCHES = ("packed", "padded")
IGNORED = -100  # the target at a place that is padding: PyTorch's own sign for one that does not count


@dataclass(frozen=True, eq=False)
class Rows:
    """Documents side by side: row i is tokens[starts[i]:ends[i]], filled up only when it is read."""

    tokens: Tensor  # (N,) int64, one document after the other
    starts: Tensor  # (R,) int64
    ends: Tensor  # (R,) int64
    padding: int  # the token that fills a row up

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.starts)

    def __getitem__(self, rows: slice) -> "Rows":
        """Some of the rows."""
        return Rows(self.tokens, self.starts[rows], self.ends[rows], self.padding)

    @property
    def targets(self) -> Tensor:
        """How many tokens of each row are foretold: all but the first.  -> (R,)"""
        return self.ends - self.starts - 1

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some rows, T being what the longest of them needs.  (B,) -> (B, T), (B, T)"""
        starts, lengths = self.starts[rows, None], self.targets[rows, None] + 1  # (B, 1)
        columns = torch.arange(int(lengths.max()))  # (T + 1,)
        filled = columns >= lengths  # (B, T + 1)
        tokens = self.tokens[(starts + columns).clamp(max=len(self.tokens) - 1)]  # (B, T + 1)
        inputs = tokens.masked_fill(filled, self.padding)[:, :-1]
        targets = tokens.masked_fill(filled, IGNORED)[:, 1:]
        return inputs.contiguous(), targets.contiguous()


Part = Tensor | Rows  # packed: (N,) int64


@dataclass(frozen=True)
class TokenData:
    """A text as token ids: what the model learns from, and what it is only tested on."""

    train: Part
    validation: Part  # looked at again and again while the model learns
    test: Part | None = None  # kept for the very end; None when nothing was set apart

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that there are, in the order of the text."""
        return (
            (self.train, self.validation) if self.test is None else (self.train, self.validation, self.test)
        )

    @property
    def tokens(self) -> Tensor:
        """All tokens, whatever part they belong to.  -> (N,)"""
        if isinstance(self.train, Rows):
            return self.train.tokens
        return torch.cat([part for part in self.parts if isinstance(part, Tensor)])


def encode_corpus(
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    length: int,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.0,
    batches: str = "packed",
    may_be_short: bool = False,
) -> TokenData:
    """Encodes the documents one after the other and sets the end apart, for validation and then for the test.

    length: T, the tokens of a window, or the most of a row. Packed documents are whole uploads, padded ones
    the paragraphs in them. Each part must hold one window and the token after it, or one row: else TextError,
    unless it `may_be_short`.
    """
    if batches not in BATCHES:
        raise ConfigError(
            f"batches is {str(batches)[:40]!r}.", f"It must be {' or '.join(BATCHES)}.", "Choose packed."
        )
    whole: Part
    if batches == "padded":
        whole = _rows(tokenizer.encode_batch(paragraphs(corpus), specials=True), length, tokenizer.pad_id)
    else:
        whole = torch.tensor(encode_documents(corpus, tokenizer), dtype=torch.int64)
    train, validation, _ = split_sizes(
        len(whole),
        least=1 if isinstance(whole, Rows) else length + 1,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
    )
    held_out = train + validation
    data = TokenData(whole[:train], whole[train:held_out], whole[held_out:] if test_fraction else None)
    if not may_be_short and (problem := shortage(data, length)):
        raise problem
    return data


def _rows(documents: Sequence[Sequence[int]], length: int, padding: int) -> Rows:
    """Each document as one row of at most T + 1 tokens, or as several.

    Where a document is cut, a row begins with the last token that the one before foretold: so each is
    foretold once.
    """
    starts: list[int] = []
    ends: list[int] = []
    first = 0
    for document in documents:
        end = first + len(document)
        starts += range(first, end - 1, length)
        ends += [min(start + length + 1, end) for start in range(first, end - 1, length)]
        first = end
    tokens = torch.tensor(list(chain.from_iterable(documents)), dtype=torch.int64)
    places = torch.tensor([starts, ends], dtype=torch.int64)  # (2, R)
    return Rows(tokens, places[0], places[1], padding)


def size(part: Part) -> int:
    """How many tokens a part holds; of rows, those that are foretold."""
    return int(part.targets.sum()) if isinstance(part, Rows) else len(part)


def shortage(data: TokenData, length: int) -> TextError | None:
    """What to tell when a part is too short for a single window or row; None when all is well."""
    fewest, count = min(map(len, data.parts)), sum(map(len, data.parts))
    if not isinstance(data.train, Rows):
        return None if fewest > length else too_short(count, length, len(data.parts))
    return (
        None
        if fewest
        else TextError(
            f"The text makes {count} padded row{'' if count == 1 else 's'}.",
            f"At least {len(data.parts)} are needed: to learn from, and to test on.",
            "Part its documents by empty lines, choose a shorter context, or packed batches.",
        )
    )


def windows_in(part: Part, length: int) -> int:
    """How many windows, or rows, an epoch reads: `batch` says which."""
    return len(part) if isinstance(part, Rows) else max(1, (len(part) - length) // length)


def batch(part: Part, *, seed: int, step: int, batch_size: int, length: int) -> tuple[Tensor, Tensor]:
    """The batch of one step: inputs (B, T), and as targets (B, T) the token that follows each of them.

    All windows of the text, or rows, are read in random order before any is read again: that is an epoch. The
    next one cuts windows at other places. In rows T is at most `length`, and targets may be IGNORED. A pure
    function of seed and step, so that a resumed run continues with the very batches it would have seen.
    (N,) or R rows -> (B, T), (B, T)
    """
    if isinstance(part, Rows):
        rows, _ = _shuffled(len(part), seed=seed, step=step, batch_size=batch_size)
        return part.read(rows)
    if len(part) <= length:
        raise too_short(len(part), length)
    windows = windows_in(part, length)
    places, first = _shuffled(
        windows, seed=seed, step=step, batch_size=batch_size, shifts=len(part) - windows * length
    )
    chosen = part.unfold(0, length + 1, 1)[first + places * length]  # (B, T + 1)
    return chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous()


def _shuffled(count: int, *, seed: int, step: int, batch_size: int, shifts: int = 1) -> tuple[Tensor, Tensor]:
    """Which of so many things a step reads, each epoch in an order of its own, and the shift of its epoch.

    shifts: how many different ones there are.  -> (B,) from 0 to count - 1, (B,) from 0 to shifts - 1
    """
    numbers = torch.arange(step * batch_size, (step + 1) * batch_size)  # of what was read since the beginning
    epochs, places = numbers // count, numbers % count
    first = torch.empty_like(numbers)
    for epoch in set(epochs.tolist()):
        generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
        here = epochs == epoch
        first[here] = torch.randint(shifts, (1,), generator=generator)
        places[here] = torch.randperm(count, generator=generator)[places[here]]
    return places, first


def validation_windows(part: Part, *, length: int, max_tokens: int) -> tuple[Tensor, Tensor]:
    """The same windows or rows every time, spread evenly and without overlap: inputs and targets.

    (N,) or R rows -> (W, T), (W, T); W is as many as there are and as fit into `max_tokens`, at least one.
    """
    if isinstance(part, Rows):
        widest = int(part.targets.max())
        return part.read(_spread(min(len(part), max_tokens // widest), len(part) - 1))
    last = len(part) - length - 1  # the last place a window can begin at
    if last < 0:
        raise too_short(len(part), length)
    chosen = _spread(min(max_tokens // length, (len(part) - 1) // length), last)
    windows = part.unfold(0, length + 1, 1)[chosen]  # (W, T + 1)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def _spread(count: int, last: int) -> Tensor:
    """So many places from 0 to `last` at equal distances, at least one.  -> (count,)"""
    count = max(1, count)
    return torch.tensor([i * last // max(1, count - 1) for i in range(count)])


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


def overlapping_windows(length: int, n_positions: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts that a long text is read in; each begins half a context after the last."""
    start, end = 0, min(length, n_positions)
    yield start, end
    while end < length:
        start += max(1, n_positions // 2)
        end = min(length, start + n_positions)
        yield start, end
