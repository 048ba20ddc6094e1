"""Text goes into tokens and comes back whole, and a file from anywhere can do no harm."""

import json
import os
import random
import stat
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from gpt2demo.errors import ConfigError, FileError, LimitError, TextError
from gpt2demo.text.tokenizer_files import MAX_FILE_BYTES
from gpt2demo.text.tokenizer_json import bytes_to_unicode
from gpt2demo.text.tokenizers import END_OF_TEXT, Tokenizer, train_tokenizer

STORY = (
    "Once upon a time there was a fox who couldn't count. He'd say: one, two, many!\n\n"
    "    The owl said, “It's 1234 again”, and 你好，世界 — naïve café\t→ done.\r\n🦊🦉 \n"
) * 40
BPE = train_tokenizer("bpe", [STORY], vocab_size=340)
CHAR = train_tokenizer("char", [STORY])
KINDS = pytest.mark.parametrize("tokenizer", [CHAR, BPE], ids=["char", "bpe"])


def stock(tokenizer: Tokenizer, folder: Path) -> PreTrainedTokenizerFast:
    """The saved file as `transformers` reads it."""
    tokenizer.save(folder / "tokenizer.json")
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


# Round trips


@settings(deadline=None)
@given(st.text(max_size=300))
def test_bpe_brings_any_text_back(text: str) -> None:
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert b"".join(map(BPE.token_bytes, ids)) == text.encode()


@settings(deadline=None)
@given(st.text(alphabet=STORY, max_size=300))
def test_char_brings_text_of_known_characters_back(text: str) -> None:
    ids = CHAR.encode(text)
    assert CHAR.decode(ids) == text
    assert len(ids) == len(text)
    assert b"".join(map(CHAR.token_bytes, ids)) == text.encode()


@KINDS
def test_no_token_at_all(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_half_a_character_decodes_to_a_replacement_sign_but_keeps_its_bytes() -> None:
    ids = train_tokenizer("bpe", ["nothing Chinese"]).encode("你")
    assert len(ids) == 3
    assert BPE.decode([BPE.encode("é")[0]]) in ("é", "�")
    assert b"".join(map(train_tokenizer("bpe", ["x"]).token_bytes, ids)) == "你".encode()
    assert train_tokenizer("bpe", ["x"]).decode(ids[:1]) == "�"


def test_character_ids_follow_code_points_without_special_tokens() -> None:
    tokenizer = train_tokenizer("char", ["hello\n", "world"])
    assert tokenizer.vocabulary == ("\n", "d", "e", "h", "l", "o", "r", "w")
    assert tokenizer.end_id is None
    assert tokenizer.start_id == 0


def test_bpe_begins_with_end_of_text_and_all_bytes() -> None:
    assert BPE.end_id == 0
    assert BPE.token_bytes(0) == b"<|endoftext|>"
    assert {BPE.token_bytes(i) for i in range(1, 257)} == {bytes([byte]) for byte in range(256)}
    assert BPE.token_bytes(BPE.start_id) == b"\n"
    assert BPE.encode(f"a{END_OF_TEXT}b").count(0) == 1


def test_our_byte_alphabet_is_gpt2s() -> None:
    assert sorted(bytes_to_unicode().values()) == sorted(ByteLevel.alphabet())
    assert bytes_to_unicode()[ord(" ")] == "Ġ"
    assert bytes_to_unicode()[ord("\n")] == "Ċ"


def test_bpe_learns_words_and_stops_when_nothing_repeats() -> None:
    assert b" two" in {BPE.token_bytes(i) for i in range(BPE.vocab_size)}
    assert BPE.vocab_size == 340
    assert train_tokenizer("bpe", ["ab"], vocab_size=1000).vocab_size == 257


def test_training_twice_gives_the_same_tokenizer() -> None:
    assert train_tokenizer("bpe", [STORY], vocab_size=340).sha256 == BPE.sha256


def test_end_of_text_in_the_text_is_no_word_to_learn() -> None:
    tokenizer = train_tokenizer("bpe", [f"fox{END_OF_TEXT}owl{END_OF_TEXT}" * 50], vocab_size=300)
    assert not any(b"endo" in tokenizer.token_bytes(i) for i in range(1, tokenizer.vocab_size))


# Agreement with transformers


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [" ", "  ", "\n", "\n\n", "\t", "fox", "owl's", "12", "!?", "你好", "\u3000", END_OF_TEXT]
        )
    )
)
def test_transformers_reads_the_saved_bpe_to_the_same_ids(parts: list[str]) -> None:
    text = "".join(parts)
    assert BPE.encode(text) == STOCK_BPE(text)["input_ids"]


