"""Thirteen thousand damaged files, each a little different: every one is read, or refused in a sentence."""

import json
import random
import time

import pytest
import torch

from gpt2demo.errors import UserError
from gpt2demo.hub.checkpoint import expected_shapes, read_checkpoint
from gpt2demo.hub.config_file import read_config
from gpt2demo.model.config import GPT2Config

SEED = 20190214
SLOWEST = 2.0  # seconds that any one of them may take
SMALL = GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=2)
HOSTILE = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**19, 0.5, 1e308, -0.0, 1e-320),
    *("", "F32", "F16", "I64", "BOOL", "\0", "../x", "<img onerror=1>", "é" * 300, "transformer.wte.weight"),
    *([], {}, [[]], [0, 0], [0, 4], [1] * 9, [2**62, 4], {"a": {}}, [None], "gpt2demo", "rotary"),
]


def bytes_damaged(data: bytes, luck: random.Random) -> bytes:
    """One to four strokes: bits turned, bytes replaced, doubled, cut out, or the end cut off."""
    content = bytearray(data)
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(content) + 1)
        size = luck.choice((1, 1, 2, 8, 40))
        stroke = luck.randrange(6)
        if stroke == 0 and at < len(content):
            content[at] ^= 1 << luck.randrange(8)
        elif stroke == 1:
            content[at : at + size] = luck.randbytes(size)
        elif stroke == 2:
            content[at:at] = content[at : at + size] or b"\0"
        elif stroke == 3:
            del content[at : at + size]
        elif stroke == 4:
            del content[at:]
        else:
            content[at : at + size] = luck.choice((b"\xff", b"\0", b"9", b"{", b'"', b"[")) * size
    return bytes(content)


def meaning_damaged(value: object, luck: random.Random) -> object:
    """A JSON value in which something, somewhere, is replaced, renamed, left out or added."""
    if isinstance(value, dict) and value and luck.random() < 0.85:
        copy = dict(value)
        key = luck.choice(list(copy))
        stroke = luck.randrange(8)
        if stroke == 0:
            del copy[key]
        elif stroke == 1:
            copy[str(luck.choice(HOSTILE))[:40]] = copy[key]
        elif stroke == 2:
            copy[luck.choice(list(copy))] = copy[key]
        else:
            copy[key] = meaning_damaged(copy[key], luck)
        return copy
    if isinstance(value, list) and value and luck.random() < 0.7:
        copied = list(value)
        at = luck.randrange(len(copied))
        copied[at] = meaning_damaged(copied[at], luck)
        return copied
    if type(value) is int and luck.random() < 0.5:
        return value + luck.choice((-4, -1, 1, 4, 100))
    return luck.choice(HOSTILE)


def refused(read) -> tuple[bool, float]:
    """Whether a file was refused, and in how many seconds. Anything but a UserError ends the test."""
    began = time.perf_counter()
    try:
        read()
    except UserError as error:
        assert error.got and error.needed and error.todo and len(str(error)) < 1_500
        return True, time.perf_counter() - began
    return False, time.perf_counter() - began


def look_at(results, *, refused_at_least):
    outcomes, times = zip(*results, strict=True)
    assert max(times) < SLOWEST
    share = sum(outcomes) / len(outcomes)
    assert refused_at_least < share < 1, (
        "most were harmless, or not one was: the damage is not what it should be"
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small checkpoint in one file. → its header, its numbers, and where to write the damaged ones"""
    generator, header, numbers = torch.Generator().manual_seed(1), {"__metadata__": {"format": "pt"}}, b""
    for name, shape in expected_shapes(SMALL).items():
        data = torch.randn(shape, generator=generator).numpy().tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [len(numbers), len(numbers) + len(data)],
        }
        numbers += data
    return header, numbers, tmp_path_factory.mktemp("fuzz") / "model.safetensors"


def test_damaged_checkpoints_are_read_or_refused(whole, foreign):
    header, numbers, path = whole
    intact, luck = foreign.raw(header, numbers), random.Random(SEED)
    path.write_bytes(intact)
    assert refused(lambda: read_checkpoint(path, SMALL))[0] is False, "the one that is not damaged is read"

    def attempt(data):
        path.write_bytes(data)

        def read():
            tensors = read_checkpoint(path, SMALL)
            assert {name: tuple(t.shape) for name, t in tensors.items()} == expected_shapes(SMALL)
            assert all(bool(t.isfinite().all()) for t in tensors.values())

        return refused(read)

    strokes = [attempt(bytes_damaged(intact, luck)) for _ in range(4_500)]
    look_at(strokes, refused_at_least=0.8)
    meanings = [attempt(foreign.raw(meaning_damaged(header, luck), numbers)) for _ in range(3_500)]
    look_at(meanings, refused_at_least=0.8)


def test_damaged_configs_are_read_or_refused(tmp_path):
    path, luck = tmp_path / "config.json", random.Random(SEED)
    variant = GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=2, norm="post", n_experts=2)
    intact = [SMALL.to_json() | {"bos_token_id": 4}, variant.to_json()]

    def attempt(data):
        path.write_bytes(data)

        def read():
            config = read_config(path, memory_bytes=50_000_000)
            assert sum(map(len, expected_shapes(config).values())) > 0  # it can be built

        return refused(read)

    look_at(
        [attempt(bytes_damaged(json.dumps(luck.choice(intact)).encode(), luck)) for _ in range(2_500)],
        refused_at_least=0.5,
    )
    look_at(
        [attempt(json.dumps(meaning_damaged(luck.choice(intact), luck)).encode()) for _ in range(2_500)],
        refused_at_least=0.3,
    )
