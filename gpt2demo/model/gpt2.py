"""GPT-2 itself: from token ids to a score for every possible next token."""

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gpt2demo.errors import LimitError, TextError
from gpt2demo.model.batch_cache import KVRows
from gpt2demo.model.block import Block, layer_norm
from gpt2demo.model.cache import Cache, KVCache
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel, pick
from gpt2demo.model.positions import position_embedding


class GPT2(LanguageModel):
    """The language model of Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".

    Token ids become vectors (wte), their positions are added (wpe), L blocks refine them, a last LayerNorm
    (ln_f) tidies up, and comparing the result with every token's own vector gives the logits. The names are
    those of OpenAI's checkpoint.
    """

    def __init__(self, config: GPT2Config, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # what each token means
        self.wpe = position_embedding(config)  # where in the text it stands
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        # post-LN blocks end in a LayerNorm of their own
        self.ln_f = layer_norm(config) if config.norm == "pre" else nn.Identity()
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=config.lm_head_bias)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.wte.weight  # one table reads tokens and writes them
        self.recompute = False  # while training: forget what is inside a block, and compute it once more
        self.init_weights(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Fills the model with the small random numbers that training starts from.

        | parameter               | init = gpt2              | init = xavier                          |
        |-------------------------|--------------------------|----------------------------------------|
        | wte, wpe, c_attn, c_fc  | N(0, 0.02)               | uniform within ±√(6 / (inputs +        |
        | c_proj (both kinds)     | N(0, 0.02 / √(2·L))      | outputs)), queries, keys, values apart |
        | every bias              | 0                        | 0                                      |
        | LayerNorm weights       | 1                        | 1                                      |

        In GPT-2 the projections that write into the residual stream start smaller because 2·L of them add up
        (Radford et al. 2019, section 2.3). Xavier: Glorot and Bengio 2010, equation 16.
        """
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
            elif "ln_" in name:
                parameter.fill_(1.0)
            elif self.config.init == "xavier":
                for matrix in parameter.chunk(3) if name.endswith("c_attn.weight") else (parameter,):
                    nn.init.xavier_uniform_(matrix, generator=generator)
            elif name.endswith("c_proj.weight"):
                parameter.normal_(0.0, 0.02 / math.sqrt(2 * self.config.n_layer), generator=generator)
            else:
                parameter.normal_(0.0, 0.02, generator=generator)

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Scores every possible next token at every position: (B, T) int64 → logits (B, T, V).

        cache: when given, input_ids continue the tokens already in it. Raises LimitError past n_positions.
        """
        x: Tensor = self.lm_head(self.hidden(input_ids, cache))  # (B, T, V)
        return x

    def hidden(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """What the last block leaves at every position, tidied up: (B, T) int64 → (B, T, C)."""
        self.check_length(input_ids, cache)
        past, T = 0 if cache is None else cache.past, input_ids.size(1)
        positions = past + torch.arange(T, device=input_ids.device)  # (T,), or (B, T) by texts
        x: Tensor = self.wte(input_ids) + self.wpe(positions)  # (B, T, C)
        x = self.drop(x)
        for layer, block in enumerate(self.h):
            if self.recompute and self.training:
                x = checkpoint(block, x, layer, use_reentrant=False)
            else:
                x = block(x, layer, cache)
        if cache is not None:
            cache.advance(T)
        x = self.ln_f(x)
        return x

    def next_logits(
        self, input_ids: Tensor, cache: Cache | None = None, ends: Tensor | None = None
    ) -> Tensor:
        """The scores after one place of each text only, which is quicker: (B, T) → (B, V)."""
        x: Tensor = self.lm_head(pick(self.hidden(input_ids, cache), ends))  # (B, V)
        return x

    def new_cache(self, batch_size: int = 1) -> KVCache:
        """An empty memory of keys and values for generating, which `forward` fills."""
        like = self.wpe.weight  # which is made of floats in every precision
        return KVCache(self.config, batch_size, like.dtype, like.device)

    def new_batch_cache(self, rows: int) -> KVRows:
        """A memory for texts of different lengths, each in a row of its own."""
        like = self.wpe.weight
        return KVRows(self.config, rows, like.dtype, like.device)


def check_ids(ids: Sequence[int], vocab_size: int, *, n_positions: int | None = None) -> None:
    """Refuses token ids that a model cannot read: none at all, some that it does not know, or too many.

    n_positions: the most that it reads at once; left out where a longer text is read in parts. Raises
    TextError or LimitError.
    """
    if len(ids) == 0:
        raise TextError("There is no token.", "At least one is needed.", "Write some text.")
    if n_positions is not None and len(ids) > n_positions:
        raise LimitError(
            f"The text has {len(ids):,} tokens.",
            f"This model reads at most {n_positions:,} at once.",
            "Give a shorter part of the text.",
        )
    wrong = [i for i in ids if not isinstance(i, Integral) or not 0 <= i < vocab_size]
    if wrong:
        raise TextError(
            f"Token {wrong[0]!r:.40} is not in this model's vocabulary.",
            f"Its tokens are numbered 0 to {vocab_size - 1:,}.",
            "Use the tokenizer that belongs to the model.",
        )
