"""What the figure tests share: figures as the browser gets them, with their arrays unpacked."""

import ast
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

HOSTILE = ["<b>", "a<br>b", "$x$", "%{x}", "<img onerror=alert(1)>", "\n", "\t", "the", "the"]


def sent(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure as the page receives it, through JSON; fails where it is no valid JSON."""
    back: dict[str, Any] = json.loads(json.dumps(figure, allow_nan=False))
    return back


def size(figure: dict[str, Any]) -> int:
    """Bytes on the wire."""
    return len(json.dumps(figure, allow_nan=False))


def numbers(values: Any) -> np.ndarray[Any, Any]:
    """An array of a figure, whether it came as a list or as base64 of its bytes."""
    if not isinstance(values, dict):
        return np.asarray(values)
    shape = [int(n) for n in values.get("shape", "-1").split(",")]
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).reshape(shape)


def named(figure: dict[str, Any], name: str) -> dict[str, Any]:
    """The one trace of this name."""
    (trace,) = [t for t in figure["data"] if t.get("name") == name]
    assert isinstance(trace, dict)
    return trace


def strings(value: Any) -> list[str]:
    """Every string in a figure."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for part in value.values() for s in strings(part)]
    return [s for part in value for s in strings(part)] if isinstance(value, list) else []


def imports(path: Path) -> set[str]:
    """The top-level packages that a source file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found
