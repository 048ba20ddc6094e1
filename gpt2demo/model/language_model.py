"""What every language model here can do, whatever is inside: GPT-2, and what came before it."""

from itertools import chain

import torch
from torch import Tensor, nn

from gpt2demo.errors import LimitError
from gpt2demo.model.batch_cache import Rows
from gpt2demo.model.cache import Cache
from gpt2demo.model.config import GPT2Config


class LanguageModel(nn.Module):
    """Reads token ids and says how likely each token of the vocabulary is to come next.

    Trained, sampled from and measured by the same code, so that only the model makes a difference.
    """

    config: GPT2Config
    wte: nn.Embedding  # a row of learned numbers for each token

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Scores every possible next token at every position: (B, T) int64 → logits (B, T, V).

        cache: when given, input_ids continue the tokens already in it. Raises LimitError past n_positions.
        """
        raise NotImplementedError

    def next_logits(
        self, input_ids: Tensor, cache: Cache | None = None, ends: Tensor | None = None
    ) -> Tensor:
        """Scores what may follow one place of each text: (B, T) int64 → (B, V).

        ends: (B,), which place, where the texts were made equally long by tokens that nobody reads; the last
        by default.
        """
        return pick(self(input_ids, cache), ends)

    def new_cache(self, batch_size: int = 1) -> Cache:
        """An empty memory for generating, which `forward` fills."""
        raise NotImplementedError

    def new_batch_cache(self, rows: int) -> Rows:
        """An empty memory for texts of different lengths, which all go on by a token."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where its numbers are: on the processor or on a GPU."""
        return next(chain(self.parameters(), self.buffers())).device

    def check_length(self, input_ids: Tensor, cache: Cache | None) -> int:
        """Refuses a text that is longer than the context. → how many of its tokens are in the cache"""
        past = 0 if cache is None else cache.length
        if past + input_ids.size(1) > self.config.n_positions:
            raise LimitError(
                f"The text has {past + input_ids.size(1)} tokens.",
                f"This model reads at most {self.config.n_positions} at once.",
                "Shorten the text.",
            )
        return past


def pick(x: Tensor, ends: Tensor | None) -> Tensor:
    """One place of each text, the last by default: (B, T, …) → (B, …)"""
    return x[:, -1] if ends is None else x[torch.arange(len(x), device=x.device), ends]
