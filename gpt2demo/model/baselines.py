"""What came before GPT-2, with the same interface, so that it can be trained on the same text and compared.

Some tutorials call these GPT-2. A look at their curves beside a real one says more than a definition.
"""

import torch
from torch import Tensor, nn

from gpt2demo.errors import ConfigError
from gpt2demo.model.anatomy import LSTM_LAYERS, MAX_BIGRAM_VOCABULARY, lstm_width
from gpt2demo.model.batch_cache import Rows
from gpt2demo.model.cache import Cache
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel


class Bigram(LanguageModel):
    """Looks at one token only: a table with a row of scores for each token, saying what follows it.

    What counting pairs of neighbours would find, found by training (Shannon 1948, section 3).
    """

    def __init__(self, config: GPT2Config, *, seed: int = 0) -> None:
        super().__init__()
        if config.vocab_size > MAX_BIGRAM_VOCABULARY:
            raise ConfigError(
                f"The vocabulary has {config.vocab_size:,} tokens.",
                f"A bigram model has a number for each pair of them; at most {MAX_BIGRAM_VOCABULARY:,} do.",
                "Choose a smaller vocabulary, or characters.",
            )
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.vocab_size)
        with torch.no_grad():
            self.wte.weight.normal_(0.0, 0.02, generator=torch.Generator().manual_seed(seed))

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, T) → (B, T, V): the row of each token."""
        self.check_length(input_ids, cache)
        if cache is not None:
            cache.advance(input_ids.size(1))
        logits: Tensor = self.wte(input_ids)  # (B, T, V)
        return logits

    def new_cache(self, batch_size: int = 1) -> Cache:
        """There is nothing to remember but how many tokens were read."""
        return Cache(self.config)

    def new_batch_cache(self, rows: int) -> Rows:
        """The same for texts that come and go."""
        return Rows(self.config, rows)


class StateCache(Cache):
    """Keeps the state of an LSTM after each token, so that a text can also be taken back."""

    def __init__(self, config: GPT2Config, batch_size: int, like: Tensor) -> None:
        super().__init__(config)
        shape = (config.n_positions + 1, 2, LSTM_LAYERS, batch_size, lstm_width(config))
        self.states = like.new_zeros(shape)  # hidden and cell state after 0, 1, 2, … tokens

    def state(self, more: int) -> Tensor:
        """The state after so many more tokens than were counted. → (2, layers, B, C)"""
        return self.states[self.length + more]

    def keep(self, more: int, state: Tensor) -> None:
        """Remembers it."""
        self.states[self.length + more] = state

    def reorder(self, rows: Tensor) -> None:
        """Makes each text of the batch a copy of another: row i becomes what row rows[i] was. (B,)"""
        known = self.states[: self.length + 1]
        known.copy_(known[:, :, :, rows])


class StateRows(Rows):
    """Keeps the newest state of each of several texts."""

    def __init__(self, config: GPT2Config, rows: int, like: Tensor) -> None:
        super().__init__(config, rows)
        self.states = like.new_zeros(2, LSTM_LAYERS, rows, lstm_width(config))

    def state(self, more: int) -> Tensor:
        """The newest state. → (2, layers, B, C)"""
        return self.states[:, :, : len(self.lengths)]

    def keep(self, more: int, state: Tensor) -> None:
        """Remembers it in place of the one before."""
        self.states[:, :, : len(self.lengths)] = state

    def _take(self, place: int, read: Cache, row: int, length: int) -> None:
        assert isinstance(read, StateCache)
        self.states[:, :, place] = read.states[length, :, :, row]

    def _move(self, source: int, place: int, length: int) -> None:
        self.states[:, :, place] = self.states[:, :, source]


class LSTM(LanguageModel):
    """Reads token by token, and all that it knows of the past must fit into one state of fixed size.

    Hochreiter and Schmidhuber 1997; the width is chosen so that it has as many parameters as the GPT-2 of the
    same configuration. One table reads tokens and writes them, as in GPT-2.
    """

    def __init__(self, config: GPT2Config, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        width = lstm_width(config)
        self.wte = nn.Embedding(config.vocab_size, width)
        self.drop = nn.Dropout(config.dropout)
        self.rnn = nn.LSTM(width, width, LSTM_LAYERS, dropout=config.dropout, batch_first=True)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.wte.weight.normal_(0.0, 0.02, generator=generator)
            for parameter in self.rnn.parameters():  # PyTorch's own choice, made with our luck
                parameter.uniform_(-(width**-0.5), width**-0.5, generator=generator)

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, T) → (B, T, V)"""
        self.check_length(input_ids, cache)
        x: Tensor = self.drop(self.wte(input_ids))  # (B, T, C)
        if isinstance(cache, StateCache | StateRows):
            x = self._continue(x, cache)
        else:
            x, _ = self.rnn(x)
        x = self.lm_head(self.drop(x))  # (B, T, V)
        return x

    def _continue(self, x: Tensor, cache: StateCache | StateRows) -> Tensor:
        """Goes on from the newest state, one token at a time, and keeps each state."""
        out = []
        for t in range(x.size(1)):
            hidden, cell = cache.state(t)
            y, state = self.rnn(x[:, t : t + 1], (hidden.contiguous(), cell.contiguous()))
            cache.keep(t + 1, torch.stack(state))
            out.append(y)
        cache.advance(x.size(1))
        return torch.cat(out, dim=1)  # (B, T, C)

    def new_cache(self, batch_size: int = 1) -> Cache:
        """Room for the states after each token."""
        return StateCache(self.config, batch_size, next(self.rnn.parameters()))

    def new_batch_cache(self, rows: int) -> StateRows:
        """Room for one state of each text."""
        return StateRows(self.config, rows, next(self.rnn.parameters()))


def make_model(config: GPT2Config, *, seed: int = 0) -> LanguageModel:
    """The untrained model that a configuration describes."""
    kinds: dict[str, type[GPT2] | type[LSTM] | type[Bigram]] = {"gpt2": GPT2, "lstm": LSTM, "bigram": Bigram}
    return kinds[config.architecture](config, seed=seed)
