"""Padded batches: every document in a row of its own, nothing lost or twice, padding never a target."""

import time

import pytest
import torch

from gpt2demo.errors import ConfigError, TextError
from gpt2demo.text.batches import (
    IGNORED,
    Rows,
    TokenData,
    batch,
    encode_corpus,
    shortage,
    size,
    validation_windows,
)
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer

STORIES = [f"the fox {n} sang to owl {n}.\nthe end" + ", and so on" * (n % 4) for n in range(40)]
TEXT = "\n\n".join(STORIES)
CORPUS = Corpus((document_from_text("a.txt", TEXT),))
TOKENIZERS = {kind: train_tokenizer(kind, [TEXT], 300, min_frequency=1) for kind in ("char", "word", "bpe")}
KINDS = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
WORDS = TOKENIZERS["word"]
SHAPE = {"batch_size": 5, "length": 12}


def padded(tokenizer: Tokenizer = WORDS, length: int = 12, **settings: float) -> TokenData:
    return encode_corpus(CORPUS, tokenizer, length=length, batches="padded", **settings)


def every_row(rows: Rows) -> list[tuple[list[int], list[int]]]:
    """Each row as the ids that are read and those that are foretold, without padding."""
    inputs, targets = rows.read(torch.arange(len(rows)))
    found = []
    for x, y in zip(inputs.tolist(), targets.tolist(), strict=True):
        real = [token for token in y if token != IGNORED]
        assert y == real + [IGNORED] * (len(y) - len(real))  # padding is at the end
        found.append((x[: len(real)], real))
    return found


@KINDS
def test_every_document_is_a_row_from_its_beginning_to_its_end(tokenizer: Tokenizer) -> None:
    data = padded(tokenizer, length=200)
    assert isinstance(data.train, Rows) and isinstance(data.validation, Rows)
    rows = every_row(data.train) + every_row(data.validation)
    assert len(data.train) == 36 and len(rows) == len(STORIES)
    for story, (read, foretold) in zip(STORIES, rows, strict=True):
        whole = tokenizer.encode(story, specials=True)
        assert read == whole[:-1] and foretold == whole[1:]
        assert whole[0] == tokenizer.start_id and whole[-1:] == tokenizer.separator


@KINDS
@pytest.mark.parametrize("length", [2, 7, 12, 13, 64])
def test_long_documents_are_cut_and_every_token_is_foretold_once(tokenizer: Tokenizer, length: int) -> None:
    data = padded(tokenizer, length)
    rows = [row for part in data.parts for row in every_row(part)]
    assert max(len(read) for read, _ in rows) <= length
    assert all(read[1:] == foretold[:-1] for read, foretold in rows)
    foretold = [token for _, foretold in rows for token in foretold]
    whole = [tokenizer.encode(story, specials=True) for story in STORIES]
    assert foretold == [token for document in whole for token in document[1:]]
    assert len(foretold) == sum(map(size, data.parts))
    assert data.tokens.tolist() == [token for document in whole for token in document]


def test_a_batch_is_as_wide_as_its_longest_row_and_filled_with_padding() -> None:
    data = padded(length=200)
    assert isinstance(data.train, Rows)
    inputs, targets = data.train.read(torch.tensor([0, 3, 1]))
    whole = [WORDS.encode(STORIES[i], specials=True) for i in (0, 3, 1)]
    width = max(map(len, whole)) - 1
    assert inputs.dtype == targets.dtype == torch.int64 and inputs.is_contiguous()
    assert inputs.shape == targets.shape == (3, width)
    for x, y, document in zip(inputs.tolist(), targets.tolist(), whole, strict=True):
        assert y == document[1:] + [IGNORED] * (width + 1 - len(document))
        assert x == WORDS.pad_or_cut(document, width)
    assert (inputs == 0).any() and (inputs[targets == IGNORED][-1] == 0).all()