def test_transformers_agrees_on_long_texts_and_long_words(tmp_path: Path) -> None:
    reference = stock(BPE, tmp_path)
    long = STORY * 3  # longer than a piece, so the cuts between pieces are tested
    assert BPE.encode(long) == reference(long)["input_ids"]
    word = "fox" * 100
    assert BPE.encode(word) == reference(word)["input_ids"]
    assert reference.decode(BPE.encode(long), clean_up_tokenization_spaces=False) == long


@pytest.mark.parametrize("gap", [" ", "\n", " \n", "\n\n", "\x1c", "\x85", "\u2028", "\u3000", " \t"])
@pytest.mark.parametrize("end", ["a", "!", "7", "'", "你", "\x1c", "\x85", "\u200b"])
def test_cutting_long_text_into_pieces_changes_nothing(gap: str, end: str, tmp_path: Path) -> None:
    text = ("word" + end + gap) * 2_500
    tokenizer = train_tokenizer("bpe", [text], vocab_size=300)  # with merges of just what stands at the cuts
    assert tokenizer.encode(text) == stock(tokenizer, tmp_path)(text)["input_ids"]


def test_transformers_reads_the_saved_characters_to_the_same_ids(tmp_path: Path) -> None:
    reference = stock(CHAR, tmp_path)
    assert CHAR.encode(STORY) == reference(STORY)["input_ids"]
    assert reference.decode(CHAR.encode(STORY), clean_up_tokenization_spaces=False) == STORY


@pytest.fixture(scope="module", autouse=True)
def stock_bpe(tmp_path_factory: pytest.TempPathFactory) -> None:
    global STOCK_BPE
    STOCK_BPE = stock(BPE, tmp_path_factory.mktemp("bpe"))


# Speed: none of these may take time quadratic in the length


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=300_000)),
        "^" * 300_000,
        " " * 300_000,
        "\n" * 300_000 + "x",
    ],
    ids=["a", "letters", "signs", "spaces", "newlines"],
)
def test_text_without_words_is_trained_on_and_encoded_in_seconds(text: str) -> None:
    begin = time.perf_counter()
    tokenizer = train_tokenizer("bpe", [text], vocab_size=512)
    ids = tokenizer.encode(text)
    assert time.perf_counter() - begin < 4  # without the cap: 35 seconds for the a's
    assert tokenizer.decode(ids) == text


def test_no_token_is_longer_than_a_capped_word() -> None:
    tokenizer = train_tokenizer("bpe", ["a" * 10_000], vocab_size=400)
    assert max(len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)) <= 48


