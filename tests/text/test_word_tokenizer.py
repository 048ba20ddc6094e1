"""The word tokenizer of the textbooks: small letters, split at white space and signs, <unk> for the rest."""

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from gpt2demo.errors import FileError, LimitError
from gpt2demo.text.tokenizer_files import MAX_VOCABULARY
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer

STORY = (
    "The fox didn't sleep. “Sleep!” said the owl; the sea was loud:\n\n"
    "why, then, did THE FOX sing? Über Ä, 你好 ΟΔΟΣ İzmir.\n"
)
WORDS = train_tokenizer("word", [STORY], 100, min_frequency=1)


def stock(tokenizer: Tokenizer, folder: Path) -> PreTrainedTokenizerFast:
    """The saved file as `transformers` reads it."""
    tokenizer.save(folder / "tokenizer.json")
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


@pytest.fixture(scope="module", autouse=True)
def stock_words(tmp_path_factory: pytest.TempPathFactory) -> None:
    global STOCK
    STOCK = stock(WORDS, tmp_path_factory.mktemp("word"))


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.vocabulary[i] for i in tokenizer.encode(text)]


def test_text_is_lower_cased_and_split_at_white_space_and_signs() -> None:
    assert tokens(WORDS, "The FOX,\tthe owl...\nWhy?!") == [
        *("the", "fox", ",", "the", "owl", ".", ".", ".", "why", "?", "!")
    ]
    assert tokens(WORDS, "sea:sea;didn't") == ["sea", ":", "sea", ";", "didn't"]


def test_the_special_tokens_have_the_ids_0_to_3() -> None:
    assert WORDS.vocabulary[:4] == ("<pad>", "<unk>", "<bos>", "<eos>")
    assert (WORDS.pad_id, WORDS.unknown_id, WORDS.start_id, WORDS.end_id) == (0, 1, 2, 3)
    assert WORDS.encode("the fox", specials=True) == [2, *WORDS.encode("the fox"), 3]
    assert WORDS.encode_batch(["the", ""], specials=True) == [[2, *WORDS.encode("the"), 3], [2, 3]]


def test_the_most_frequent_words_come_first_and_rare_ones_are_unknown() -> None:
    text = "the the the fox fox owl"
    assert train_tokenizer("word", [text], 100, min_frequency=1).vocabulary[4:] == ("the", "fox", "owl")
    assert train_tokenizer("word", [text], 100).vocabulary[4:] == ("the", "fox")  # at least twice
    assert train_tokenizer("word", [text], 100, min_frequency=3).vocabulary[4:] == ("the",)
    small = train_tokenizer("word", [text], 5, min_frequency=1)
    assert small.vocabulary[4:] == ("the",) and small.encode("the fox") == [4, 1]
    assert train_tokenizer("word", ["fox", "fox"], 100).vocabulary[4:] == ("fox",)  # counted together


def test_training_twice_gives_the_same_and_the_size_alone_repeats_it() -> None:
    # so that the command of a run need not name the frequency that made the vocabulary smaller
    rare = train_tokenizer("word", [STORY], 100, min_frequency=2)
    assert train_tokenizer("word", [STORY], 100, min_frequency=2).sha256 == rare.sha256
    assert train_tokenizer("word", [STORY], rare.vocab_size, min_frequency=1).sha256 == rare.sha256


def test_words_decode_with_spaces_between_them_and_none_before_signs() -> None:
    assert WORDS.decode(WORDS.encode("The fox, the OWL:  why?!\n")) == "the fox, the owl: why?!"
    assert WORDS.decode(WORDS.encode("the zebra sings")) == "the <unk> <unk>"
    assert WORDS.decode([]) == "" == WORDS.continuation([])
    assert WORDS.decode(WORDS.encode("the fox", specials=True)) == "<bos> the fox<eos>"


def test_tokens_written_one_by_one_continue_a_text_with_spaces() -> None:
    ids = WORDS.encode("the fox, the owl.")
    written = b"".join(map(WORDS.token_bytes, ids))
    assert written == b" the fox, the owl."  # so a prompt can stand in front of it
    assert WORDS.continuation(ids) == written.decode() and WORDS.decode(ids) == "the fox, the owl."
    assert [WORDS.token_bytes(i) for i in range(4)] == [b"<pad>", b" <unk>", b"<bos>", b"<eos>"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*WORDS.vocabulary[4:], "zebra", "\n", "  "])))
def test_what_was_decoded_is_encoded_to_the_same_ids(parts: list[str]) -> None:
    ids = WORDS.encode(" ".join(parts))
    assert WORDS.encode(WORDS.decode(ids)) == ids == WORDS.encode(WORDS.continuation(ids))


def test_rows_are_padded_and_cut() -> None:
    assert WORDS.pad_or_cut([7, 8, 9], 5) == [7, 8, 9, 0, 0]
    assert WORDS.pad_or_cut([7, 8, 9], 2) == [7, 8]
    assert WORDS.pad_or_cut([], 1) == [0]
    char = train_tokenizer("char", ["ab"])
    assert char.pad_or_cut(char.encode("ab"), 3) == [1, 2, 0]
    bpe = train_tokenizer("bpe", ["ab"], 260)
    assert bpe.pad_or_cut([5], 2) == [5, 0] and bpe.token_bytes(0) == b"<|endoftext|>"


