"""Tokens as text one can look into: a strip of chips, or one flowing text that grows while it is written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from gpt2demo.ui.components.base import HERE, Widget


def token_line(
    glyph: str,
    *,
    raw: str | None = None,
    data: bytes | None = None,
    probability: float | None = None,
    rank: int | None = None,
    entropy_bits: float | None = None,
    tint: float | None = None,
    alternatives: Sequence[tuple[str, float]] = (),
    prompt: bool = False,
    mark: str = "",
) -> str:
    """One token as a line of NDJSON: `glyph` is how it is drawn, `raw` its text in "flow" (default: glyph),
    `data` its exact bytes, `rank` 1 for the most likely, `tint` 0..1 how surprising it is, `mark` why it is
    underlined twice."""
    record: dict[str, Any] = {"t": glyph}
    if raw is not None:
        record["raw"] = raw
    if data is not None:
        record["b"] = data.hex(" ")
    optional = {"p": probability, "r": rank, "h": entropy_bits, "s": tint}
    record |= {key: value for key, value in optional.items() if value is not None}
    if alternatives:
        record["a"] = [[text, round(share, 6)] for text, share in alternatives]
    if prompt:
        record["prompt"] = True
    if mark:
        record["m"] = mark
    return json.dumps(record) + "\n"


def status_line(status: str, message: str = "") -> str:
    """A line that shows `message` under the tokens and sets data-status: running, done, stopped, waiting…"""
    return json.dumps({"status": status, "message": message}) + "\n"


def select_line(index: int | None) -> str:
    """A line that marks a token as selected (None: no token) without triggering an event."""
    return json.dumps({"select": index}) + "\n"


def strip_start() -> str:
    """The first line of a new value: whatever follows belongs to a new text."""
    return uuid.uuid4().hex[:8] + "\n"


def strip_value(lines: Iterable[str]) -> str:
    """A whole value at once. While streaming, start with `strip_start()` and only ever append lines."""
    return strip_start() + "".join(lines)


class TokenStrip(Widget):
    """Tokens with a shared tooltip; `strip.token(fn)` hears which one was clicked (`event.index`)."""

    def __init__(
        self,
        value: str = "",
        *,
        label: str = "Tokens",
        mode: Literal["strip", "flow"] = "strip",
        placeholder: str = "No text yet.",
        legend: bool = False,
        min_lines: int = 1,
        max_lines: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value,
            function="tokens",
            scripts=(HERE / "token_strip.js",),
            events=("token",),
            label=label,
            mode=mode,
            placeholder=placeholder,
            legend=legend,
            min_lines=min_lines,
            max_lines=max_lines,
            **kwargs,
        )
