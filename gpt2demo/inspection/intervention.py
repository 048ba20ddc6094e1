"""Surgery: switch a part of the model off, or put something else in its place, and see what changes.

What attention and the lens show are guesses about what matters; this tests them. The model itself is never
touched: hooks return another output, and are gone afterwards.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2demo.errors import LimitError, check_choice, check_range
from gpt2demo.inspection.capture import MAX_CAPTURE_TOKENS_BY_COMMAND, Array
from gpt2demo.inspection.hooks import Guard, HookAt, blocks, hooked, inspectable
from gpt2demo.model.gpt2 import GPT2, check_ids
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import MLP

FILLS = ("zero", "mean")
ROWS = 256  # positions scored at once: more of GPT-2's logits would fill hundreds of megabytes


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Parts of a model that say nothing, or always the same, while it reads a text.

    With "mean" a part says at every place what it says on average over the places of this text: gentler than
    silence, which the rest of the model has never met, but it knows a little of what comes later.
    """

    heads: tuple[tuple[int, int], ...] = ()  # (layer, head)
    attention: tuple[int, ...] = ()  # layers whose attention is off as a whole, its bias included
    mlps: tuple[int, ...] = ()  # layers whose MLP is off
    neurons: tuple[tuple[int, int], ...] = ()  # (layer, neuron), numbered as in Activations.hidden
    fill: str = "zero"  # or "mean"

    def __post_init__(self) -> None:
        check_choice("fill", self.fill, FILLS)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One place of the residual stream replaced by what stood there, or elsewhere, in another text.

    What the answer then takes over from the other text must have been at that place and layer: activation
    patching. It says where something is known, not how it is worked out.
    """

    source: tuple[int, ...]  # the other text's ids
    layer: int  # as in Activations.residual: 0 after the embeddings, i after block i
    position: int  # in the text
    source_position: int  # in the other


Surgery = Ablation | Patch


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect:
    """What a model expects after a text, and how well it foretold the text, before and after surgery."""

    before: Array  # (V,) probability of each token to come next
    after: Array  # (V,)
    losses_before: Array  # (T − 1,) nats: surprise at each token but the first
    losses_after: Array  # (T − 1,)

    @property
    def loss_before(self) -> float:
        """Nats per token; NaN for a text of one token, which nothing was foretold of."""
        return _mean(self.losses_before)

    @property
    def loss_after(self) -> float:
        """Nats per token."""
        return _mean(self.losses_after)


def effect(
    model: LanguageModel, ids: Sequence[int], surgery: Sequence[Surgery], *, guard: Guard | None = None
) -> Effect:
    """What changes in the next token and in the text's loss when parts are switched off or patched.

    Several changes are made together. No surgery changes nothing, to the last bit. guard: the shared model's
    lock. Raises LimitError for parts that there are not and for a text that is too long, TextError.
    """
    model = inspectable(model)
    check_text(model, ids)
    batch = torch.tensor([ids], device=model.device)
    with torch.inference_mode(), guard or nullcontext():
        changes = surgery_hooks(model, len(ids), surgery)
        with hooked(model, ()):
            before = model.hidden(batch)
        with hooked(model, changes):
            after = model.hidden(batch)
        told = [
            (
                model.lm_head(x[0, -1]).float().softmax(-1).cpu().numpy(),
                text_losses(model, x, batch)[0].numpy(),
            )
            for x in (before, after)
        ]
    (p, losses), (p_after, losses_after) = told
    return Effect(before=p, after=p_after, losses_before=losses, losses_after=losses_after)


def surgery_hooks(model: GPT2, tokens: int, surgery: Sequence[Surgery]) -> list[HookAt]:
    """Hooks that make these changes while the model reads a text of so many tokens.

    For `hooked`, or for `capture` as its `change`. For a patch the other text is read now: hold the shared
    model's lock. Raises LimitError, TextError.
    """
    return [
        hook
        for change in surgery
        for hook in (
            _ablation_hooks(model, change)
            if isinstance(change, Ablation)
            else _patch_hooks(model, tokens, change)
        )
    ]


def _ablation_hooks(model: GPT2, ablation: Ablation) -> Iterator[HookAt]:
    config, floors = model.config, blocks(model)
    L, width = config.n_layer, config.mlp_width
    pairs = chain(ablation.heads, ablation.neurons)
    for layer in chain(ablation.attention, ablation.mlps, (layer for layer, _ in pairs)):
        check_range("layer", layer, 0, L - 1, integer=True)
    for layer, head in ablation.heads:
        check_range("head", head, 0, config.n_head - 1, integer=True)
        yield HookAt(floors[layer].attn.attend, changing_output(partial(_fill_head, head, ablation.fill)))
    for layer in ablation.attention:
        yield HookAt(floors[layer].attn, changing_output(partial(filled, ablation.fill)))
    for layer, neuron in ablation.neurons:
        check_range("neuron", neuron, 0, config.n_experts * width - 1, integer=True)
        mlp = floors[layer].mlp
        expert = mlp if isinstance(mlp, MLP) else cast(MLP, mlp.experts[neuron // width])
        change = partial(_fill_neuron, neuron % width, ablation.fill)
        yield HookAt(expert.c_proj, _input(change), before=True)
    for layer in ablation.mlps:
        yield HookAt(floors[layer].mlp, changing_output(partial(filled, ablation.fill)))


def changing_output(
    change: Callable[[Tensor], Tensor],
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """A hook that puts something else in the place of what a module gives."""
    return lambda module, args, output: change(output)


def _input(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], object]:
    """A hook that puts something else in the place of what a module first gets."""
    return lambda module, args: (change(args[0]), *args[1:])


def filled(fill: str, x: Tensor) -> Tensor:
    """Silence, or the mean over the tokens (of an expert: those that chose it): (…, T, N) → (…, T, N)"""
    return torch.zeros_like(x) if fill == "zero" else x.mean(-2, keepdim=True).expand_as(x)


def _fill_head(head: int, fill: str, x: Tensor) -> Tensor:
    """(B, H, T, D) → the same with one head silent or at its mean"""
    x = x.clone()
    x[:, head] = filled(fill, x[:, head])
    return x


def _fill_neuron(neuron: int, fill: str, x: Tensor) -> Tensor:
    """(…, T, F) → the same with one neuron silent or at its mean"""
    x = x.clone()
    x[..., neuron, None] = filled(fill, x[..., neuron, None])
    return x


def _patch_hooks(model: GPT2, tokens: int, patch: Patch) -> Iterator[HookAt]:
    check_text(model, patch.source)
    check_range("layer", patch.layer, 0, model.config.n_layer, integer=True)
    check_range("position", patch.position, 0, tokens - 1, integer=True)
    check_range("source position", patch.source_position, 0, len(patch.source) - 1, integer=True)
    found: list[Tensor] = []

    def take(x: Tensor) -> Tensor:
        found.append(x[0, patch.source_position].clone())
        return x

    def put(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, patch.position] = found[0]
        return x

    with torch.inference_mode(), hooked(model, [_stream_hook(model, patch.layer, take)]):
        model.hidden(torch.tensor([patch.source], device=model.device))
    yield _stream_hook(model, patch.layer, put)


def _stream_hook(model: GPT2, layer: int, change: Callable[[Tensor], Tensor]) -> HookAt:
    """A hook on the residual stream where Activations.residual has it."""
    if layer == 0:
        return HookAt(model.h[0], _input(change), before=True)
    return HookAt(model.h[layer - 1], changing_output(change))


def text_losses(model: GPT2, x: Tensor, ids: Tensor) -> Tensor:
    """How surprised the model is at each token but the first, in nats.

    x: what `GPT2.hidden` gave, (B, T, C); ids: (B, T), or (1, T) for the same text in all rows → (B, T − 1)
    """
    true = ids[:, 1:].expand(len(x), -1).flatten()
    states = x[:, :-1].flatten(0, 1)  # (B·(T − 1), C)
    parts = [
        F.cross_entropy(model.lm_head(states[i : i + ROWS]).float(), true[i : i + ROWS], reduction="none")
        for i in range(0, len(states), ROWS)
    ]
    surprises = torch.cat(parts) if parts else states.new_zeros(0)
    return surprises.view(len(x), x.size(1) - 1).cpu()


def _mean(losses: Array) -> float:
    return float(losses.mean(dtype=np.float64)) if losses.size else math.nan


def check_text(model: GPT2, ids: Sequence[int]) -> None:
    """Refuses a text that the model cannot read or that is too long to operate on."""
    if len(ids) > MAX_CAPTURE_TOKENS_BY_COMMAND:
        raise LimitError(
            f"The text has {len(ids):,} tokens.",
            f"At most {MAX_CAPTURE_TOKENS_BY_COMMAND} can be operated on at once.",
            "Give a shorter part of it.",
        )
    check_ids(ids, model.config.vocab_size, n_positions=model.config.n_positions)
