"""The list of what is in a bundle: the size and checksum of each file, so that a turned bit is found."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gpt2demo.errors import FileError
from gpt2demo.hub.strict_json import fields_of, read_json_object

MANIFEST = "MANIFEST.json"
FORMAT = 1  # of our bundles; it grows when an older program could no longer read them rightly
PROGRAM = "gpt2demo"
MAX_MANIFEST_BYTES = 200_000
PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FileSum:
    """What a file must be."""

    bytes: int
    sha256: str


class Sum:
    """Adds up a file while its bytes pass by."""

    def __init__(self) -> None:
        self._bytes = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """The next bytes of the file."""
        self._bytes += len(piece)
        self._digest.update(piece)

    @property
    def result(self) -> FileSum:
        """Of all that has passed so far."""
        return FileSum(bytes=self._bytes, sha256=self._digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says that it holds."""

    format: int
    files: Mapping[str, FileSum]  # by their names in the bundle, without the manifest itself

    @property
    def is_newer(self) -> bool:
        """True for a bundle from a program that knows more than this one."""
        return self.format > FORMAT

    def to_json(self) -> str:
        """The content of MANIFEST.json."""
        files = {name: asdict(sum) for name, sum in sorted(self.files.items())}
        return json.dumps({"program": PROGRAM, "format": self.format, "files": files}, indent=2) + "\n"

    def damaged(self, folder: Path) -> tuple[str, ...]:
        """The files of an unpacked bundle that are missing, or are not what was packed."""
        return tuple(name for name, wanted in self.files.items() if sum_of(folder / name) != wanted)


def read_manifest(path: Path) -> Manifest:
    """Reads the MANIFEST.json of a bundle from anywhere. Raises FileError."""
    content = read_json_object(path, max_bytes=MAX_MANIFEST_BYTES)
    fields = fields_of(content, MANIFEST, {"program": str, "format": int, "files": dict})
    if fields["program"] != PROGRAM or fields["format"] < 1:
        raise FileError(
            f"This bundle was made by {fields['program'][:40]!r} in format {fields['format']}.",
            f"Only bundles of {PROGRAM} can be moved here.",
            "Choose another file.",
        )
    sums = {}
    for name, entry in fields["files"].items():
        if not isinstance(entry, dict):
            raise FileError(
                f"{MANIFEST} has no size and no SHA-256 of {ascii(name)[:60]}.",
                "It must be the file that this program wrote.",
                "Fetch the bundle again from where it came.",
            )
        sums[name] = FileSum(**fields_of(entry, MANIFEST, {"bytes": int, "sha256": str}))
    return Manifest(format=fields["format"], files=sums)


def sum_of(path: Path) -> FileSum | None:
    """The size and the checksum of a file; None when it cannot be read."""
    sum = Sum()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                sum.add(piece)
    except OSError:
        return None
    return sum.result
