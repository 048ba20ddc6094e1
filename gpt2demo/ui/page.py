"""What the tabs share: the server's parts, the visitor, and the model in hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from gpt2demo.runs.exchange import Exchange
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.models import ModelStore
from gpt2demo.runs.store import RunStore
from gpt2demo.text.samples import SampleText


@dataclass(frozen=True, kw_only=True)
class Services:
    """The server's parts, one of each, shared by all visitors."""

    store: RunStore
    manager: RunManager
    models: ModelStore
    exchange: Exchange
    samples: tuple[SampleText, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The header's memory, which every tab may read and which only these components hold.

    owner: the visitor's secret token, kept in the browser. ref: the model in hand, as the text of a ModelRef;
    a handler that outputs another one makes the whole page change to that model.
    """

    services: Services
    owner: gr.BrowserState
    ref: gr.State


def said(event: gr.EventData, name: str) -> Any:
    """What the browser said about an event under this name; None where it said nothing of the kind."""
    data = event._data  # a program may send anything at all
    return data.get(name) if isinstance(data, dict) else None


@dataclass(frozen=True, kw_only=True)
class Tab:
    """How a tab shows the model in hand: called when the tab is opened or the model changes.

    changes: events after which the header must look anew at which models there are and what they are called.
    """

    refresh: Callable[..., Any]
    inputs: Sequence[Component]
    outputs: Sequence[Component]
    changes: Sequence[Dependency] = ()


def both(first: Tab, second: Tab) -> Tab:
    """Two parts of one tab, shown together."""

    def refresh(*values: Any) -> tuple[Any, ...]:
        cut = len(first.inputs)
        return (*_several(first.refresh(*values[:cut])), *_several(second.refresh(*values[cut:])))

    return Tab(
        refresh=refresh,
        inputs=[*first.inputs, *second.inputs],
        outputs=[*first.outputs, *second.outputs],
        changes=[*first.changes, *second.changes],
    )


def _several(shown: Any) -> tuple[Any, ...]:
    return shown if isinstance(shown, tuple) else (shown,)
