"""What each neuron of an MLP waits for: the places in a text at which it says most."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt2demo.errors import LimitError, check_range
from gpt2demo.inspection.capture import Array
from gpt2demo.inspection.hooks import Guard, blocks, hooked, inspectable, neuron_hooks
from gpt2demo.model.gpt2 import GPT2, check_ids
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import overlapping_windows

MAX_NEURON_TOKENS = 4_096
MAX_PEAKS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronPeaks:
    """The tokens that excite each neuron of one MLP most, in the part of a text that has been read so far.

    A neuron need not stand for one thing, and what excites it in this text need not be what it is for.
    """

    layer: int
    read: int  # how many tokens of the text
    places: NDArray[np.int64]  # (N, k) which tokens of the text, the most exciting first; N = E·F neurons
    activations: Array  # (N, k) after the bend


def neuron_peaks(
    model: LanguageModel, ids: Sequence[int], layer: int, *, k: int = 10, guard: Guard | None = None
) -> Iterator[NeuronPeaks]:
    """Which tokens of a text excite each neuron of a layer most.

    A text longer than the context is read in windows that overlap by half, so that every token is met with at
    least half a context before it. Yields a record after each window; the last one knows the whole text.
    Experts stand one after the other; where one was not asked, its neurons are at 0. Raises LimitError beyond
    4,096 tokens, TextError.
    """
    model = inspectable(model)
    check_range("layer", layer, 0, model.config.n_layer - 1, integer=True)
    check_range("k", k, 1, MAX_PEAKS, integer=True)
    if len(ids) > MAX_NEURON_TOKENS:
        raise LimitError(
            f"The text has {len(ids):,} tokens.",
            f"At most {MAX_NEURON_TOKENS:,} are searched for what excites a neuron.",
            "Give a shorter part of it.",
        )
    check_ids(ids, model.config.vocab_size)
    return _peaks(model, ids, layer, k, guard)


def _peaks(model: GPT2, ids: Sequence[int], layer: int, k: int, guard: Guard | None) -> Iterator[NeuronPeaks]:
    read = 0
    neurons = model.config.n_experts * model.config.mlp_width
    best, places = torch.empty(neurons, 0), torch.empty(neurons, 0, dtype=torch.int64)
    for start, end in overlapping_windows(len(ids), model.config.n_positions):
        new = _hidden(model, ids[start:end], layer, guard)[read - start :].T  # (N, end − read)
        numbers = torch.arange(read, end).expand(neurons, -1)
        every, where = torch.cat([best, new], 1), torch.cat([places, numbers], 1)
        best, chosen = every.topk(min(k, every.size(1)), dim=1)
        places, read = where.gather(1, chosen), end
        yield NeuronPeaks(layer=layer, read=read, places=places.numpy(), activations=best.numpy())


def _hidden(model: GPT2, ids: Sequence[int], layer: int, guard: Guard | None) -> Tensor:
    """What the neurons of one layer say at each token.  → (T, N)"""
    hidden = torch.zeros(len(ids), model.config.n_experts * model.config.mlp_width)

    def see(tokens: Tensor | None, start: int, part: Tensor) -> None:
        rows = slice(None) if tokens is None else tokens.cpu()
        hidden[rows, start : start + part.size(-1)] = part.reshape(-1, part.size(-1)).float().cpu()

    watch = neuron_hooks(blocks(model)[layer].mlp, see)
    with torch.inference_mode(), guard or nullcontext(), hooked(model, watch):
        model.hidden(torch.tensor([ids], device=model.device))
    return hidden
