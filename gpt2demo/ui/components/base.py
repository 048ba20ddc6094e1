"""What the page's own components share: one gr.HTML whose script and look are files beside it."""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable
from gradio.data_classes import _StaticFiles

HERE = Path(__file__).parent
ARGUMENTS = frozenset(inspect.signature(gr.HTML.__init__).parameters)  # all others are a component's own


class QuietMeta(ComponentMeta):
    """Gradio's metaclass without its habit of writing a .pyi file beside every module with a component."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Any:
        if "__init__" in attributes:  # gradio rebuilds a component from its arguments on gr.update(...)
            attributes["__init__"] = cast(Callable[..., Any], updateable)(attributes["__init__"])
        return ABCMeta.__new__(cls, name, bases, attributes)


class Widget(gr.HTML, metaclass=QuietMeta):
    """A custom component: `value` is always a string, the DOM is built by a script with textContent only.

    The script file holds `GD.<function> = function (root, api) {...}`. `events` are the names it may trigger:
    each becomes a listener of the component (`plot.point(fn)`), with the data in `gr.EventData`.
    """

    def __init__(
        self,
        value: str,
        *,
        function: str,
        scripts: Iterable[Path],
        events: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        names = " ".join(repr(name) for name in events)
        super().__init__(
            value,
            html_template=f'<div class="gd-widget gd-kind-{function}"></div>',
            js_on_load=(
                f"/* triggers: {names} */ {_own_props(kwargs)} "
                f"GD.start({function!r}, element, {{trigger, props: all, server, watch}});"
            ),
            head="".join(script_tag(path) for path in (HERE / "shared.js", *scripts)),
            apply_default_css=False,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:  # type: ignore[override]
        """Leave out what is no data: gradio takes arguments for attributes, and `click` is a listener."""
        return {key: value for key, value in super().get_config().items() if not callable(value)}

    def postprocess(self, value: object) -> str:
        """Pass the string on as it is: the script shows it as text, never as HTML."""
        return "" if value is None else str(value)


def _own_props(arguments: Mapping[str, Any]) -> str:
    """Script that keeps a component's own settings in `all`, beside those that gradio passes as `props`.

    Gradio loses them when a component in a tab that was never opened is sent an update, even `gr.skip()`. As
    JSON within a string they hold no quoted names, which gradio would take for events.
    """
    own = {name: value for name, value in arguments.items() if name not in ARGUMENTS}
    return (
        f"const own = JSON.parse({json.dumps(json.dumps(own))}); "
        "const all = new Proxy(props, {get: (given, name) => given[name] ?? own[name]});"
    )


def script_tag(path: Path) -> str:
    """Let the app serve this file, and name it by a relative address that changes with its content."""
    path = path.resolve()
    if path not in _StaticFiles.all_paths:
        gr.set_static_paths([path])
    return f'<script src="gradio_api/file={path.as_posix()}?v={_fingerprint(path)}"></script>'


@cache
def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
