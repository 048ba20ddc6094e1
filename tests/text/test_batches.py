"""Batches depend on seed and step and on nothing else."""

import pytest
import torch

from gpt2demo.errors import LimitError, TextError
from gpt2demo.text.batches import batch, encode_corpus, validation_windows
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer

TOKENS = torch.arange(5_000)
SHAPE = {"batch_size": 12, "length": 64}


def corpus(*texts: str) -> Corpus:
    return Corpus(tuple(document_from_text(f"{i}.txt", text) for i, text in enumerate(texts)))


def test_a_batch_is_windows_and_what_follows_them() -> None:
    inputs, targets = batch(TOKENS, seed=1, step=0, **SHAPE)
    assert inputs.shape == targets.shape == (12, 64)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)  # because the tokens count up
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_the_same_seed_and_step_give_the_same_batch_in_any_order() -> None:
    there = [batch(TOKENS, seed=1, step=step, **SHAPE)[0] for step in range(5)]
    torch.manual_seed(99)
    torch.rand(10)
    back = [batch(TOKENS, seed=1, step=step, **SHAPE)[0] for step in reversed(range(5))]
    assert all(torch.equal(a, b) for a, b in zip(there, reversed(back), strict=True))


def test_drawing_a_batch_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    batch(TOKENS, seed=1, step=0, **SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_and_steps_give_different_batches() -> None:
    pairs = [(seed, step) for seed in (-1, 0, 1, 2, 2**63) for step in range(20)]
    batches = {tuple(batch(TOKENS, seed=a, step=b, **SHAPE)[0][:, 0].tolist()) for a, b in pairs}
    assert len(batches) == len(pairs)


def test_every_place_in_the_text_can_be_drawn() -> None:
    starts = [batch(torch.arange(70), seed=0, step=step, **SHAPE)[0][:, 0] for step in range(30)]
    assert set(torch.cat(starts).tolist()) == set(range(6))


def test_an_epoch_reads_every_window_once_and_in_no_order() -> None:
    tokens = torch.arange(8 * 64 + 70)  # 8 windows; 12 in a batch, so 2 batches are 3 epochs
    inputs = torch.cat([batch(tokens, seed=3, step=step, **SHAPE)[0] for step in range(2)])  # (24, 64)
    cuts = []
    for epoch in inputs.split(8):
        read = epoch.flatten().sort().values
        assert torch.equal(read, torch.arange(int(read[0]), int(read[0]) + 8 * 64))
        assert not torch.equal(epoch[:, 0], epoch[:, 0].sort().values)
        cuts.append(int(read[0]))
    assert len(set(cuts)) > 1  # another epoch cuts at other places


def test_validation_windows_are_fixed_spread_and_do_not_overlap() -> None:
    inputs, targets = validation_windows(TOKENS, length=64, max_tokens=640)
    assert inputs.shape == targets.shape == (10, 64)
    assert torch.equal(targets, inputs + 1)
    assert inputs[0, 0] == 0
    assert targets[-1, -1] == 4_999  # to the very end
    gaps = inputs[1:, 0] - inputs[:-1, 0]
    assert gaps.min() >= 64 and gaps.max() - gaps.min() <= 1
    assert torch.equal(validation_windows(TOKENS, length=64, max_tokens=640)[0], inputs)


@pytest.mark.parametrize(
    ("tokens", "length", "most", "windows"),
    [
        (65, 64, 10**9, 1),
        (128, 64, 10**9, 1),
        (129, 64, 10**9, 2),
        (5_000, 64, 1, 1),
        (5_000, 64, 10**9, 78),
    ],
)
def test_as_many_windows_as_fit(tokens: int, length: int, most: int, windows: int) -> None:
    inputs, targets = validation_windows(torch.arange(tokens), length=length, max_tokens=most)
    assert inputs.shape == (windows, length)
    assert len(inputs.unique()) == windows * length
    assert torch.equal(targets, inputs + 1)


def test_the_last_tenth_is_for_validation() -> None:
    text = "abcdefghij" * 100
    tokenizer = train_tokenizer("char", [text])
    data = encode_corpus(corpus(text), tokenizer, length=16)
    assert len(data.train) == 900 and len(data.validation) == 100
    assert tokenizer.decode(data.train.tolist()) + tokenizer.decode(data.validation.tolist()) == text
    assert data.train.dtype == torch.int64


def test_documents_are_parted_by_end_of_text_or_newline() -> None:
    texts = ["the first fox", "the other owl", "the last"]
    for kind, mark in (("char", "\n"), ("bpe", "<|endoftext|>")):
        tokenizer = train_tokenizer(kind, texts)
        data = encode_corpus(corpus(*texts), tokenizer, length=1)
        ids = [*data.train.tolist(), *data.validation.tolist()]
        assert tokenizer.decode(ids) == mark.join(texts)
        if tokenizer.end_id is not None:
            assert ids.count(tokenizer.end_id) == 2


def test_the_shortest_text_that_trains_and_one_token_less() -> None:
    tokenizer = train_tokenizer("char", ["ab"])
    data = encode_corpus(corpus("ab" * 17), tokenizer, length=16)
    assert len(data.train) == len(data.validation) == 17
    batch(data.train, seed=0, step=0, batch_size=2, length=16)
    validation_windows(data.validation, length=16, max_tokens=100)
    with pytest.raises(TextError, match="33 tokens.*at least 34.*at most 15"):
        encode_corpus(corpus("ab" * 16 + "a"), tokenizer, length=16)
    encode_corpus(corpus("ab" * 16 + "a"), tokenizer, length=15)  # as advised


@pytest.mark.parametrize("text", ["a", "ab"])
def test_a_text_of_a_letter_is_refused(text: str) -> None:
    with pytest.raises(TextError, match="tokens"):
        encode_corpus(corpus(text), train_tokenizer("char", [text]), length=64)


def test_windows_longer_than_the_tokens_are_refused() -> None:
    with pytest.raises(TextError):
        batch(torch.arange(64), seed=0, step=0, **SHAPE)
    with pytest.raises(TextError):
        validation_windows(torch.arange(64), length=64, max_tokens=100)


@pytest.mark.parametrize("fraction", [0, -0.1, 0.9, 1, float("nan"), None])
def test_a_share_for_validation_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(LimitError):
        encode_corpus(
            corpus("ab" * 100), train_tokenizer("char", ["ab"]), length=4, validation_fraction=fraction
        )
