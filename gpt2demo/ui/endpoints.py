"""How a function is offered to other people's programs: as an endpoint, and as a tool of the MCP server."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

from gradio.events import api

SECTION = re.compile(r"^(Args|Returns):$")


def offer(handler: Callable[..., Any], name: str, **how: Any) -> None:
    """Makes a handler an endpoint, and where the MCP server runs a tool, of the same name.

    Gradio takes a tool's name and its words from the function: the name from `__name__`, and of the
    docstring only the first line about each argument. It takes the types of one message from the signature,
    where Python has those of the generator. how: as for gradio's `api`.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def endpoint(*values: Any, **named: Any) -> Any:
            yield from handler(*values, **named)

    else:

        @functools.wraps(handler)
        def endpoint(*values: Any, **named: Any) -> Any:
            return handler(*values, **named)

    given = get_type_hints(handler).get("return", Any)
    given = get_args(given)[0] if get_origin(given) is Iterator else given
    endpoint.__name__ = name
    endpoint.__doc__ = one_line_each(inspect.getdoc(handler) or "")
    endpoint.__annotations__ = endpoint.__annotations__ | {"return": given}
    endpoint.__signature__ = inspect.signature(handler).replace(return_annotation=given)  # type: ignore[attr-defined]
    api(endpoint, api_name=name, **how)


def one_line_each(doc: str) -> str:
    """A docstring in which each argument, and what is returned, takes one line.

    Lines within "Args:" that are indented further than the first belong to the argument before them.
    """
    lines: list[str] = []
    part, margin = "", 0
    for line in doc.splitlines():
        own = len(line) - len(line.lstrip())
        if found := SECTION.match(line.strip()):
            part, margin = found[1], 0
        elif part and line.strip() and margin and (own > margin or part == "Returns"):
            lines[-1] += " " + line.strip()
            continue
        elif part and line.strip():
            margin = own
        lines.append(line)
    return "\n".join(lines)