def test_a_megabyte_of_characters_takes_about_no_time() -> None:
    text = STORY * (1_000_000 // len(STORY))
    begin = time.perf_counter()
    CHAR.encode(text)
    assert time.perf_counter() - begin < 1


def test_bpe_samples_long_texts_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2demo.text.tokenizers.MAX_TRAINING_CHARACTERS", 200_000)
    text = "first part " * 50_000 + "the lasting end " * 50_000
    tokens = train_tokenizer("bpe", [text], vocab_size=300).vocabulary
    assert {"Ġpart", "Ġend"} <= set(tokens)


# Bad input


def test_unseen_characters_are_named() -> None:
    with pytest.raises(TextError, match="'Ω' 'ω' 'ψ' 'χ' 'φ' …") as caught:
        CHAR.encode("fox ΩωψχφΩυ")
    assert "6 characters" in str(caught.value)
    assert "BPE" in caught.value.todo
    assert CHAR.unknown("fox ΩωψχφΩυ") == "Ωωψχφυ"
    assert CHAR.unknown("fox") == ""


@KINDS
def test_half_a_surrogate_pair_is_refused_not_a_crash(tokenizer: Tokenizer) -> None:
    assert tokenizer.unknown("fox\ud800") == "\ud800"
    with pytest.raises(TextError, match="half a character") as caught:
        tokenizer.encode("fox\ud800")
    assert "BPE" not in caught.value.todo, "no tokenizer can write it"
    train_tokenizer("bpe", ["fox\ud800"])


def test_a_kind_of_tokenizer_that_does_not_exist_is_named_shortly() -> None:
    with pytest.raises(ConfigError, match="There is no 'xxx") as caught:
        train_tokenizer("x" * 5_000, [STORY])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("size", [0, 259, 60_001, 10**6, 300.5, float("nan"), None, True, "1024"])
def test_vocabulary_sizes_out_of_range_are_refused(size: object) -> None:
    with pytest.raises(LimitError):
        train_tokenizer("bpe", [STORY], vocab_size=size)  # type: ignore[arg-type]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="wordpiece"):
        train_tokenizer("wordpiece", [STORY])


@KINDS
@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_ids_out_of_range_are_refused(tokenizer: Tokenizer, token_id: int) -> None:
    with pytest.raises(LimitError):
        tokenizer.decode([token_id])


# Files


@KINDS
def test_a_saved_tokenizer_loads_as_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.sha256 == tokenizer.sha256
    assert loaded.kind == tokenizer.kind
    assert loaded.encode(STORY) == tokenizer.encode(STORY)


def test_saving_leaves_one_file_with_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("old")
    with (tmp_path / "tokenizer.json").open() as reader:
        BPE.save(tmp_path / "tokenizer.json")
        assert reader.read() == "old"  # replaced, not written over
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "tokenizer.json").stat().st_mode) == 0o666 & ~umask


def test_a_save_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError("disk full")

    CHAR.save(tmp_path / "tokenizer.json")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        BPE.save(tmp_path / "tokenizer.json")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    assert Tokenizer.load(tmp_path / "tokenizer.json").sha256 == CHAR.sha256


def test_pipelines_of_foreign_files_are_ignored(tmp_path: Path) -> None:
    content = json.loads(BPE.to_json())
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "x" * 1000}
    content["padding"] = {"strategy": {"Fixed": 10**9}}
    content["truncation"] = {"max_length": 1}
    content["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(((("}}
    content["model"]["dropout"] = 0.9
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert Tokenizer.load(tmp_path / "tokenizer.json").encode(STORY) == BPE.encode(STORY)


def test_old_spellings_are_read(tmp_path: Path) -> None:
    content = json.loads(BPE.to_json())
    del content["model"]["type"]
    del content["model"]["vocab"][END_OF_TEXT]  # named among the added tokens only
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert Tokenizer.load(tmp_path / "tokenizer.json").sha256 == BPE.sha256


def changed(tokenizer: Tokenizer, *path: str, to: object) -> bytes:
    """The tokenizer's JSON with one thing in it replaced."""
    content = json.loads(tokenizer.to_json())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return json.dumps(content).encode()


