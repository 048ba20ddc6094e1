"""JSON from anywhere, read strictly: what one program reads in it, every other does too."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2demo.errors import FileError

MAX_DEPTH = 20
MAX_DIGITS = 20  # 64-bit numbers have that many

Kinds = type | tuple[type, ...]


def read_json_object(path: Path, *, max_bytes: int) -> dict[str, Any]:
    """Reads a JSON object from a file from anywhere. Raises FileError that says what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise _unusable(path, "It cannot be read.") from error
    if len(data) > max_bytes:
        raise _unusable(path, f"It is larger than {max_bytes:,} bytes.")
    try:
        return parse_json_object(data)
    except ValueError as error:
        raise _unusable(path, f"It {error}.") from error


def parse_json_object(data: bytes) -> dict[str, Any]:
    """An object from the text of a JSON file. Raises ValueError, worded to follow "It".

    Refused are: text that is not UTF-8 (a byte order mark is allowed), more than 20 levels, the same name
    twice, NaN and infinity, and whole numbers of more than 20 digits. A number that is whole becomes an int,
    also when it is written with a point.
    """
    if not data.strip():
        raise ValueError("is empty")
    try:
        content = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except RecursionError as error:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at its byte {error.start:,}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object in braces")
    if _is_deeper(content, MAX_DEPTH):
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    return content


def fields_of(content: Mapping[str, Any], name: str, wanted: Mapping[str, Kinds]) -> dict[str, Any]:
    """Exactly these fields of an object, each of its type. Raises FileError, naming the first that is not.

    name: the file's. True and False are no numbers here, although Python takes them for some.
    """
    for field, kinds in wanted.items():
        value = content.get(field)
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if (
            field not in content
            or not isinstance(value, kinds)
            or (isinstance(value, bool) and bool not in kinds)
        ):
            found = "missing" if field not in content else ascii(value)[:40]
            raise FileError(
                f"In {name} the field {field} is {found}.",
                f"It must be {' or '.join(_NAMES[kind] for kind in kinds)}.",
                "Use the file as this program wrote it.",
            )
    return {field: content[field] for field in wanted}


_NAMES: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
    type(None): "null",
    bool: "true or false",
}


def _unusable(path: Path, problem: str) -> FileError:
    return FileError(
        f"{path.name[:80]} cannot be used. {problem}",
        "It must be a JSON file as the program wrote it that made the model.",
        "Fetch it again from where it came.",
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("has the same name twice in one object")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"says {name}, which is no number")


def _finite(digits: str) -> float | int:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"has the number {digits[:20]}, which is too large")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _short(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"has a number of {len(digits):,} digits")
    return int(digits)


def _is_deeper(content: object, levels: int) -> bool:
    """Whether objects and lists stand in each other in more than so many levels."""
    layer: Sequence[object] = [content]
    for _ in range(levels):
        layer = [child for value in layer for child in _children(value)]
    return bool(layer)


def _children(value: object) -> list[object]:
    """The lists and objects right inside a list or an object."""
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in within if isinstance(child, dict | list)]
