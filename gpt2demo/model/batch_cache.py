"""The memory of a batch whose texts come and go: each has a row of its own, and they differ in length."""

import torch
from torch import Tensor

from gpt2demo.model.attention import mask_at
from gpt2demo.model.cache import Cache, KVCache
from gpt2demo.model.config import GPT2Config


class Rows(Cache):
    """Counts how much of each text was read; what is remembered of them is a subclass's business.

    The rows in use lie side by side at the beginning, so that a forward pass takes them as one batch: every
    text goes on by one token. `length` is that of the longest.
    """

    def __init__(self, config: GPT2Config, rows: int) -> None:
        super().__init__(config)
        self.rows = rows
        self.lengths: list[int] = []  # one for each row in use

    @property
    def even(self) -> bool:
        """True when all texts are equally long, so that they can be treated as one batch like any other."""
        return len(set(self.lengths)) <= 1

    @property
    def past(self) -> int | Tensor:
        """How many tokens stand before the next one: a number, or (B, 1) where the texts differ in length."""
        return self.length if self.even else torch.tensor(self.lengths)[:, None]

    def join(self, read: Cache, row: int, length: int) -> None:
        """Takes a text in, of which `length` tokens were read into one row of an ordinary cache."""
        if len(self.lengths) == self.rows:
            raise ValueError(f"all {self.rows} rows are in use")
        self._take(len(self.lengths), read, row, length)
        self.lengths.append(length)
        self._changed()

    def leave(self, row: int) -> None:
        """Gives a row back; the text of the last row moves into its place."""
        last = self.lengths.pop()
        if row < len(self.lengths):
            self._move(len(self.lengths), row, last)
            self.lengths[row] = last
        self._changed()

    def advance(self, tokens: int) -> None:
        """Counts a token more for every text."""
        self.lengths = [length + tokens for length in self.lengths]
        self._changed()

    def _changed(self) -> None:
        self.length = max(self.lengths, default=0)

    def _take(self, place: int, read: Cache, row: int, length: int) -> None:
        pass

    def _move(self, source: int, place: int, length: int) -> None:
        pass


class KVRows(Rows):
    """Keys and values of every row: (L, rows, H, n_positions, D) each, taken all at once."""

    def __init__(
        self, config: GPT2Config, rows: int, dtype: torch.dtype, device: torch.device | None = None
    ) -> None:
        super().__init__(config, rows)
        self.device = device
        shape = (config.n_layer, rows, config.n_head, config.n_positions, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.allowed: Tensor | None = None  # (B, 1, 1, length + 1), where the texts differ in length
        self._places = (torch.arange(0), torch.arange(0))  # for every text its row, and where its token goes

    @property
    def past(self) -> int | Tensor:
        """How many tokens stand before the next one: a number, or (B, 1) where the texts differ in length."""
        return self.length if self.allowed is None else self._places[1][:, None]

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Puts the key and value of one more token behind those of each text. (B, H, 1, D) → (B, H, Tk, D)"""
        self.check_room(1)
        keys, values = self.keys[layer, : len(k)], self.values[layer, : len(k)]  # (B, H, n_positions, D)
        end = self.length + 1
        if self.allowed is None:
            keys[:, :, self.length : end] = k
            values[:, :, self.length : end] = v
        else:
            rows, places = self._places
            keys[rows, :, places] = k[:, :, 0]
            values[rows, :, places] = v[:, :, 0]
        return keys[:, :, :end], values[:, :, :end]

    def _changed(self) -> None:
        super()._changed()
        self.allowed = None
        pattern = self.config
        if not self.even or (pattern.attention != "full" and self.lengths):
            i = torch.tensor(self.lengths, device=self.device)  # (B,)
            self._places = (torch.arange(len(i), device=self.device), i)
            allowed = mask_at(
                i[:, None],
                self.length + 1,
                pattern.attention,
                pattern.attention_window,
                pattern.global_tokens,
            )
            self.allowed = allowed[:, None]  # the same for every head

    def _take(self, place: int, read: Cache, row: int, length: int) -> None:
        assert isinstance(read, KVCache)
        self.keys[:, place, :, :length] = read.keys[:, row, :, :length]
        self.values[:, place, :, :length] = read.values[:, row, :, :length]

    def _move(self, source: int, place: int, length: int) -> None:
        self.keys[:, place, :, :length] = self.keys[:, source, :, :length]
        self.values[:, place, :, :length] = self.values[:, source, :, :length]
