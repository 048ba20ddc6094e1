"""The memory of generation: keys and values of all tokens read so far, so that none is computed twice."""

import torch
from torch import Tensor

from gpt2demo.errors import LimitError
from gpt2demo.model.config import GPT2Config


class KVCache:
    """Keeps what each layer's attention needs of the past: one key and one value per token and head.

    Room for all n_positions is taken at once; `length` says how many tokens are in it. One cache belongs to
    one text (or one batch of equally long texts) and one model.
    """

    def __init__(self, config: GPT2Config, batch_size: int = 1, dtype: torch.dtype = torch.float32) -> None:
        shape = (config.n_layer, batch_size, config.n_head, config.n_positions, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype)  # (L, B, H, n_positions, D)
        self.values = torch.zeros(shape, dtype=dtype)
        self.length = 0

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Puts one layer's new keys and values behind the old ones and returns all of them.

        k, v: (B, H, T, D) → (B, H, length + T, D). The length grows once per forward pass, by `advance`.
        """
        end = self.length + k.size(2)
        if end > self.keys.size(3):
            raise LimitError(
                f"The text has grown to {end} tokens.",
                f"This model reads at most {self.keys.size(3)} at once.",
                "Start a new cache with the last part of the text.",
            )
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """Counts the tokens of a finished forward pass as read."""
        self.length += tokens

    def truncate(self, length: int) -> None:
        """Forgets all tokens from position `length` on."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate a cache of {self.length} tokens to {length}")
        self.length = length
