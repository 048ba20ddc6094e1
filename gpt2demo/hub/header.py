"""The header of a safetensors file, checked by itself before any of the numbers behind it is looked at."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from gpt2demo.errors import FileError
from gpt2demo.hub.strict_json import parse_json_object

MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 2_000
MAX_DIMENSIONS = 8
TYPES_BY_BYTES: Mapping[int, str] = {  # every type of the format that has whole bytes, by how many it has
    1: "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0",
    2: "U16 I16 F16 BF16",
    4: "U32 I32 F32",
    8: "U64 I64 F64 C64",
}
# How other files begin, what they are, and how their weights get out of them.
_PICKLE = (
    "a Python pickle, which can run any program when it is opened",
    "Where you trust it, convert it: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW).",
)
_FOREIGN: Mapping[bytes, tuple[str, str]] = {
    b"PK\x03\x04": _PICKLE,  # PyTorch's .pt and .bin: a zip with a pickle in it
    **{bytes((0x80, protocol)): _PICKLE for protocol in range(2, 6)},
    b"GGUF": (
        "a GGUF file",
        "Convert it: AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=NAME).save_pretrained(NEW).",
    ),
    b"\x89HDF": (
        "a TensorFlow file (HDF5)",
        "Take the model.safetensors of the same model, or convert it with transformers.",
    ),
    b"version https://git-lfs": (
        "only a pointer to the file (Git LFS)",
        "Run git lfs pull, or download the file itself.",
    ),
    **{
        start: (
            "a web page",
            "Download the file itself: its address has /resolve/ where the page's has /blob/.",
        )
        for start in (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML")
    },
}


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where the numbers of one tensor stand in a file."""

    dtype: str  # as the file calls it: "F32", "F16", …
    shape: tuple[int, ...]
    begin: int  # the first byte, counted from the end of the header
    end: int  # the byte after the last


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a safetensors file says about itself."""

    tensors: Mapping[str, StoredTensor]
    facts: Mapping[str, str]  # what its writer noted, in free words


def read_header(path: Path, *, at_least: int = 1) -> Header:
    """Reads the header of a safetensors file from anywhere and believes nothing in it. Raises FileError.

    The file must be 8 bytes for the header's length, the header (JSON of at most 1 MiB with at most 2,000
    tensors), and the numbers: every byte of them belongs to exactly one tensor. at_least: how many tensors
    there must be.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            _refuse_other_formats(path, file.read(24))
            file.seek(0)
            content, rest = _read_json(path, file, size)
    except OSError as error:
        raise FileError(
            f"{path.name[:80]} cannot be read.", "A safetensors file is needed.", "Check that it is there."
        ) from error
    facts = content.pop("__metadata__", {})
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        _refuse(path, "Its notes (__metadata__) are not text.")
    if not at_least <= len(content) <= MAX_TENSORS:
        _refuse(path, f"It lists {len(content):,} tensors; {at_least} to {MAX_TENSORS:,} are allowed.")
    tensors = {name: _entry(path, name, value) for name, value in content.items()}
    _check_places(path, tensors, rest)
    return Header(tensors=tensors, facts=facts)


def show(name: str) -> str:
    """A name from a foreign file as it can stand in a sentence: short, and without control characters."""
    return name if name.isprintable() and len(name) <= 60 else ascii(name)[:60]


def _refuse(path: Path, problem: str) -> NoReturn:
    raise FileError(
        f"{path.name[:80]} cannot be used. {problem}",
        "It must be a whole safetensors file.",
        "Fetch it again from where it came, or write it again there with safetensors.",
    )


def _refuse_other_formats(path: Path, beginning: bytes) -> None:
    for magic, (what, todo) in _FOREIGN.items():
        if beginning.startswith(magic):
            raise FileError(
                f"{path.name[:80]} is {what}.", "Weights are only read from safetensors files.", todo
            )


def _read_json(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header's JSON, and how many bytes of numbers follow it."""
    if size < 8:
        _refuse(
            path, "It is empty." if size == 0 else f"It ends after {size} bytes, within its first number."
        )
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        _refuse(path, f"Its header claims {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read.")
    if 8 + length > size:
        _refuse(path, f"Its header claims {length:,} bytes, but only {size - 8:,} follow.")
    try:
        content = parse_json_object(file.read(length))
    except ValueError as error:
        _refuse(path, f"Its header {error}.")
    return content, size - 8 - length


def _entry(path: Path, name: str, value: object) -> StoredTensor:
    """One tensor of the list, if its type, its shape and its place agree with each other."""
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"Its entry {show(name)} is not made of dtype, shape and data_offsets.")
    dtype, shape, place = value["dtype"], value["shape"], value["data_offsets"]
    item_bytes = next((n for n, types in TYPES_BY_BYTES.items() if str(dtype) in types.split()), None)
    if not isinstance(dtype, str) or item_bytes is None:
        _refuse(path, f"Its tensor {show(name)} has the unknown type {str(dtype)[:20]!r}.")
    if not _is_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        _refuse(path, f"The shape of its tensor {show(name)} is not a short list of sizes.")
    if not _is_sizes(place) or len(place) != 2:
        _refuse(path, f"The place of its tensor {show(name)} is not two numbers.")
    begin, end = place
    needed = math.prod(shape) * item_bytes
    if end - begin != needed:
        _refuse(path, f"Its tensor {show(name)} needs {needed:,} bytes and claims {end - begin:,}.")
    return StoredTensor(dtype=dtype, shape=tuple(shape), begin=begin, end=end)


def _is_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _check_places(path: Path, tensors: Mapping[str, StoredTensor], rest: int) -> None:
    """The tensors must cover the bytes behind the header one after the other, without gap or overlap."""
    reached = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != reached:
            how = "overlaps" if tensor.begin < reached else "leaves a gap behind"
            _refuse(path, f"Its tensor {show(name)} {how} the one before it.")
        reached = tensor.end
    if reached != rest:
        _refuse(path, f"Its tensors need {reached:,} bytes, but {rest:,} follow the header.")
