"""Attention: every token looks back at the tokens before it and takes from them what it needs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2demo.model.cache import KVCache
from gpt2demo.model.config import GPT2Config


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """True where a token may look: at itself and at everything before it, never ahead.

    The last query always sees the last key, so with a cache (fewer queries than keys) the first query
    already sees the whole past. → (Tq, Tk) bool
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def attention_scores(q: Tensor, k: Tensor) -> Tensor:
    """How well each query matches each key: their dot product, divided by √D.

    (B, H, Tq, D), (B, H, Tk, D) → (B, H, Tq, Tk). Vaswani et al. 2017, equation 1, before the softmax.
    """
    return q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """What share of its attention each token gives to each earlier token; every row sums to 1.

    (B, H, Tq, D), (B, H, Tk, D) → (B, H, Tq, Tk). softmax(QKᵀ / √D) with the future masked out
    (Vaswani et al. 2017, equation 1). The model itself runs the fused kernel; this is the same formula,
    readable, for everybody who wants to look.
    """
    scores = attention_scores(q, k)
    allowed = causal_mask(q.size(-2), k.size(-2), q.device)
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)


class ScaledDotProductAttention(nn.Module):
    """softmax(QKᵀ / √D) V with the future masked out, in PyTorch's fused kernel.

    It has no parameters and is a module only so that a forward hook can see q, k and v and recompute the
    weights with `attention_weights`. Call it positionally, with q, k, v in this order, or hooks see nothing.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, H, Tq, D), (B, H, Tk, D), (B, H, Tk, D) → (B, H, Tq, D)"""
        queries, keys = q.size(-2), k.size(-2)
        # is_causal puts query 0 at key 0, which is right only when there is no cached past. A single
        # query is the newest token and may look at everything; in between, the mask has to be spelled out.
        mask = causal_mask(queries, keys, q.device) if 1 < queries < keys else None
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=queries == keys and queries > 1,
        )


class CausalSelfAttention(nn.Module):
    """Multi-head attention: H small attentions side by side, each with its own queries, keys and values."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # queries, keys and values in one product
        self.attend = ScaledDotProductAttention(config.dropout)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, layer: int, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) → (B, T, C); `layer` says which part of the cache is this block's."""
        B, T, C = x.shape
        x = self.c_attn(x)  # (B, T, 3C)
        q, k, v = x.view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if cache is not None:
            k, v = cache.store(layer, k, v)  # (B, H, Tk, D)
        x = self.attend(q, k, v)  # (B, H, T, D)
        x = x.transpose(1, 2).reshape(B, T, C)  # the heads side by side again
        x = self.resid_dropout(self.c_proj(x))
        return x
