"""The memory of generation: what was computed for the tokens read so far is computed only once."""

import torch
from torch import Tensor

from gpt2demo.errors import LimitError
from gpt2demo.model.config import GPT2Config


class Cache:
    """Counts the tokens that a model has read; what it remembers of them is a subclass's business.

    One cache belongs to one text (or one batch of equally long texts) and one model.
    """

    def __init__(self, config: GPT2Config) -> None:
        self.config = config
        self.room = config.n_positions
        self.length = 0

    @property
    def past(self) -> int | Tensor:
        """How many tokens stand before the next one: a number, or (B, 1) where the texts differ in length."""
        return self.length

    def advance(self, tokens: int) -> None:
        """Counts the tokens of a finished forward pass as read."""
        self.length += tokens

    def truncate(self, length: int) -> None:
        """Forgets all tokens from position `length` on."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate a cache of {self.length} tokens to {length}")
        self.length = length

    def reorder(self, rows: Tensor) -> None:
        """Makes each text of the batch a copy of another: row i becomes what row rows[i] was. (B,)"""

    def check_room(self, tokens: int) -> None:
        """Raises LimitError when so many more tokens do not fit."""
        if self.length + tokens > self.room:
            raise LimitError(
                f"The text has grown to {self.length + tokens} tokens.",
                f"This model reads at most {self.room} at once.",
                "Start a new cache with the last part of the text.",
            )


class KVCache(Cache):
    """Keeps what each layer's attention needs of the past: one key and one value per token and head.

    Room for all n_positions is taken at once; `length` says how many tokens are in it.
    """

    allowed: Tensor | None = None  # (B, 1, T, length + T), who may read whom where that has to be spelled out

    def __init__(
        self,
        config: GPT2Config,
        batch_size: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(config)
        shape = (config.n_layer, batch_size, config.n_head, config.n_positions, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)  # (L, B, H, n_positions, D)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Puts one layer's new keys and values behind the old ones and returns all of them.

        k, v: (B, H, T, D) → (B, H, length + T, D). The length grows once per forward pass, by `advance`.
        """
        self.check_room(k.size(2))
        end = self.length + k.size(2)
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Makes each text of the batch a copy of another: row i becomes what row rows[i] was. (B,)"""
        for past in (self.keys, self.values):
            past[:, :, :, : self.length] = past[:, rows, :, : self.length]
