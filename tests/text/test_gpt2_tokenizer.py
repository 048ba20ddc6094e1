"""GPT-2's own tokenizer, read from OpenAI's files, gives the ids that `transformers` gives."""

import json
import random
import time
import unicodedata
from pathlib import Path

import pytest
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast

from gpt2demo.errors import FileError, NotFoundError
from gpt2demo.text.tokenizer_files import MAX_FILE_BYTES
from gpt2demo.text.tokenizer_json import END_OF_TEXT, LONGEST_WORD
from gpt2demo.text.tokenizers import Tokenizer, load_gpt2_tokenizer, train_tokenizer

OPENAIS = Path(__file__).parents[3] / "shared" / "data" / "gpt2-tokenizer"
STORY = (
    "Once upon a time there was a fox who couldn't count. He'd say: one, two, many! 你好 naïve 🦊\n\n" * 40
)
SMALL = train_tokenizer("bpe", [STORY], 400)
PARTS = [  # what tokenizers stumble over
    *"aeiou étñßжд你好がक्ى0٣½²_-—'’\"(){}#\t\n\r\x0b\x1c\x85\xa0\u2003\u2028\u2029\u200b\u200d\ufeff\0🦊",
    *("'s", "'LL", "don't", "  ", "\n\n", " \n", " fox", "Fox", "www.", "Ġ", "\U0010ffff"),
    *(END_OF_TEXT, "<|endoftext", "<0x0A>"),
]


def random_text(chance: random.Random) -> str:
    """Up to 60 pieces: half of them PARTS, half any character that Unicode has."""

    def piece() -> str:
        if chance.random() < 0.5:
            return chance.choice(PARTS) * chance.choice((1, 1, 1, 2, 7))
        code = chance.randrange(chance.choice((0x80, 0x800, 0x3000, 0x10000, 0x110000)))
        return "" if 0xD800 <= code < 0xE000 else chr(code)

    return "".join(piece() for _ in range(chance.randrange(60)))


def write_files(
    tokenizer: Tokenizer, folder: Path, names: tuple[str, str] = ("encoder.json", "vocab.bpe")
) -> Path:
    """A tokenizer as the two files in which OpenAI gave its own away; <|endoftext|> is the last token."""
    last = tokenizer.vocab_size - 1
    ids = {token: i - 1 if i else last for i, token in enumerate(tokenizer.vocabulary)}
    (folder / names[0]).write_text(json.dumps(ids))
    lines = ["#version: 0.2", *map(" ".join, tokenizer.merges), ""]
    (folder / names[1]).write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["OpenAI's", "small"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, GPT2Tokenizer]:
    """One encoder.json and vocab.bpe as we and as transformers read them.

    They are GPT-2's where these are at hand, and a small tokenizer of our own in their form.
    """
    folder = OPENAIS
    if request.param == "small":
        folder = write_files(SMALL, tmp_path_factory.mktemp("small"))
    elif not folder.is_dir():
        pytest.skip("OpenAI's encoder.json and vocab.bpe are not at hand")
    theirs = GPT2Tokenizer(vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe"))
    return load_gpt2_tokenizer(folder), theirs


def test_1000_random_texts_get_the_ids_that_transformers_gives(
    both: tuple[Tokenizer, GPT2Tokenizer], tmp_path: Path
) -> None:
    ours, theirs = both
    ours.save(tmp_path / "tokenizer.json")  # and what we save means the same to others
    saved = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    chance = random.Random(0)
    texts = [random_text(chance) for _ in range(1_000)]
    categories = {unicodedata.category(c) for text in texts for c in text}
    assert len(categories) == 29  # all that there are, but for halves of surrogate pairs
    for text in texts:
        ids = ours.encode(text)
        assert ids == theirs(text)["input_ids"] == saved(text)["input_ids"], ascii(text)
        assert ours.decode(ids) == text
        assert saved.decode(ids, clean_up_tokenization_spaces=False) == text
    assert ours.end_id == ours.vocab_size - 1 == theirs.eos_token_id


def test_the_vocabulary_is_gpt2s() -> None:
    if not OPENAIS.is_dir():
        pytest.skip("OpenAI's encoder.json and vocab.bpe are not at hand")
    tokenizer = load_gpt2_tokenizer(OPENAIS)
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.end_id) == ("bpe", 50_257, 50_256)
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer.token_bytes(995) == b" world" and tokenizer.token_bytes(50_256) == b"<|endoftext|>"
    assert tokenizer.decode(tokenizer.encode(STORY)) == STORY


