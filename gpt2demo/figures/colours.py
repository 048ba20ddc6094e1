"""The colours of every picture, which mean the same everywhere, and what each becomes on a dark page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GROUND, SURFACE, INK, MUTED, HAIRLINE = "#FBFAF7", "#FFFFFF", "#1F2328", "#59606B", "#E7E4DC"
ACCENT = "#0F766E"
QUERY, KEY, VALUE = "#2563EB", "#DC2626", "#16A34A"
TRAINING, VALIDATION = "#475569", "#EA580C"
INDIGO, AMBER = "#4338CA", "#D97706"
MASKED = "#E4E3DF"  # the future a token cannot read: neither "no attention" nor a number

Scale = list[tuple[float, str]]
ATTENTION: Scale = [(0.0, GROUND), (0.25, "#CDCBEC"), (0.5, "#9F99E1"), (0.75, "#7168D5"), (1.0, INDIGO)]
SURPRISE: Scale = [(0.0, GROUND), (0.5, "#EAB97F"), (1.0, AMBER)]
SIGNED: Scale = [(0.0, "#B2182B"), (0.25, "#E58368"), (0.5, "#FFFFFE"), (0.75, "#6FAED2"), (1.0, "#2166AC")]
AMOUNT: Scale = [(0.0, "#8A82D4"), (0.5, "#5F54B4"), (1.0, "#2E1F8F")]  # never pale: a dot must be seen

# One per run laid over the others; its dash and marker tell it apart without colour.
RUNS: tuple[tuple[str, str, str], ...] = (
    (TRAINING, "solid", "circle"),
    ("#0072B2", "dash", "square"),
    ("#A8326E", "dot", "diamond"),
    ("#7A5C00", "dashdot", "triangle-up"),
    ("#00735C", "longdash", "cross"),
    ("#6D3FC0", "longdashdot", "x"),
)


@dataclass(frozen=True)
class Mark:
    """How one kind of thing is drawn: a colour and a marker symbol that 2D and 3D both have."""

    colour: str
    symbol: str


TOKEN_KINDS: Mapping[str, Mark] = {
    "word start": Mark("#4338CA", "circle"),
    "word part": Mark("#0E7490", "square"),
    "capitalised": Mark("#A8326E", "diamond"),
    "other script": Mark("#15803D", "circle-open"),
    "digits": Mark("#B45309", "diamond-open"),
    "punctuation": Mark("#6D3FC0", "cross"),
    "whitespace": Mark(MUTED, "square-open"),
    "byte": Mark("#B91C1C", "x"),
    "special": Mark(INK, "square-open"),  # 3D has eight symbols; these nine kinds share this one, both rare
}
_UNKNOWN = Mark(MUTED, "circle")


def kind_mark(kind: str) -> Mark:
    """Gives the colour and symbol of a kind of token, grey discs for a kind that is not in the palette."""
    return TOKEN_KINDS.get(kind, _UNKNOWN)


DARK: Mapping[str, str] = {
    GROUND: "#15171B",
    SURFACE: "#1C1F25",
    INK: "#E9E7E2",
    MUTED: "#A6ACB8",
    HAIRLINE: "#323742",
    ACCENT: "#2DD4BF",
    QUERY: "#7AB0FF",
    KEY: "#FF8A8A",
    VALUE: "#4ADE80",
    TRAINING: "#9FB0C7",
    VALIDATION: "#FF9A57",
    INDIGO: "#A9B1FF",
    AMBER: "#F2A33A",
    MASKED: "#2B2D31",
    "#CDCBEC": "#34375A",
    "#9F99E1": "#575C94",
    "#7168D5": "#8086CB",
    "#EAB97F": "#8A6A20",
    "#B2182B": "#FF7B6B",
    "#E58368": "#8E4540",
    "#FFFFFE": "#16171A",
    "#6FAED2": "#3A6285",
    "#2166AC": "#6DB3F2",
    "#8A82D4": "#716DB0",
    "#5F54B4": "#A29CE6",
    "#2E1F8F": "#E6E4FF",
    "#0072B2": "#56B4E9",
    "#A8326E": "#F28CBB",
    "#7A5C00": "#E0B93F",
    "#00735C": "#3FCFA8",
    "#6D3FC0": "#B99BFF",
    "#0E7490": "#4CC9E6",
    "#B45309": "#F5A555",
    "#15803D": "#5FD98A",
    "#B91C1C": "#FF8A8A",
}


def recolour(figure: Any, colours: Mapping[str, str] = DARK) -> Any:
    """Gives the same figure in other colours, by default those of a dark page; arrays are shared.

    Only values under keys that end in `color` or `colorscale` change, so that a token "#4338CA" stays one.
    The page does the same walk in the browser when its theme changes.
    """
    if isinstance(figure, Mapping):
        return {
            key: _repaint(value, colours)
            if key.endswith(("color", "colorscale"))
            else recolour(value, colours)
            for key, value in figure.items()
        }
    if isinstance(figure, list | tuple):
        return [recolour(value, colours) for value in figure]
    return figure


def _repaint(value: Any, colours: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return colours.get(value, value)
    if isinstance(value, list | tuple):
        return [_repaint(part, colours) for part in value]
    return value


def contrast(first: str, second: str) -> float:
    """Says how well two colours can be told apart: WCAG's ratio, 1 (the same) to 21 (black on white)."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
