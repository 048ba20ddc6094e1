"""Writing files so that a crash at any moment leaves either the old one or the new one."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gpt2demo.errors import FileError


def sync_folder(folder: Path) -> None:
    """Makes sure that new names in a folder are on the disk (Windows does this by itself)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file in one step: write beside it, fsync, rename, fsync the folder."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


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

    The same tensors give the same bytes: the library writes the facts in an order of chance, so the header is
    written anew (8 bytes for its length, then JSON, filled up with spaces so that the numbers are aligned).
    """
    data = memoryview(save(dict(tensors), metadata={"format": "pt", **facts}))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8 : 8 + length]))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_bytes(path, b"".join((len(text).to_bytes(8, "little"), text, data[8 + length :])))


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