@pytest.mark.parametrize("letters", ["a", "aeinost", "你", " "])
def test_words_up_to_the_longest_agree_and_longer_ones_take_no_time(
    both: tuple[Tokenizer, GPT2Tokenizer], letters: str
) -> None:
    ours, theirs = both
    for length in (49, 300, LONGEST_WORD):
        text = "".join(random.Random(length).choices(letters, k=length))
        assert ours.encode(text) == theirs(text, verbose=False)["input_ids"]
    text = "".join(random.Random(0).choices(letters, k=300_000))
    begin = time.perf_counter()
    ids = ours.encode(text)
    assert time.perf_counter() - begin < 2
    assert ours.decode(ids) == text


def test_whichever_files_are_there_are_read(tmp_path: Path) -> None:
    wanted = load_gpt2_tokenizer(write_files(SMALL, tmp_path)).sha256
    hub = tmp_path / "hub"
    hub.mkdir()
    write_files(SMALL, hub, ("vocab.json", "merges.txt"))
    (hub / "encoder.json").write_text("{")  # alone it means nothing
    assert load_gpt2_tokenizer(hub).sha256 == wanted
    whole = tmp_path / "whole"
    whole.mkdir()
    load_gpt2_tokenizer(hub).save(whole / "tokenizer.json")
    assert load_gpt2_tokenizer(str(whole)).sha256 == wanted


def test_merges_are_read_with_any_line_ends_and_without_a_version(tmp_path: Path) -> None:
    wanted = load_gpt2_tokenizer(write_files(SMALL, tmp_path)).sha256
    lines = (tmp_path / "vocab.bpe").read_bytes().split(b"\n")
    for data in (b"\r\n".join(lines), b"\n".join(lines[1:]), b"\xef\xbb\xbf" + b"\n".join(lines).rstrip()):
        (tmp_path / "vocab.bpe").write_bytes(data)
        assert load_gpt2_tokenizer(tmp_path).sha256 == wanted


def test_a_folder_without_a_tokenizer_is_told_apart_from_a_bad_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFoundError, match=r"no tokenizer in.*encoder\.json and vocab\.bpe"):
            load_gpt2_tokenizer(folder)
    train_tokenizer("char", ["ab"]).save(tmp_path / "tokenizer.json")
    with pytest.raises(FileError, match="not byte-level BPE"):
        load_gpt2_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("vocab.bpe", b"\xff", "not UTF-8"),
        ("vocab.bpe", b"a b c\n", "'a b c' is not a pair"),
        ("vocab.bpe", b"#version: 0.2\nabc\n", "'abc' is not a pair"),
        ("vocab.bpe", b"a  b\n", "not a pair"),
        ("vocab.bpe", b"zz qq\n", "not about tokens"),
        ("vocab.bpe", b"o n\no n\n", "twice"),
        ("vocab.bpe", b"o n\n" * 60_001, "no list of at most 60,000"),
        ("vocab.bpe", b" " * (MAX_FILE_BYTES + 1), "larger than"),
        ("encoder.json", b"[]", "not a JSON object"),
        ("encoder.json", b'{"a": 0}', "lacks 255"),
        ("encoder.json", b'{"a": [[[]]]}', "ids of its"),
    ],
)
def test_damaged_files_get_three_sentences(name: str, data: bytes, why: str, tmp_path: Path) -> None:
    (write_files(SMALL, tmp_path) / name).write_bytes(data)
    with pytest.raises(FileError, match=why) as caught:
        load_gpt2_tokenizer(tmp_path)
    assert caught.value.got and caught.value.needed and caught.value.todo and len(str(caught.value)) < 400
