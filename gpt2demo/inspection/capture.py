"""One forward pass, watched: forward hooks in, a frozen record of plain numpy arrays out.

The hooks see what the model computes and change nothing; they live only inside `watching`, a context manager.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt2demo.errors import ConfigError, LimitError, check_range
from gpt2demo.model.attention import attention_mask, attention_weights
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2, check_ids
from gpt2demo.model.language_model import LanguageModel

Array = NDArray[np.float32]

MAX_CAPTURE_TOKENS = 128  # what the page looks at
MAX_CAPTURE_TOKENS_BY_COMMAND = 512
ALWAYS = ("attention", "residual", "logits")
ON_REQUEST = ("queries", "keys", "values")


@dataclass(frozen=True, kw_only=True)
class Activations:
    """What went on inside the model while it read a text once."""

    tokens: NDArray[np.int64]  # (T,) ids
    attention: Array  # (L, H, T, T) share of attention that token i (row) gives to token j (column)
    allowed: NDArray[np.bool_]  # (T, T) whether token i may read token j, by the pattern of its attention
    residual: Array  # (L + 1, T, C) the stream after the embeddings (0) and after block i (i), before ln_f
    logits: Array  # (T, V) scores for the token that follows each
    queries: Array | None = None  # (L, H, T, D) what each token looks for
    keys: Array | None = None  # (L, H, T, D) what each token offers to be found by
    values: Array | None = None  # (L, H, T, D) what each token hands over when it is found


@dataclass
class Watched:
    """What the hooks of `watching` have seen so far, by layer."""

    qkv: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)  # each (B, H, T, D)
    stream: dict[int, Tensor] = field(default_factory=dict)  # (B, T, C), numbered as in Activations


@contextmanager
def watching(model: GPT2) -> Iterator[Watched]:
    """Inside the `with`, every forward pass of the model leaves its queries, keys, values and stream behind.

    Hooks belong to the model, not to the caller: hold the model's lock around the whole `with`, or another
    thread's forward pass is recorded too. No hook is left afterwards, whatever happens.
    """
    seen = Watched()
    handles = []

    def watch(layer: int, block: nn.Module) -> None:
        def see_attention(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            q, k, v = args
            seen.qkv[layer] = (q.detach(), k.detach(), v.detach())

        def see_block(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if layer == 0:
                seen.stream[0] = args[0].detach()
            seen.stream[layer + 1] = output.detach()

        handles.append(block.get_submodule("attn.attend").register_forward_hook(see_attention))
        handles.append(block.register_forward_hook(see_block))

    try:
        for layer, block in enumerate(model.h):
            watch(layer, block)
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def capture(
    model: LanguageModel,
    ids: Sequence[int],
    *,
    guard: AbstractContextManager[object] | None = None,
    what: Collection[str] = ALWAYS,
    max_tokens: int = MAX_CAPTURE_TOKENS,
) -> Activations:
    """Reads the ids once, watched.

    what: attention, residual stream and logits come always; queries, keys and values when named.
    guard: the shared model's lock, held from the first hook to the last. Raises ConfigError for a model that
    is no GPT-2, LimitError beyond max_tokens or the model's context, TextError for ids that it does not know,
    ValueError for a model in training mode or one that was compiled (compiled code runs past hooks).
    """
    if not isinstance(model, GPT2):
        raise ConfigError(
            f"This model is of the kind {model.config.architecture}.",
            "Only a GPT-2 has attention to look at.",
            "Choose a GPT-2, or let this one write under Generate.",
        )
    unknown = set(what) - {*ALWAYS, *ON_REQUEST}
    if unknown:
        raise ValueError(f"cannot capture {sorted(unknown)}; there is {', '.join(ALWAYS + ON_REQUEST)}")
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout changes what it does: call model.eval()"
        )
    check_range("max_tokens", max_tokens, 1, MAX_CAPTURE_TOKENS_BY_COMMAND, integer=True)
    extra = [name for name in ON_REQUEST if name in what]
    _check_ids(ids, model.config, max_tokens, extra)
    with torch.inference_mode():
        with guard or nullcontext(), watching(model) as seen:
            logits = model(torch.tensor([ids]))  # (1, T, V)
        return _activations(ids, model.config, seen, logits, extra)


def capture_bytes(config: GPT2Config, tokens: int, extra: Collection[str] = ()) -> int:
    """How many bytes the record of a text of `tokens` tokens takes; attention grows with their square."""
    attention = config.n_layer * config.n_head * tokens * tokens
    residual = (config.n_layer + 1) * tokens * config.n_embd
    requested = len(extra) * config.n_layer * tokens * config.n_embd
    return 4 * (attention + residual + requested + tokens * config.vocab_size) + 8 * tokens


def _activations(
    ids: Sequence[int], config: GPT2Config, seen: Watched, logits: Tensor, extra: Collection[str]
) -> Activations:
    missing = [layer for layer in range(config.n_layer) if layer not in seen.qkv]
    if missing or len(seen.stream) != config.n_layer + 1:
        raise ValueError(
            f"layers {missing} ran past their hooks: inspect the model itself, not a compiled one"
        )
    layers = [seen.qkv[layer] for layer in range(config.n_layer)]
    allowed = attention_mask(
        config.attention, config.attention_window, config.global_tokens, len(ids), len(ids)
    )
    named = {
        name: _array([parts[i] for parts in layers]) for i, name in enumerate(ON_REQUEST) if name in extra
    }
    return Activations(
        tokens=np.array(ids, dtype=np.int64),
        attention=_array([attention_weights(q, k, allowed.to(q.device)) for q, k, _ in layers]),
        allowed=allowed.numpy(),
        residual=_array([seen.stream[i] for i in range(config.n_layer + 1)]),
        logits=_array([logits])[0],
        **named,
    )


def _array(layers: list[Tensor]) -> Array:
    """(1, …) per layer → (layers, …) float32"""
    return torch.cat(layers).float().cpu().numpy()


def _check_ids(ids: Sequence[int], config: GPT2Config, max_tokens: int, extra: Collection[str]) -> None:
    if len(ids) > max_tokens:
        megabytes = capture_bytes(config, len(ids), extra) / 1e6
        raise LimitError(
            f"The text has {len(ids):,} tokens, and keeping all that goes on inside for them would cost "
            f"{megabytes:,.1f} MB.",
            f"At most {max_tokens} tokens are looked at at once.",
            "Give a shorter part of the text.",
        )
    check_ids(ids, config.vocab_size, n_positions=config.n_positions)
