"""Writing files so that a crash at any moment leaves either the old one or the new one."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gpt2demo.errors import ConfigError, FileError

TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}  # as safetensors calls them


def check_free(path: Path, needed: str, todo: str = "Choose another name.") -> None:
    """Refuses a name under which something lies already; an empty folder is as good as nothing.

    needed, todo: the second and third sentence of the ConfigError.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path.name} exists and is not empty.", needed, todo)


def sync_folder(folder: Path) -> None:
    """Makes sure that new names in a folder are on the disk (Windows does this by itself)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Replaces a file by what the block writes, in one step: beside it, fsync, rename, fsync the folder.

    When that fails nothing is left beside it: on a full disk it would take the room.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file in one step."""
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replaces a JSON file in one step."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(errors="replace"))  # a half of a surrogate pair becomes a question mark


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; raises FileError when it is missing or is something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(
            f"{path.name} cannot be read ({type(error).__name__}).",
            "It must be the file that this program wrote.",
            "Choose another run.",
        ) from error
    if not isinstance(data, dict):
        raise FileError(f"{path.name} holds no JSON object.", "It must be one.", "Choose another run.")
    return data


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Replaces a safetensors file in one step; `facts` are short strings kept in its header.

    Written here, tensor after tensor, because the library keeps the whole file in memory, twice, and orders
    the facts by chance: the same tensors give the same bytes. First 8 bytes for the header's length, then the
    header as JSON, filled up with spaces so that the numbers are aligned, then the numbers.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted({"format": "pt", **facts}.items()))}
    order = sorted(
        tensors, key=lambda name: (-tensors[name].element_size(), name)
    )  # keeps large ones aligned
    end = 0
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().data)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file, which holds numbers and nothing that could run."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileError(
            f"{path.name} cannot be read ({str(error)[:120]}).",
            "It must be a whole safetensors file.",
            "Use another step of this run, or another run.",
        ) from error
