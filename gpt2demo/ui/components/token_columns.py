"""Up to four texts side by side, each a strip of tokens that grows while it is written."""

from __future__ import annotations

import json
from typing import Any

from gpt2demo.ui.components.base import HERE, Widget


def column_line(title: str, *, pinned: bool = False) -> str:
    """What stands above a text."""
    return json.dumps({"title": title, "pinned": pinned}) + "\n"


def in_column(column: int, lines: str) -> str:
    """Lines of a TokenStrip, addressed to the text in this column (0 to 3)."""
    return "".join(f"{column} {line}\n" for line in lines.splitlines())


class TokenColumns(Widget):
    """Texts with a shared tooltip, of which one is in hand.

    value: `strip_start()`, then lines with their column in front. `token(fn)` hears which token was clicked
    (`event.column`, `event.index`), `pin(fn)` which text is to stay (`event.column`, `event.pinned`).
    """

    def __init__(
        self,
        value: str = "",
        *,
        label: str = "Text",
        placeholder: str = "No text yet.",
        pin: str = "Keep",
        pin_hint: str = "",
        min_lines: int = 1,
        max_lines: int | None = None,
        **kwargs: Any,
    ) -> None:
        strip = {
            "mode": "flow",
            "placeholder": placeholder,
            "legend": True,
            "min_lines": min_lines,
            "max_lines": max_lines,
        }
        super().__init__(
            value,
            function="columns",
            scripts=(HERE / "token_strip.js", HERE / "token_columns.js"),
            events=("token", "pin"),
            label=label,
            strip=strip,
            pin=pin,
            pin_hint=pin_hint,
            **kwargs,
        )
