"""Zip files from anywhere, unpacked so that nothing in them chooses where or how much is written."""

import io
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from gpt2demo.errors import FileError, LimitError
from gpt2demo.hub.header import show

MAX_DIRECTORY_BYTES = 256 * 1024  # of a zip's list of contents, which Python reads at once
PIECE = 64 * 1024  # bytes unpacked at a time
SMALL = 10_000_000  # a file of so many bytes is no bomb, however well it packs
LEFT_FREE = 1_000_000_000  # bytes of the disk that are for others
MOST_PACKED = 100  # weights hardly get smaller by packing; a thousandfold is a bomb


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What came out of a zip file."""

    files: tuple[str, ...]  # by their names in the folder, which are those that were asked for
    damaged: tuple[str, ...]  # files that should be there and could not be read whole
    ignored: tuple[str, ...]  # of other names: they were left inside


def unpack(path: Path, destination: Path, *, wanted: Callable[[str], bool], max_bytes: int) -> Unpacked:
    """Unpacks the files whose names are `wanted` into an existing empty folder.

    A folder in which everything in the zip lies is not part of the names. Files that are damaged are left out
    and listed. Raises FileError for what is no zip, and for one whose names, links or sizes are those of an
    attack, LimitError for more than `max_bytes` when unpacked.
    """
    with _opened(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            _check_entry(path, entry)
        top = _common_folder([entry.filename for entry in entries])
        named = [(entry.filename.removeprefix(top), entry) for entry in entries]
        chosen = {name: entry for name, entry in named if wanted(name)}
        if len(chosen) < sum(wanted(name) for name, _ in named):
            _refuse(path, "It holds two files of the same name.")
        _check_sizes(path, list(chosen.values()), max_bytes)
        check_room(destination, sum(entry.file_size for entry in chosen.values()))
        damaged = tuple(
            name for name, entry in chosen.items() if not _extract(archive, entry, destination / name)
        )
    return Unpacked(
        files=tuple(name for name in chosen if name not in damaged),
        damaged=damaged,
        ignored=tuple(name for name, _ in named if name not in chosen),
    )


def names_in(path: Path) -> tuple[str, ...]:
    """The names of the files in a zip, without the folder in which all of them lie. Raises FileError."""
    with _opened(path) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    top = _common_folder(names)
    return tuple(name.removeprefix(top) for name in names)


def is_zip(path: Path) -> bool:
    """True for what begins as a zip file."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


class _Measured(io.BufferedReader):
    """A file from which nothing reads more at once than a list of contents may have."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As always, but not more than that."""
        asked = self.size - self.tell() if size is None or size < 0 else size
        if asked > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its list of contents is larger than {MAX_DIRECTORY_BYTES:,} bytes")
        return super().read(size)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        opened = _Measured(path)
    except OSError:
        _refuse(path, "It cannot be read.")
    with opened as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            _refuse(path, f"It is no whole zip file ({str(error)[:80]}).")
        with archive:
            yield archive


def _refuse(path: Path, problem: str) -> NoReturn:
    raise FileError(
        f"{path.name[:80]} cannot be used. {problem}",
        "It must be the zip file of a model.",
        "Fetch it again from where it came, or pack its files anew.",
    )


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Refuses names that lead elsewhere, links, passwords, and rare ways of packing."""
    name = entry.filename
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or ":" in name or {"", ".", ".."} & set(parts):
        _refuse(path, f"It holds a file of the name {show(name)!r}, which leads elsewhere.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        _refuse(path, f"{show(name)} in it is a link or a device.")
    if entry.flag_bits & 0x1:
        _refuse(path, f"{show(name)} in it is locked with a password.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse(path, f"{show(name)} in it is packed in another way than zip files usually are.")


def _common_folder(names: list[str]) -> str:
    """The folder in which all of these lie, with its slash, or ""; what macOS adds to each zip aside."""
    tops = {
        name.split("/", 1)[0] if "/" in name else "" for name in names if not name.startswith("__MACOSX/")
    }
    return f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    size = sum(entry.file_size for entry in entries)
    if size > max_bytes:
        raise LimitError(
            f"{path.name[:80]} has {size / 1e6:,.1f} MB when it is unpacked.",
            f"At most {max_bytes / 1e6:,.1f} MB are taken.",
            "Choose a smaller model, or run this program on a machine of your own.",
        )
    for entry in entries:
        if entry.file_size > SMALL and entry.file_size > MOST_PACKED * entry.compress_size:
            _refuse(path, f"{show(entry.filename)} in it would grow {MOST_PACKED}-fold and more.")


def check_room(folder: Path, needed: int) -> None:
    """Raises LimitError when the disk of a folder has not so many bytes free, and some for others."""
    free = shutil.disk_usage(folder).free
    if free < needed + LEFT_FREE:
        raise LimitError(
            f"The disk has {free / 1e9:,.1f} GB free.",
            f"This needs {needed / 1e9:,.1f} GB, and {LEFT_FREE / 1e9:,.1f} GB must stay free.",
            "Delete what is no longer needed, or choose a smaller model.",
        )


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> bool:
    """Writes one file, never more of it than the list of contents says. → False when it is damaged"""
    if entry.header_offset < 0:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(entry) as source, target.open("xb") as file:
            whole = _copy(source, file, entry.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError):
        whole = False
    if not whole:
        target.unlink(missing_ok=True)
    return whole


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> bool:
    """→ whether there were exactly so many bytes"""
    left = size
    while piece := source.read(min(PIECE, left + 1)):
        left -= len(piece)
        if left < 0:
            return False
        target.write(piece)
    return left == 0


def matching(pattern: str) -> Callable[[str], bool]:
    """A test for names: true for those that the pattern describes wholly."""
    expression = re.compile(pattern)
    return lambda name: expression.fullmatch(name) is not None
