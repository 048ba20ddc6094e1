"""How much does each head matter here? The loss of a text without each of them, in one batch."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt2demo.errors import TextError, check_choice
from gpt2demo.inspection.hooks import Guard, HookAt, blocks, hooked, inspectable
from gpt2demo.inspection.intervention import FILLS, changing_output, check_text, filled, text_losses
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel

MAX_BATCH_BYTES = 500_000_000  # what the rows of one batch may take together


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadImportance:
    """How much worse a text is foretold without each head, as far as it is known.

    What a head matters for this text: elsewhere another may. Two heads that can stand in for each other both
    look unimportant, as only one is off at a time.
    """

    loss: float  # nats per token, with all heads
    without: NDArray[np.float64]  # (L, H) nats per token with this head off; NaN where not yet measured

    @property
    def change(self) -> NDArray[np.float64]:
        """Nats per token that each head saves; below 0, the text is foretold better without it.  → (L, H)"""
        return self.without - self.loss


def head_importance(
    model: LanguageModel,
    ids: Sequence[int],
    *,
    fill: str = "zero",
    max_bytes: int = MAX_BATCH_BYTES,
    guard: Guard | None = None,
) -> Iterator[HeadImportance]:
    """The text's loss without each head in turn: every head's copy of the text is a row of one batch.

    Where the batch would take more than max_bytes it is read in parts, and a record follows each; the last is
    complete. guard: the shared model's lock, held for a part at a time. Raises LimitError, and TextError for
    fewer than two tokens.
    """
    model = inspectable(model)
    check_choice("fill", fill, FILLS)
    check_text(model, ids)
    if len(ids) < 2:
        raise TextError("The text is a single token.", "Its loss needs a second one.", "Give a longer text.")
    return _importance(model, ids, fill, rows_that_fit(model, len(ids), max_bytes), guard)


def rows_that_fit(model: GPT2, tokens: int, max_bytes: int) -> int:
    """How many copies of a text a batch may hold; at least one. A token needs about 8·C + 2·F numbers."""
    config = model.config
    row = 4 * tokens * (8 * config.n_embd + 2 * config.experts_per_token * config.mlp_width)
    return max(1, max_bytes // row)


def _importance(
    model: GPT2, ids: Sequence[int], fill: str, rows: int, guard: Guard | None
) -> Iterator[HeadImportance]:
    L, H = model.config.n_layer, model.config.n_head
    off = [None, *np.ndindex(L, H)]  # the first row has all its heads
    losses: list[float] = []
    text = torch.tensor([ids], device=model.device)
    for first in range(0, len(off), rows):
        part = off[first : first + rows]
        with torch.inference_mode(), guard or nullcontext():
            with hooked(model, _row_hooks(model, part, fill)):
                x = model.hidden(text.expand(len(part), -1))
            losses += text_losses(model, x, text).double().mean(-1).tolist()
        without = np.full(L * H, np.nan)
        without[: len(losses) - 1] = losses[1:]
        yield HeadImportance(loss=losses[0], without=without.reshape(L, H))


def _row_hooks(model: GPT2, part: Sequence[tuple[int, ...] | None], fill: str) -> Iterator[HookAt]:
    """Switches a head off in each row: that of `part`."""
    for layer, block in enumerate(blocks(model)):
        rows = [(row, head[1]) for row, head in enumerate(part) if head is not None and head[0] == layer]
        if rows:
            number, heads = map(list, zip(*rows, strict=True))
            yield HookAt(block.attn.attend, changing_output(partial(_fill_rows, number, heads, fill)))


def _fill_rows(rows: list[int], heads: list[int], fill: str, x: Tensor) -> Tensor:
    """(B, H, T, D) → the same with a head silent or at its mean in some of the rows"""
    x = x.clone()
    x[rows, heads] = filled(fill, x[rows, heads])
    return x
