"""gr.HTML for small static pieces, which cannot show anybody's text as HTML by mistake."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gpt2demo.ui.components.base import QuietMeta
from gpt2demo.ui.escape import as_safe


class SafeHTML(gr.HTML, metaclass=QuietMeta):
    """Shows pieces built by `escape.tag` as HTML, and every other value as the text it is."""

    def __init__(self, value: object = "", **kwargs: Any) -> None:
        super().__init__(as_safe(value), **({"js_on_load": None, "apply_default_css": False} | kwargs))

    def postprocess(self, value: object) -> str:
        """Escape what was not built by `tag`, also when an event handler returns it."""
        return str(as_safe(value))
