"""The page's colours, each with its own value for dark: the one place they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gpt2demo.figures.colours import DARK

# name -> (light, dark). In CSS, and in any figure, a colour is `var(--gd-<name>)`.
PALETTE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ground": ("#FBFAF7", "#15171B"),
        "surface": ("#FFFFFF", "#1C1F25"),
        "raised": ("#F4F2EC", "#262A32"),
        "ink": ("#1F2328", "#E9E7E2"),
        "muted": ("#59606B", "#A6ACB8"),
        "hairline": ("#E7E4DC", "#323742"),
        "edge": ("#85878C", "#767D8B"),  # borders of controls: 3:1 on the ground
        "accent": ("#0F766E", "#2DD4BF"),
        "accent-soft": ("#DFF1EE", "#12352F"),
        "on-accent": ("#FFFFFF", "#06211D"),
        "query": ("#2563EB", "#7AB0FF"),
        "key": ("#DC2626", "#FF8A8A"),
        "value": ("#16A34A", "#4ADE80"),
        "value-text": ("#157F3C", "#4ADE80"),
        "attention": ("#4338CA", "#A9B1FF"),
        "attention-paper": ("#FBFAF7", "#171A20"),
        "mask": ("#E4E3DF", "#2B2D31"),
        "surprise": ("#D97706", "#F2A33A"),
        "training": ("#475569", "#9FB0C7"),
        "validation": ("#EA580C", "#FF9A57"),
        "danger": ("#B42318", "#FF9C92"),
        "danger-soft": ("#FDECEA", "#3A1D1B"),
        "warning-soft": ("#FCF1DC", "#37290F"),
    }
)


def light_to_variable() -> dict[str, str]:
    """Light colours, as a figure may name them, and what they become: a CSS variable or a dark colour."""
    found: dict[str, str] = {light.lower(): dark for light, dark in DARK.items()}
    for name, (light, _) in PALETTE.items():
        if light not in ("#FFFFFF", "#FBFAF7"):
            found[light.lower()] = f"--gd-{name}"
    return found
