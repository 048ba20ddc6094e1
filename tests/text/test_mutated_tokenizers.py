"""Thousands of tokenizer files, damaged at random: each is read or refused in sentences, and none hangs."""

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2demo.errors import UserError
from gpt2demo.text.tokenizers import Tokenizer, load_gpt2_tokenizer, train_tokenizer
from tests.in_memory import folder_in_memory

STORY = "the fox and the owl sang to the sea, the sea sang to the fox.\n" * 20
TRAINED = {kind: train_tokenizer(kind, [STORY], 275) for kind in ("char", "word", "bpe")}
JSON = {kind: tokenizer.to_json() for kind, tokenizer in TRAINED.items()}
ENCODER = json.dumps(json.loads(JSON["bpe"])["model"]["vocab"])
MERGES = "\n".join(["#version: 0.2", *map(" ".join, TRAINED["bpe"].merges), ""])
FILES = {  # what is damaged, and what lies beside it
    "char": ("tokenizer.json", JSON["char"], {}),
    "word": ("tokenizer.json", JSON["word"], {}),
    "bpe": ("tokenizer.json", JSON["bpe"], {}),
    "encoder": ("encoder.json", ENCODER, {"vocab.bpe": MERGES}),
    "merges": ("vocab.bpe", MERGES, {"encoder.json": ENCODER}),
}
MUTATIONS = 1_400  # of each: 7,000 in all
DEEP: Any = "x"
for _ in range(950):  # as deep as JSON is read at all
    DEEP = [DEEP]
HOSTILE = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3,
        2**31,
        2**63,
        10**30,
        0.5,
        1e308,
        [],
        {},
        [[]],
        [None],
        {"": None},
        DEEP,
    ),
    *(
        "",
        "a",
        " ",
        "a b",
        "\0",
        "\ud800",
        "\uffff",
        "Ġ",
        "<unk>",
        "(a+)+$",
        "x" * 300,
        "x" * 100_000,
        "\\p{L}{9}",
    ),
    *(
        {"type": "BPE"},
        {"type": "WordLevel", "vocab": {}},
        {"type": "Precompiled"},
        ["a", "b"],
        [["a", "b"]] * 9,
    ),
]
BYTES = [
    b"",
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"\\",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"-",
    b"9" * 5_000,
    b"[" * 5_000,
    b" ",
    b"\n",
]


def damaged_bytes(chance: random.Random, data: bytes) -> bytes:
    """Some bytes changed, lost, doubled, moved, or replaced by what a parser could trip over."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        i, j = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        j = min(j, i + chance.choice((0, 1, 1, 8, len(data))))
        put = chance.choice(
            (chance.choice(BYTES), bytes([chance.randrange(256)]), data[i:j] * 2, data[j : j + 9])
        )
        data = data[:i] + put + data[j:]
    return data


def places(node: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: a container and the key in it."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        if depth < 9:
            yield from places(node[key], depth + 1)


def damaged_json(chance: random.Random, data: bytes) -> bytes:
    """Some values or keys of the JSON replaced, added, removed or exchanged: the syntax stays right."""
    content = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        everywhere = list(places(content))
        near = [place for place in everywhere if len(place[0]) < 30] or everywhere  # not only the vocabulary
        node, key = chance.choice(chance.choice((near, everywhere)))
        value = copy.copy(chance.choice(HOSTILE)) if chance.random() < 0.7 else chance.choice(everywhere)[1]
        how = chance.randrange(5)
        if how == 0:
            del node[key]
        elif how == 1 and isinstance(node, dict):
            node[value if isinstance(value, str) else "["] = node.pop(key)
        elif how == 2 and isinstance(node, dict):
            node[chance.choice([text for text in HOSTILE if isinstance(text, str)])] = len(
                node
            )  # the next id
        elif how == 2:
            node.insert(key, value)
        else:
            node[key] = value
        if not content:
            break
    return json.dumps(content if chance.random() < 0.98 else value).encode("utf-8", "surrogatepass")


def damaged_lines(chance: random.Random, data: bytes) -> bytes:
    """Lines exchanged, doubled, lost, joined, or with another line's half in them."""
    lines = data.split(b"\n")
    for _ in range(chance.choice((1, 2, 4))):
        i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
        halves = [lines[i].split(b" ")[0], lines[j].split(b" ")[-1]]
        lines[i : i + 1] = chance.choice(
            (
                [lines[j]],
                [],
                [lines[i]] * 3,
                [lines[i] + lines[j]],
                [b" ".join(halves)],
                [lines[i][::-1]],
                [b"\xc4\xa0 t"],
            )
        )
        lines = lines or [b""]
    return b"\n".join(lines)


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(tmp_path) as folder:
        yield folder


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_read_or_refused(kind: str, fast: Path) -> None:
    name, text, others = FILES[kind]
    for other, content in others.items():
        (fast / other).write_text(content, encoding="utf-8")
    read: Callable[[], Tokenizer] = (
        (lambda: load_gpt2_tokenizer(fast)) if others else (lambda: Tokenizer.load(fast / name))
    )
    structured = damaged_lines if name == "vocab.bpe" else damaged_json
    chance, path = random.Random(f"{kind} 1"), fast / name
    accepted = refused = 0
    for number in range(MUTATIONS):
        data = chance.choice((damaged_bytes, structured))(chance, text.encode())
        path.write_bytes(data)
        begin = time.perf_counter()
        try:
            tokenizer = read()
            usable(tokenizer)
            accepted += 1
        except UserError as error:
            assert error.got and error.needed and error.todo and len(str(error)) < 400
            refused += 1
        except BaseException as error:
            error.add_note(f"mutation {number} of {kind}: {data[:2000]!r}")
            raise
        assert time.perf_counter() - begin < 2, f"mutation {number} of {kind}"
    assert accepted > MUTATIONS / 100 and refused > MUTATIONS / 10  # the damage reaches both


def usable(tokenizer: Tokenizer) -> None:
    """What was read does what a tokenizer does."""
    text = "The fox, sang! 你\n<unk>" if tokenizer.kind != "char" else "".join(tokenizer.vocabulary)
    ids = tokenizer.encode(text)
    assert len(tokenizer.continuation(ids)) > 0 and max(ids) < tokenizer.vocab_size
    if tokenizer.kind != "word":
        assert tokenizer.decode(ids) == text
    assert json.loads(tokenizer.to_json())["model"]