def test_no_text_is_ever_refused() -> None:
    assert WORDS.unknown("zebra \ud800") == ""
    assert WORDS.encode("zebra the\ud800fox \udfff the") == [1, 1, 1, *WORDS.encode("the")]
    assert WORDS.encode("") == [] == WORDS.encode(" \n\t\u3000")
    train_tokenizer("word", ["fox\ud800 fox"])


def test_special_tokens_in_a_text_are_no_words_to_learn() -> None:
    text = "fox <eos> owl <UNK> <Pad>sea " * 3
    tokenizer = train_tokenizer("word", [text], 100, min_frequency=1)
    assert sorted(tokenizer.vocabulary[4:]) == ["fox", "owl", "sea"]
    assert tokenizer.encode("<eos>") == [3] == tokenizer.encode("<EOS>")


def test_very_long_words_are_unknown() -> None:
    tokenizer = train_tokenizer("word", [f"{'a' * 48} {'b' * 49} " * 5], 100)
    assert tokenizer.vocabulary[4:] == ("a" * 48,)
    assert tokenizer.encode(f"{'b' * 49} {'a' * 48}") == [1, 4]


def test_the_largest_vocabulary_of_the_longest_words_can_be_read_again(tmp_path: Path) -> None:
    words = [chr(0x20000 + i) + "\U00020000" * 47 for i in range(MAX_VOCABULARY - 4)]  # 192 bytes each
    tokenizer = Tokenizer("word", [*WORDS.vocabulary[:4], *words])
    tokenizer.save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path / "tokenizer.json").vocab_size == MAX_VOCABULARY


# Agreement with transformers


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet=STORY, max_size=200))
def test_transformers_reads_the_saved_words_to_the_same_ids(text: str) -> None:
    ids = WORDS.encode(text)
    assert STOCK(text, add_special_tokens=False)["input_ids"] == ids
    assert STOCK(text)["input_ids"] == WORDS.encode(text, specials=True)
    for some in (ids, WORDS.encode(text, specials=True), [*ids, 0, 1, *ids]):
        assert STOCK.decode(some, clean_up_tokenization_spaces=False) == WORDS.decode(some)


def test_transformers_agrees_on_a_text_longer_than_a_piece() -> None:
    long = STORY * 200
    assert WORDS.encode(long) == STOCK(long, add_special_tokens=False)["input_ids"]
    dots = "fox.owl;sea" * 2_000  # where only signs end a word
    assert WORDS.encode(dots) == STOCK(dots, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", ["a" * 300_000, ". " * 150_000, "." * 300_000, " " * 300_000])
def test_text_of_one_kind_of_sign_takes_no_time(text: str) -> None:
    begin = time.perf_counter()
    train_tokenizer("word", [text], 100).encode(text)
    assert time.perf_counter() - begin < 4


# Bad input


@pytest.mark.parametrize("size", [0, 4, 60_001, 5.5, None, True, "100"])
def test_vocabulary_sizes_out_of_range_are_refused(size: object) -> None:
    with pytest.raises(LimitError, match="vocabulary size"):
        train_tokenizer("word", [STORY], size)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["word", "bpe"])
@pytest.mark.parametrize("frequency", [0, -1, 10**7, 1.5, None, float("nan")])
def test_frequencies_out_of_range_are_refused(kind: str, frequency: object) -> None:
    with pytest.raises(LimitError, match="minimum frequency"):
        train_tokenizer(kind, [STORY], 300, min_frequency=frequency)  # type: ignore[arg-type]


def test_bpe_merges_only_pairs_of_the_frequency() -> None:
    text = "qx " * 3 + "zw " * 9
    often = train_tokenizer("bpe", [text], 300, min_frequency=9)
    assert "zw" in often.vocabulary and "qx" not in often.vocabulary


def test_a_saved_tokenizer_loads_as_the_same(tmp_path: Path) -> None:
    WORDS.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.kind == "word" and loaded.sha256 == WORDS.sha256
    assert loaded.encode(STORY, specials=True) == WORDS.encode(STORY, specials=True)


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("", "not one word"),
        ("two words", "not one word"),
        ("a\u2003b", "not one word"),
        ("\ud800", "not one word"),
        ("ü" * 129, "longer than 256 bytes"),
    ],
)
def test_words_that_are_none_are_refused(word: str, why: str, tmp_path: Path) -> None:
    content = json.loads(WORDS.to_json())
    content["model"]["vocab"][word] = WORDS.vocab_size
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match=why):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_special_tokens_elsewhere_make_no_word_tokenizer(tmp_path: Path) -> None:
    content = json.loads(WORDS.to_json())
    words = list(WORDS.vocabulary)
    random.Random(0).shuffle(words)
    content["model"]["vocab"] = {word: i for i, word in enumerate(words)}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match="not one character"):
        Tokenizer.load(tmp_path / "tokenizer.json")
