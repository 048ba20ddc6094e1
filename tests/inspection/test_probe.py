"""Probe texts are refused before they cost anything, cut where they fit, and searches find what was meant."""

import time

import numpy as np
import pytest

from gpt2demo.errors import LimitError, TextError
from gpt2demo.inspection.embeddings import extent, lengths
from gpt2demo.inspection.probe import (
    MAX_PROBE_CHARACTERS,
    find_tokens,
    fitting_part,
    probe_ids,
    token_counts,
)
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer

STORY = "The cat sat on the mat. The cat saw the dog, and the dog saw the cat.\n" * 20


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return train_tokenizer("bpe", [STORY], 300)


@pytest.fixture(scope="module")
def char() -> Tokenizer:
    return train_tokenizer("char", [STORY])


@pytest.mark.parametrize("nothing", ["", None, 3, ["a"], b"a"])
def test_no_text_is_refused_in_words(bpe, nothing):
    with pytest.raises(TextError, match="There is no text"):
        probe_ids(bpe, nothing)
    with pytest.raises(TextError, match="There is no text"):
        find_tokens(bpe, nothing)


def test_a_megabyte_is_refused_at_once(bpe):
    began = time.perf_counter()
    for look in (probe_ids, find_tokens):
        with pytest.raises(LimitError, match="1,000,000 characters"):
            look(bpe, "x" * 1_000_000)
    assert time.perf_counter() - began < 0.05
    assert len(probe_ids(bpe, "x" * MAX_PROBE_CHARACTERS)) == MAX_PROBE_CHARACTERS


def test_unknown_characters_are_named(char):
    with pytest.raises(TextError, match="'ß'"):
        probe_ids(char, "the ß")
    with pytest.raises(TextError, match="'ß'"):
        find_tokens(char, "ß")


@pytest.mark.parametrize("text", [STORY, "the the " * 90, "漢字かな" * 60, "🦊" * 50, "a" * 100_000])
@pytest.mark.parametrize("limit", [1, 2, 7, 64])
def test_the_part_that_fits_is_a_beginning_and_as_long_as_can_be(bpe, text, limit):
    part = fitting_part(bpe, text, limit)
    assert text.startswith(part)
    assert len(bpe.encode(part)) <= limit
    assert len(bpe.encode(text[: len(part) + 4])) >= limit or part == text


def test_a_text_that_fits_stays_whole(bpe, char):
    assert fitting_part(bpe, "The cat", 64) == "The cat"
    assert fitting_part(char, STORY, 10) == STORY[:10]


def test_a_search_finds_the_word_as_it_stands_in_a_text(bpe, char):
    def words(query: str) -> list[bytes]:
        return [bpe.token_bytes(i) for i in find_tokens(bpe, query)]

    assert words("cat")[0] == b" cat"
    assert words(" cat") == [b" cat"] and words("·cat") == [b" cat"]
    assert words("↵") == [b"\n"] and words("<0xE4>") == [b"\xe4"]
    assert words("<|endoftext|>")[0] == b"<|endoftext|>"
    assert len(find_tokens(bpe, "cat dog zebra")) > 2
    assert [char.token_bytes(i) for i in find_tokens(char, "↵")] == [b"\n"]
    assert [char.token_bytes(i) for i in find_tokens(char, "cat")] == [b"c", b"a", b"t"]
    assert [char.token_bytes(i) for i in find_tokens(char, "tt")] == [b"t"]


def test_a_search_among_words_finds_words_and_not_the_unknown(char):
    words = train_tokenizer("word", [STORY], 20)

    def found(query: str) -> list[bytes]:
        return [words.token_bytes(i) for i in find_tokens(words, query)]

    assert found("cat") == found("Cat") == found("·cat") == [b" cat"]
    assert found("the cat") == [b" the", b" cat"] and found(".") == [b"."]
    assert found("zebra") == found("<unk>") == [b" <unk>"]
    assert fitting_part(words, STORY, 9) == " the cat sat on the mat. the cat"


def test_counts_lengths_and_the_frame_of_a_map(char):
    counts = token_counts(char, Corpus((document_from_text("a.txt", "the cat"),)))
    assert counts.shape == (char.vocab_size,) and counts.sum() == 7
    assert counts[char.encode("t")[0]] == 2
    points = np.array([[0, 3], [4, 3], [3, 3]], dtype=np.float32)
    assert lengths(points).tolist() == pytest.approx([3, 5, 18**0.5])
    assert extent(points, 0.5)[0] == (-2, 6)
    low, high = extent(points)[1]
    assert low < 3 < high
