"""A block: attention, then the MLP, each adding what it found to the residual stream."""

from torch import Tensor, nn

from gpt2demo.model.attention import CausalSelfAttention
from gpt2demo.model.cache import KVCache
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.mlp import MLP


class Block(nn.Module):
    """One of GPT-2's L equal floors. It reads a normalised copy of the stream and adds to the stream itself.

    Normalising before each part rather than after it (pre-LN) is what GPT-2 changed against GPT
    (Radford et al. 2019, section 2.3).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layer: int, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        x = x + self.attn(self.ln_1(x), layer, cache)
        x = x + self.mlp(self.ln_2(x))
        return x
