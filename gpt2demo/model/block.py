"""A block: attention, then the MLP, each adding what it found to the residual stream."""

from torch import Tensor, nn

from gpt2demo.model.attention import CausalSelfAttention
from gpt2demo.model.cache import KVCache
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.mlp import MLP, MixtureOfExperts


def layer_norm(config: GPT2Config) -> nn.LayerNorm:
    """Brings each token's vector to mean 0 and variance 1, then scales (and moves) it as learned."""
    return nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon, bias=config.bias)


class Block(nn.Module):
    """One of GPT-2's L equal floors. It reads a normalised copy of the stream and adds to the stream itself.

    Normalising before each part rather than after it (pre-LN) is what GPT-2 changed against GPT
    (Radford et al. 2019, section 2.3): the stream then runs from the bottom to the top untouched. Post-LN is
    the first Transformer's way (Vaswani et al. 2017, section 3.1).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.norm = config.norm
        self.ln_1 = layer_norm(config)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = layer_norm(config)
        self.mlp = MLP(config) if config.n_experts == 1 else MixtureOfExperts(config)

    def forward(self, x: Tensor, layer: int, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        if self.norm == "pre":
            x = x + self.attn(self.ln_1(x), layer, cache)
            x = x + self.mlp(self.ln_2(x))
        else:
            x = self.ln_1(x + self.attn(x, layer, cache))
            x = self.ln_2(x + self.mlp(x))
        return x
