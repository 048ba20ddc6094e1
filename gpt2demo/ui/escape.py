"""THE html escaping function, and the few helpers that build small pieces of safe HTML with it."""

from __future__ import annotations

import html

VOID_TAGS = frozenset({"br", "hr", "img", "input"})


class Safe(str):
    """HTML that was built by `tag`: everything a person wrote in it has been through `esc`."""

    __slots__ = ()


def esc(text: object, *, quote: bool = True) -> str:
    """Escape anything for use between tags and in quoted attributes; without `quote` between tags only."""
    return html.escape(str(text), quote=quote)


def join(*parts: object) -> Safe:
    """Put pieces side by side: Safe ones as they are, None left out, all others escaped."""
    return Safe("".join(part if isinstance(part, Safe) else esc(part) for part in parts if part is not None))


def tag(name: str, *children: object, **attributes: object) -> Safe:
    """Build one element: `tag("p", "a < b", class_="gd-hint")`; `class_` and `for_` lose the underscore.

    Attribute names come from this project's code, never from data: event handlers are refused here so that
    nobody is tempted. None and False leave an attribute out, True writes it without a value.
    """
    if not name.isalnum():
        raise ValueError(f"{name!r} is not the name of an element")
    written = []
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if attribute.startswith("on") or not attribute.replace("-", "").isalnum():
            raise ValueError(f"{attribute!r} is not an attribute this page writes")
        if value is True:
            written.append(f" {attribute}")
        elif value is not None and value is not False:
            written.append(f' {attribute}="{esc(value)}"')
    opening = f"<{name}{''.join(written)}>"
    return Safe(opening if name in VOID_TAGS else f"{opening}{join(*children)}</{name}>")


def as_safe(value: object) -> Safe:
    """Turn any value into Safe HTML; None is nothing at all."""
    return join() if value is None else join(value)