def test_the_same_seed_and_step_give_the_same_batch_in_any_order() -> None:
    rows = padded().train
    there = [batch(rows, seed=1, step=step, **SHAPE) for step in range(9)]
    before = torch.get_rng_state()
    back = [batch(rows, seed=1, step=step, **SHAPE) for step in reversed(range(9))]
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(there, reversed(back), strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    other = batch(rows, seed=2, step=0, **SHAPE)
    assert other[0].shape != there[0][0].shape or not torch.equal(other[0], there[0][0])


def test_an_epoch_reads_every_row_once_and_each_in_another_order() -> None:
    rows = padded().train
    steps = 4 * len(rows)  # of 5 rows: 20 epochs
    epochs = 5 * steps // len(rows)
    read = [row for step in range(steps) for row in batch(rows, seed=3, step=step, **SHAPE)[1].tolist()]
    plain = [tuple(t for t in row if t != IGNORED) for row in read]
    each = [plain[i * len(rows) : (i + 1) * len(rows)] for i in range(epochs)]
    wanted = sorted(tuple(foretold) for _, foretold in every_row(rows))  # type: ignore[arg-type]
    assert all(sorted(epoch) == wanted for epoch in each)
    assert len(set(map(tuple, each))) == epochs


def test_validation_rows_are_fixed_spread_and_within_their_bound() -> None:
    rows = padded(length=200, validation_fraction=0.5).validation
    assert isinstance(rows, Rows)
    everything = validation_windows(rows, length=200, max_tokens=10**6)
    assert everything[0].shape[0] == len(rows)
    widest = everything[0].shape[1]
    some = validation_windows(rows, length=200, max_tokens=7 * widest + 1)
    assert some[0].shape[0] == 7 and some[0].numel() <= 7 * widest
    last = rows.read(torch.tensor([len(rows) - 1]))[1][0]
    assert torch.equal(some[1][-1][: len(last)], last)  # to the very end
    assert validation_windows(rows, length=200, max_tokens=1)[0].shape[0] == 1


def test_a_test_part_comes_last_and_only_when_it_is_asked_for() -> None:
    assert padded().test is None
    data = padded(length=200, test_fraction=0.2, validation_fraction=0.1)
    assert [len(part) for part in data.parts] == [28, 4, 8]
    assert isinstance(data.test, Rows)
    assert every_row(data.test)[-1][1] == WORDS.encode(STORIES[-1], specials=True)[1:]


def test_packed_text_has_a_test_part_too_and_loses_nothing() -> None:
    data = encode_corpus(CORPUS, WORDS, length=12, test_fraction=0.2)
    assert data.test is not None and isinstance(data.test, torch.Tensor)
    assert len(data.parts) == 3 and len(data.test) == len(data.tokens) - int(len(data.tokens) * 0.8)
    assert data.tokens.tolist() == WORDS.encode(TEXT, specials=True)


def test_one_document_or_one_row_is_too_little() -> None:
    corpus = Corpus((document_from_text("a.txt", "the fox sang"),))
    with pytest.raises(TextError, match=r"makes 1 padded row\. At least 2 .*empty lines"):
        encode_corpus(corpus, WORDS, length=12, batches="padded")
    with pytest.raises(TextError, match=r"makes 2 padded rows\. At least 3"):
        encode_corpus(corpus, WORDS, length=2, batches="padded", test_fraction=0.1)
    encode_corpus(corpus, WORDS, length=2, batches="padded")  # as advised, with a shorter context
    short = encode_corpus(corpus, WORDS, length=12, batches="padded", may_be_short=True)
    assert shortage(short, 12) is not None and len(short.train) == 0


def test_a_packed_text_without_room_for_three_parts_says_so() -> None:
    corpus = Corpus((document_from_text("a.txt", "ab" * 20),))
    char = train_tokenizer("char", ["ab"])
    with pytest.raises(TextError, match="40 tokens.*at least 51.*at most 12"):
        encode_corpus(corpus, char, length=16, test_fraction=0.1)
    encode_corpus(corpus, char, length=12, test_fraction=0.1)  # as advised


def test_unknown_kinds_of_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match="batches is 'sorted'.*packed or padded"):
        encode_corpus(CORPUS, WORDS, length=12, batches="sorted")


def test_very_many_tiny_documents_take_no_room() -> None:
    corpus = Corpus((document_from_text("a.txt", "a\n\n" * 300_000),))
    begin = time.perf_counter()
    data = encode_corpus(corpus, train_tokenizer("char", ["a"]), length=1_024, batches="padded")
    inputs, _ = batch(data.train, seed=0, step=0, batch_size=12, length=1_024)
    assert time.perf_counter() - begin < 5
    assert len(data.tokens) == 900_000 and inputs.shape == (12, 2)