VOCABULARY = json.loads(BPE.to_json())["model"]["vocab"]
HOSTILE = {
    ("nothing", "not the JSON"): b"",
    ("not JSON", "not the JSON"): b"{",
    ("not UTF-8", "utf-8"): b'{"model": "\xff"}',
    ("a list", "not a JSON object"): b"[]",
    ("a pickle", "utf-8"): b"\x80\x04N.",
    ("too deep", "recursion"): b"[" * 100_000,
    ("a deep object", "recursion"): b'{"a":' * 100_000,
    ("5,000 digits", "digits"): b'{"model": ' + b"9" * 5_000 + b"}",
    ("NaN", "NaN"): changed(BPE, "model", "vocab", "a", to=float("nan")),
    ("infinity", "Infinity"): changed(BPE, "model", "vocab", "a", to=float("inf")),
    ("1e999", "ids of its"): changed(BPE, "model", "vocab", "a", to=3).replace(b'"a": 3', b'"a": 1e999'),
    ("too large", "larger than"): b" " * (MAX_FILE_BYTES + 1),
    ("no model", "no model"): b"{}",
    ("model is text", "no model"): changed(BPE, "model", to="BPE"),
    ("model without type", "type None"): changed(BPE, "model", to={}),
    ("a Unigram model", "type 'Unigram'"): changed(BPE, "model", "type", to="Unigram"),
    ("type is a list", "of type"): changed(BPE, "model", "type", to=[[]]),
    ("no vocabulary", "no vocabulary"): changed(BPE, "model", "vocab", to=None),
    ("vocabulary is a list", "no vocabulary"): changed(BPE, "model", "vocab", to=["a"]),
    ("empty vocabulary", "has 0 tokens"): changed(CHAR, "model", "vocab", to={}),
    ("a hole", "ids of its"): changed(CHAR, "model", "vocab", to={"a": 0, "b": 2}),
    ("an id twice", "ids of its"): changed(CHAR, "model", "vocab", to={"a": 0, "b": 0}),
    ("a negative id", "ids of its"): changed(CHAR, "model", "vocab", to={"a": -1, "b": 0}),
    ("an id that is text", "ids of its"): changed(CHAR, "model", "vocab", to={"a": "0"}),
    ("an id that is true", "ids of its"): changed(CHAR, "model", "vocab", to={"a": 0, "b": True}),
    ("a word among characters", "'ab' is not one character"): changed(CHAR, "model", "vocab", to={"ab": 0}),
    ("an empty character", "'' is not one character"): changed(CHAR, "model", "vocab", to={"": 0}),
    ("half a surrogate pair", "not one character"): changed(CHAR, "model", "vocab", to={"\ud800": 0}),
    ("60,001 characters", "60,001 tokens"): changed(
        CHAR, "model", "vocab", to={chr(0x10000 + i): i for i in range(60_001)}
    ),
    ("an empty token", "'' is not spelled"): changed(
        BPE, "model", "vocab", to=VOCABULARY | {"": len(VOCABULARY)}
    ),
    ("not the byte alphabet", "'你' is not spelled"): changed(
        BPE, "model", "vocab", to=VOCABULARY | {"你": len(VOCABULARY)}
    ),
    ("a byte missing", "lacks 1 of"): changed(
        BPE,
        "model",
        "vocab",
        to={END_OF_TEXT: 0} | {t: i - 1 for t, i in VOCABULARY.items() if i > 1},
    ),
    ("a token of 257 bytes", "257 bytes long"): changed(
        BPE, "model", "vocab", to=VOCABULARY | {"a" * 257: len(VOCABULARY)}
    ),
    ("added tokens no list", "no vocabulary"): changed(BPE, "added_tokens", to={"a": 1}),
    ("an added token without content", "no content"): changed(
        BPE, "added_tokens", to=[{"id": len(VOCABULARY)}]
    ),
    ("an added token far off", "ids of its"): changed(
        BPE, "added_tokens", to=[{"id": 10**12, "content": "far"}]
    ),
    ("an added token with another id", "two ids"): changed(
        BPE, "added_tokens", to=[{"id": 7, "content": END_OF_TEXT}]
    ),
    ("merges no list", "no list"): changed(BPE, "model", "merges", to="a b"),
    ("60,001 merges", "no list"): changed(BPE, "model", "merges", to=["a b"] * 60_001),
    ("a merge of three", "not a pair"): changed(BPE, "model", "merges", to=[["a", "b", "c"]]),
    ("a merge of numbers", "not a pair"): changed(BPE, "model", "merges", to=[[1, 2]]),
    ("a merge of unknown tokens", "not about tokens"): changed(BPE, "model", "merges", to=[["qq", "zz"]]),
    ("a merge into an unknown token", "not about tokens"): changed(BPE, "model", "merges", to=[["q", "z"]]),
    ("a merge twice", "twice"): changed(BPE, "model", "merges", to=[["h", "e"], ["h", "e"]]),
}


@pytest.mark.parametrize(
    ("why", "data"), [(why, data) for (_, why), data in HOSTILE.items()], ids=[name for name, _ in HOSTILE]
)
def test_damaged_and_hostile_files_get_three_sentences(why: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data)
    begin = time.perf_counter()
    with pytest.raises(FileError, match=why) as caught:
        Tokenizer.load(tmp_path / "tokenizer.json")
    assert time.perf_counter() - begin < 1
    assert caught.value.got and caught.value.needed and caught.value.todo
    assert len(str(caught.value)) < 400
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Cf") for c in str(caught.value))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        Tokenizer.load(tmp_path / "nowhere.json")
