"""What `inspect` shows of surgery: the next token and the loss, before and after parts are off or patched."""

import math
import re
from collections.abc import Sequence

import numpy as np

from gpt2demo.commands.views import SHOWN, Subject, View
from gpt2demo.errors import ConfigError
from gpt2demo.inspection.intervention import Ablation, Patch, Surgery, effect

PART = re.compile(r"(?P<layer>\d{1,4})\.(?P<part>attention|mlp|(?P<neuron>n)?(?P<number>\d{1,6}))")


def ablation(parts: Sequence[str], fill: str) -> Ablation:
    """Reads what is to be off: 1.0 is a head, 1.n7 a neuron, 1.attention and 1.mlp are whole layers.

    Raises ConfigError.
    """
    found: dict[str, list[tuple[int, int]]] = {"heads": [], "neurons": [], "attention": [], "mlp": []}
    for text in parts:
        match = PART.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text[:40]!r} is no part of a model.",
                "A part is a layer and what is in it: 1.0 a head, 1.n7 a neuron, 1.attention, 1.mlp.",
                "Name one of these.",
            )
        kind = "neurons" if match["neuron"] else "heads" if match["number"] else match["part"]
        found[kind].append((int(match["layer"]), int(match["number"] or 0)))
    return Ablation(
        heads=tuple(found["heads"]),
        neurons=tuple(found["neurons"]),
        attention=tuple(layer for layer, _ in found["attention"]),
        mlps=tuple(layer for layer, _ in found["mlp"]),
        fill=fill,
    )


def surgery_view(subject: Subject) -> View:
    """What changes when parts of the model are switched off, or a place is patched from another text."""
    tokens = subject.text.tokens
    surgery: list[Surgery] = [ablation(subject.off, subject.fill)]
    if subject.patch is not None:
        if subject.layer is None:
            raise ConfigError("--patch is given without --layer.", "It acts behind one block.", "Name it.")
        place = subject.position
        surgery.append(
            Patch(source=subject.patch, layer=subject.layer + 1, position=place, source_position=place)
        )
    told = effect(subject.model, tokens.tolist(), surgery)
    lines = [f"surgery: what follows {subject.short(tokens[-1])}, before → after"]
    for i in np.argsort(-np.maximum(told.before, told.after), kind="stable")[:SHOWN]:
        lines.append(f"  {told.before[i]:7.1%} → {told.after[i]:7.1%}  {subject.short(i)}")
    if not math.isnan(told.loss_before):
        lines.append(f"  loss {told.loss_before:.4f} → {told.loss_after:.4f} nats per token")
    glyphs = subject.glyphs(range(len(told.before)))
    return View(
        arrays={f"surgery_{name}": array for name, array in vars(told).items()},
        columns=("id", "token", "before", "after"),
        rows=((i, glyphs[i], told.before[i], told.after[i]) for i in range(len(glyphs))),
        lines=lines,
    )
