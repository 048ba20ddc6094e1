"""The models one can take in hand, as rows with their buttons; each row opens one drawer at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt2demo.ui.components.base import HERE, Widget


class ModelList(Widget):
    """Value: JSON with "rows" (see `models_rows.Shelf`) and, after a wish, "export", "push" or "renamed".

    Events, with what they say: `list.take(fn)` {ref}, `list.rename(fn)` {ref, title}, `list.remove(fn)`
    {ref}, `list.pack(fn)` {ref, nonce}, `list.push(fn)` {ref, nonce, name, token, private, overwrite}, of
    which the list forgets the token at once, and `list.look(fn)` {} when it is shown again, and again and
    again while a run in it is at work.
    """

    def __init__(self, value: str = "", *, words: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(
            value,
            function="models",
            scripts=(HERE / "model_sender.js", HERE / "model_list.js"),
            events=("take", "rename", "remove", "pack", "push", "look"),
            words=dict(words),
            **kwargs,
        )
