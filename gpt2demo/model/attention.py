"""Attention: every token looks back at the tokens before it and takes from them what it needs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2demo.model.cache import KVCache
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.positions import rotate


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """True where a token may look: at itself and at everything before it, never ahead.

    The last query always sees the last key, so with a cache (fewer queries than keys) the first query
    already sees the whole past. → (Tq, Tk) bool
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def attention_mask(
    pattern: str, window: int, global_tokens: int, queries: int, keys: int, device: torch.device | None = None
) -> Tensor:
    """True where each of the last `queries` tokens may look in a text of `keys` tokens. → (Tq, Tk) bool"""
    i = torch.arange(keys - queries, keys, device=device)
    return mask_at(i, keys, pattern, window, global_tokens)


def mask_at(i: Tensor, keys: int, pattern: str, window: int, global_tokens: int) -> Tensor:
    """True where the tokens that stand at the positions i may look. (…, Tq) → (…, Tq, Tk) bool

    | pattern      | token i may read token j ≤ i when                                          |
    |--------------|----------------------------------------------------------------------------|
    | full         | always                                                                     |
    | local        | it is one of the last `window`: i − j < window                             |
    | strided      | local, or i − j is a multiple of window (Child et al. 2019, section 4.2)   |
    | global_local | local, or j is one of the first tokens (Beltagy et al. 2020, "Longformer") |

    The cost of attention grows with the square of the text's length, and these were ways around that.
    """
    i, j = i[..., None], torch.arange(keys, device=i.device)  # (…, Tq, 1), (Tk,)
    allowed = j <= i  # (…, Tq, Tk)
    if pattern == "full":
        return allowed
    reach = i - j < window  # (…, Tq, Tk)
    if pattern == "strided":
        reach |= (i - j) % window == 0
    elif pattern == "global_local":
        reach |= j < global_tokens
    return allowed & reach


def attention_scores(q: Tensor, k: Tensor) -> Tensor:
    """How well each query matches each key: their dot product, divided by √D.

    (B, H, Tq, D), (B, H, Tk, D) → (B, H, Tq, Tk). Vaswani et al. 2017, equation 1, before the softmax.
    """
    return (q / math.sqrt(q.size(-1))) @ k.transpose(-2, -1)


def attention_weights(
    q: Tensor, k: Tensor, allowed: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """What share of its attention each token gives to each token that it may read; every row sums to 1.

    (B, H, Tq, D), (B, H, Tk, D) → (B, H, Tq, Tk). softmax(QKᵀ / √D) with the future masked out
    (Vaswani et al. 2017, equation 1). allowed: the mask (Tq, Tk), by default the causal one. out: where the
    shares are written, to save room. The model itself runs the fused kernel; this is the same formula,
    readable, for everybody who wants to look.
    """
    if allowed is None:
        allowed = causal_mask(q.size(-2), k.size(-2), q.device)
    # adding −∞ once for all heads is several times faster than filling it in for each
    wall = torch.zeros_like(allowed, dtype=q.dtype).masked_fill(~allowed, float("-inf"))
    return torch.softmax(attention_scores(q, k).add_(wall), dim=-1, out=out)


class ScaledDotProductAttention(nn.Module):
    """softmax(QKᵀ / √D) V with the future masked out, in PyTorch's fused kernel.

    It has no parameters and is a module only so that a forward hook can see q, k and v and recompute the
    weights with `attention_weights`. Call it positionally, with q, k, v in this order, or hooks see nothing.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.pattern = config.attention
        self.window = config.attention_window
        self.global_tokens = config.global_tokens

    def mask(self, queries: int, keys: int, device: torch.device | None = None) -> Tensor:
        """Who may read whom, of the last `queries` tokens in a text of `keys`. → (Tq, Tk) bool"""
        return attention_mask(self.pattern, self.window, self.global_tokens, queries, keys, device)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None = None) -> Tensor:
        """(B, H, Tq, D), (B, H, Tk, D), (B, H, Tk, D) → (B, H, Tq, D)

        allowed: (B, 1, Tq, Tk), who may read whom, only where the texts of a batch have different lengths.
        """
        if q.dtype == torch.bfloat16 and q.requires_grad and q.device.type == "cpu":
            # on processors the kernel's way back through 16-bit numbers takes four times as long
            with torch.autocast("cpu", enabled=False):
                return self._attend(q.float(), k.float(), v.float()).to(q.dtype)
        if allowed is not None:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self._attend(q, k, v)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        queries, keys = q.size(-2), k.size(-2)
        # The kernel knows the causal mask itself, and is faster with it, but puts query 0 at key 0: that is
        # right only when there is no cached past. A single query is the newest token and may look back at
        # everything. Else the mask has to be spelled out.
        plain = self.pattern == "full" and queries in (1, keys)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if plain else self.mask(queries, keys, q.device),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=plain and queries > 1,
        )


class CausalSelfAttention(nn.Module):
    """Multi-head attention: H small attentions side by side, each with its own queries, keys and values."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C = config.n_embd
        self.n_head = config.n_head
        self.rotary = config.positions == "rotary"
        self.c_attn = nn.Linear(C, 3 * C, bias=config.bias)  # queries, keys and values in one product
        self.attend = ScaledDotProductAttention(config)
        self.c_proj = nn.Linear(C, C, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, layer: int, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) → (B, T, C); `layer` says which part of the cache is this block's."""
        B, T, C = x.shape
        x = self.c_attn(x)  # (B, T, 3C)
        q, k, v = x.view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if self.rotary:
            past = 0 if cache is None else cache.past
            q, k = rotate(q, past), rotate(k, past)
        if cache is not None:
            k, v = cache.store(layer, k, v)  # (B, H, Tk, D)
        uneven = () if cache is None or cache.allowed is None else (cache.allowed,)
        x = self.attend(q, k, v, *uneven)  # (B, H, T, D)
        x = x.transpose(1, 2).reshape(B, T, C)  # the heads side by side again
        x = self.resid_dropout(self.c_proj(x))
        return x
