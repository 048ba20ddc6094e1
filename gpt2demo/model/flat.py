"""One token more, as fast as a small model can: the arithmetic of `GPT2.hidden` with nothing in between.

A small model's products take microseconds, and so does going through a module to get to one. Here the same
operations stand one after the other; a test holds that they give the same numbers, bit for bit.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2demo.model.batch_cache import KVRows
from gpt2demo.model.cache import Cache, KVCache
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import activate

PARTS = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
PRODUCTS = tuple(part for part in PARTS if "c_" in part)


class Layer(NamedTuple):
    """The numbers of one block."""

    ln_1: tuple[Tensor, Tensor | None]  # each (weight, bias)
    c_attn: tuple[Tensor, Tensor | None]
    attn_c_proj: tuple[Tensor, Tensor | None]
    ln_2: tuple[Tensor, Tensor | None]
    c_fc: tuple[Tensor, Tensor | None]
    mlp_c_proj: tuple[Tensor, Tensor | None]


class FlatGPT2(LanguageModel):
    """A finished GPT-2 to write with. Prompts are read by the model itself; hooks on it see these only."""

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        self.config = model.config
        self.model = model
        self.wte = model.wte
        # in a list of our own: asking a module for its parameters takes as long as adding two vectors
        self._layers = [Layer(*(_numbers(block.get_submodule(part)) for part in PARTS)) for block in model.h]
        self._tables = (model.wte.weight, model.wpe.weight)
        self._ends = (_numbers(model.ln_f), _numbers(model.lm_head))
        self.eval()

    @staticmethod
    def suits(model: LanguageModel) -> bool:
        """Whether a model is built in the way that is written down here: GPT-2's own, in plain numbers."""
        config = model.config
        return (
            isinstance(model, GPT2)
            and (config.norm, config.attention, config.n_experts) == ("pre", "full", 1)
            and config.positions != "rotary"
            and all(isinstance(block.get_submodule(p), nn.Linear) for block in model.h for p in PRODUCTS)
            and isinstance(model.lm_head, nn.Linear)
        )

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, T) → (B, T, V), by the model."""
        logits: Tensor = self.model(input_ids, cache)
        return logits

    def next_logits(
        self, input_ids: Tensor, cache: Cache | None = None, ends: Tensor | None = None
    ) -> Tensor:
        """The scores after one place of each text. (B, T) → (B, V)"""
        if input_ids.size(1) > 1 or not isinstance(cache, KVCache | KVRows):
            return self.model.next_logits(input_ids, cache, ends)
        return self._step(input_ids[:, 0], cache)

    def _step(self, ids: Tensor, cache: KVCache | KVRows) -> Tensor:
        """One token more for each text: (B,) → (B, V)"""
        wte, wpe = self._tables
        B, C, heads = len(ids), self.config.n_embd, self.config.n_head
        shape, epsilon, bend = (C,), self.config.layer_norm_epsilon, self.config.activation
        past = cache.past
        x = F.embedding(ids, wte) + wpe[past if isinstance(past, int) else past[:, 0]]  # (B, C)
        for number, layer in enumerate(self._layers):
            y = torch.layer_norm(x, shape, *layer.ln_1, epsilon)
            q, k, v = F.linear(y, *layer.c_attn).view(B, 3, heads, 1, C // heads).unbind(1)  # (B, H, 1, D)
            k, v = cache.store(number, k, v)  # (B, H, Tk, D)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=cache.allowed).view(B, C)
            x = x + F.linear(y, *layer.attn_c_proj)
            y = torch.layer_norm(x, shape, *layer.ln_2, epsilon)
            x = x + F.linear(activate(F.linear(y, *layer.c_fc), bend), *layer.mlp_c_proj)
        cache.advance(1)
        ln_f, lm_head = self._ends
        return F.linear(torch.layer_norm(x, shape, *ln_f, epsilon), *lm_head)

    def new_cache(self, batch_size: int = 1) -> Cache:
        """The model's own."""
        return self.model.new_cache(batch_size)

    def new_batch_cache(self, rows: int) -> KVRows:
        """The model's own."""
        return self.model.new_batch_cache(rows)


def _numbers(part: nn.Module) -> tuple[Tensor, Tensor | None]:
    assert isinstance(part.weight, Tensor)
    return part.weight, part.bias if isinstance(part.bias, Tensor) else None
