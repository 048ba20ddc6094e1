"""One forward pass, watched: forward hooks in, a frozen record of plain numpy arrays out.

The hooks see what the model computes and change nothing. Each writes what it sees straight into the array
that is handed out, so that nothing is held twice.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt2demo.errors import LimitError, check_range
from gpt2demo.inspection.hooks import Guard, HookAt, blocks, head_matrix, hooked, inspectable, neuron_hooks
from gpt2demo.model.attention import attention_mask, attention_scores, attention_weights
from gpt2demo.model.block import Block
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2, check_ids
from gpt2demo.model.language_model import LanguageModel

Array = NDArray[np.float32]

MAX_CAPTURE_TOKENS = 128  # what the page looks at
MAX_CAPTURE_TOKENS_BY_COMMAND = 512
MAX_CAPTURE_BYTES = 1_000_000_000  # GPT-2 with all that can be asked for, at 512 tokens, takes 0.9 of it
ALWAYS = ("attention", "residual")
ON_REQUEST = (
    "queries",
    "keys",
    "values",
    "scores",
    "head_outputs",
    "hidden",
    "mlp_outputs",
    "logits",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """What went on inside the model while it read a text once.

    It shows what was computed, not why: a head that reads a token need not change the answer by it.
    """

    tokens: NDArray[np.int64]  # (T,) ids
    attention: Array  # (L, H, T, T) share of attention that token i (row) gives to token j (column)
    allowed: NDArray[np.bool_]  # (T, T) whether token i may read token j, by the pattern of its attention
    residual: Array  # (L + 1, T, C) the stream after the embeddings (0) and after block i (i), before ln_f
    queries: Array | None = None  # (L, H, T, D) what each token looks for
    keys: Array | None = None  # (L, H, T, D) what each token offers to be found by
    values: Array | None = None  # (L, H, T, D) what each token hands over when it is found
    scores: Array | None = None  # (L, H, T, T) query · key ÷ √D, before the mask: the future has scores too
    head_outputs: Array | None = None  # (L, H, T, C) what each head adds to the stream; the bias is nobody's
    hidden: Array | None = (
        None  # (L, T, E·F) neurons after the bend, expert after expert; 0 where none worked
    )
    mlp_outputs: Array | None = None  # (L, T, C) what each MLP adds to the stream
    logits: Array | None = None  # (T, V) scores for the token that follows each


def capture(
    model: LanguageModel,
    ids: Sequence[int],
    *,
    guard: Guard | None = None,
    what: Collection[str] = (),
    max_tokens: int = MAX_CAPTURE_TOKENS,
    change: Iterable[HookAt] = (),
) -> Activations:
    """Reads the ids once, watched: attention and residual stream always, the rest when it is named.

    what: names of ON_REQUEST. guard: the shared model's lock, held from the first hook to the last. change:
    hooks of `intervention` that come before the watching ones; attention is then what the heads would have
    read, and all else what came of the change. Raises ConfigError for a model that is no GPT-2, LimitError
    beyond max_tokens, MAX_CAPTURE_BYTES or the model's context, before anything is allocated, TextError for
    ids that it does not know, ValueError for a model in training mode or one that was compiled (compiled code
    runs past hooks), RuntimeError where somebody else's hooks are on the model.
    """
    model = inspectable(model)
    unknown = set(what) - {*ALWAYS, *ON_REQUEST}
    if unknown:
        raise ValueError(f"cannot capture {sorted(unknown)}; there is {', '.join(ALWAYS + ON_REQUEST)}")
    check_capture(model.config, ids, what, max_tokens)
    with torch.inference_mode():
        seen = _Recorder(model, len(ids), what)
        batch = torch.tensor([ids], device=model.device)
        logits = None
        with guard or nullcontext(), hooked(model, [*change, *seen.hooks()]):
            if "logits" in what:
                logits = model(batch)[0]  # (T, V)
            else:
                model.hidden(batch)
        seen.check()
        arrays = {name: array.numpy() for name, array in seen.arrays.items()}
        if logits is not None:
            arrays["logits"] = logits.float().cpu().numpy()
    return Activations(tokens=np.array(ids, dtype=np.int64), allowed=seen.allowed.numpy(), **arrays)


def shapes(config: GPT2Config, tokens: int, what: Collection[str] = ()) -> dict[str, tuple[int, ...]]:
    """How large each array of a record is, by its name: those that always come, and those of `what`."""
    L, H, D, C, T = config.n_layer, config.n_head, config.head_dim, config.n_embd, tokens
    every = {
        "attention": (L, H, T, T),
        "residual": (L + 1, T, C),
        "queries": (L, H, T, D),
        "keys": (L, H, T, D),
        "values": (L, H, T, D),
        "scores": (L, H, T, T),
        "head_outputs": (L, H, T, C),
        "hidden": (L, T, config.n_experts * config.mlp_width),
        "mlp_outputs": (L, T, C),
        "logits": (T, config.vocab_size),
    }
    return {name: shape for name, shape in every.items() if name in ALWAYS or name in what}


def capture_bytes(config: GPT2Config, tokens: int, what: Collection[str] = ()) -> int:
    """How many bytes the record of a text of `tokens` tokens takes; attention grows with their square."""
    numbers = sum(math.prod(shape) for shape in shapes(config, tokens, what).values())
    return 4 * numbers + 8 * tokens + tokens * tokens  # and the ids, and who may read whom


def largest_capture(config: GPT2Config, what: Collection[str], max_tokens: int) -> int:
    """The most tokens of which all this can be kept: within the cap, the context and MAX_CAPTURE_BYTES."""
    fits = min(max_tokens, config.n_positions)
    while fits > 1 and capture_bytes(config, fits, what) > MAX_CAPTURE_BYTES:
        fits -= 1
    return fits


def check_capture(config: GPT2Config, ids: Sequence[int], what: Collection[str], max_tokens: int) -> None:
    """Refuses a text that cannot be looked at, with what it would cost and the most that fits.

    Raises LimitError, and TextError for ids that the model does not know.
    """
    check_range("max_tokens", max_tokens, 1, MAX_CAPTURE_TOKENS_BY_COMMAND, integer=True)
    most = largest_capture(config, what, max_tokens)
    if len(ids) > most:
        raise LimitError(
            f"The text has {len(ids):,} tokens, and keeping all that goes on inside for them would cost "
            f"{capture_bytes(config, len(ids), what) / 1e6:,.1f} MB.",
            f"At most {most} tokens of this model are looked at at once, which cost "
            f"{capture_bytes(config, most, what) / 1e6:,.1f} MB.",
            "Give a shorter part of the text.",
        )
    check_ids(ids, config.vocab_size, n_positions=config.n_positions)


class _Recorder:
    """The arrays of a record, and the hooks that fill them while the model reads one text."""

    def __init__(self, model: GPT2, tokens: int, what: Collection[str]) -> None:
        config = model.config
        self.model = model
        sizes = shapes(config, tokens, what)
        sizes.pop("logits", None)  # the model hands them out itself
        # zeros where not every expert works on every token
        self.arrays = {n: (torch.zeros if n == "hidden" else torch.empty)(s) for n, s in sizes.items()}
        self.allowed = attention_mask(
            config.attention, config.attention_window, config.global_tokens, tokens, tokens
        )
        self.written = {name: set[int]() for name in sizes}

    def hooks(self) -> list[HookAt]:
        """What has to be put where so that all arrays are filled."""
        hooks = []
        for layer, block in enumerate(blocks(self.model)):
            hooks.append(HookAt(block.attn.attend, partial(self._attend, layer, block)))
            hooks.append(HookAt(block, partial(self._stream, layer)))
            if "mlp_outputs" in self.arrays:
                hooks.append(HookAt(block.mlp, partial(self._mlp, layer)))
            if "hidden" in self.arrays:
                hooks += neuron_hooks(block.mlp, partial(self._neurons, layer))
        return hooks

    def check(self) -> None:
        """Refuses a record with a hole in it. Raises ValueError."""
        for name, layers in self.written.items():
            missing = sorted(set(range(len(self.arrays[name]))) - layers)
            if missing:
                raise ValueError(
                    f"layers {missing} ran past their hooks ({name}): inspect the model itself, not a "
                    "compiled one"
                )

    def _put(self, name: str, layer: int, value: Tensor) -> None:
        """(1, …) → its place in the array"""
        self.arrays[name][layer].copy_(value[0])
        self.written[name].add(layer)

    def _attend(
        self, layer: int, block: Block, module: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> None:
        q, k, v = args[:3]
        place = self.arrays["attention"][layer, None]  # (1, H, T, T)
        direct = (q.dtype, q.device) == (place.dtype, place.device)
        weights = attention_weights(q, k, self.allowed.to(q.device), out=place if direct else None)
        if direct:
            self.written["attention"].add(layer)
        else:
            self._put("attention", layer, weights)
        for name, value in (("queries", q), ("keys", k), ("values", v)):
            if name in self.arrays:
                self._put(name, layer, value)
        if "scores" in self.arrays:
            self._put("scores", layer, attention_scores(q, k))
        if "head_outputs" in self.arrays:
            self._put("head_outputs", layer, output @ head_matrix(block))  # (1, H, T, C)

    def _stream(self, layer: int, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if layer == 0:
            self._put("residual", 0, args[0])
        self._put("residual", layer + 1, output)

    def _mlp(self, layer: int, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self._put("mlp_outputs", layer, output)

    def _neurons(self, layer: int, tokens: Tensor | None, start: int, hidden: Tensor) -> None:
        if tokens is None:
            self._put("hidden", layer, hidden)
            return
        columns = slice(start, start + hidden.size(-1))
        self.arrays["hidden"][layer][tokens.cpu(), columns] = hidden.float().cpu()
        self.written["hidden"].add(layer)
