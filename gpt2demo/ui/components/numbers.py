"""Gradio's slider and number field, except that they judge nothing: every limit is enforced in the core."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gpt2demo.ui.components.base import QuietMeta


class Slider(gr.Slider, metaclass=QuietMeta):
    """A slider whose ends are an offer, not a law.

    While somebody types "0.9" into its field, "0" and nothing at all come first. Gradio's own slider answers
    these with error messages (and a number that is no number with a traceback), before anybody has asked for
    anything. Here the value goes to the handler as it is, and the core says in words what it thinks of it.
    """

    def preprocess(self, payload: Any) -> Any:
        """Hands over what was sent."""
        return payload

    def get_block_name(self) -> str:
        """Drawn by gradio as its own."""
        return "slider"


class Number(gr.Number, metaclass=QuietMeta):
    """A field for a number, which may be empty or hold something else: the core says so in words."""

    def preprocess(self, payload: Any) -> Any:
        """Hands over what was sent."""
        return payload

    def get_block_name(self) -> str:
        """Drawn by gradio as its own."""
        return "number"
