"""A list with bars: a few names, each with a number that is also drawn as a length."""

from collections.abc import Iterable
from typing import NamedTuple

from gpt2demo.ui.escape import Safe, tag


class Bar(NamedTuple):
    """One line of the list."""

    name: str  # a token in its display form
    share: float  # how long the bar is, 0 to 1
    number: str  # the same in figures


def bars(rows: Iterable[Bar], *, caption: str) -> Safe:
    """The list as a table that a screen reader can read; `caption` says what the names and numbers are."""
    lines = [
        tag(
            "tr",
            tag("th", tag("span", row.name), scope="row", title=row.name),
            tag("td", tag("i", style=f"--w: {100 * min(max(row.share, 0.0), 1.0):.1f}%", aria_hidden="true")),
            tag("td", row.number),
        )
        for row in rows
    ]
    return tag("table", tag("caption", caption, class_="gd-sr"), tag("tbody", *lines), class_="gd-bars")
