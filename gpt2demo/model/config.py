"""How big a GPT-2 is: its configuration, and the sizes that have a name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2demo.errors import ConfigError, check_range

MAX_VOCABULARY = 60_000
MAX_POSITIONS = 1_024
MAX_CHANNELS = 1_600
MAX_LAYERS = 48


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """Every number that decides the shape of a GPT-2; the defaults are OpenAI's smallest model.

    Raises ConfigError or LimitError, naming the field and the nearest value that works.
    """

    vocab_size: int = 50_257  # V: how many different tokens there are
    n_positions: int = 1_024  # the longest text it can read at once, in tokens
    n_embd: int = 768  # C: how many numbers stand for one token inside the model
    n_layer: int = 12  # L: how many blocks stand one above the other
    n_head: int = 12  # H: how many attention heads each block has
    dropout: float = 0.1  # share of activations silenced at random while training
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_range("vocab_size", self.vocab_size, 1, MAX_VOCABULARY, integer=True)
        check_range("n_positions", self.n_positions, 1, MAX_POSITIONS, integer=True)
        check_range("n_embd", self.n_embd, 1, MAX_CHANNELS, integer=True)
        check_range("n_layer", self.n_layer, 1, MAX_LAYERS, integer=True)
        check_range("n_head", self.n_head, 1, self.n_embd, integer=True)
        check_range("dropout", self.dropout, 0.0, 0.9)
        check_range("layer_norm_epsilon", self.layer_norm_epsilon, 1e-12, 1e-1)
        if self.n_embd % self.n_head:
            nearest = min((h for h in range(1, self.n_embd + 1) if self.n_embd % h == 0), key=self._distance)
            raise ConfigError(
                f"n_head is {self.n_head}, but n_embd is {self.n_embd}.",
                "The heads share the channels equally, so n_head must divide n_embd.",
                f"The nearest value that works is n_head = {nearest}.",
            )

    def _distance(self, heads: int) -> int:
        return abs(heads - self.n_head)

    @property
    def n_inner(self) -> int:
        """Width of the hidden layer inside each MLP: four times the channels, as in GPT-2."""
        return 4 * self.n_embd

    @property
    def head_dim(self) -> int:
        """D: how many channels each head works with."""
        return self.n_embd // self.n_head

    def to_json(self) -> dict[str, Any]:
        """The same facts as GPT-2's own config.json says them, so that other libraries can read it."""
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_ctx": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": None,
            "activation_function": "gelu_new",
            "attn_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "resid_pdrop": self.dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": 0.02,
            "scale_attn_weights": True,
            "tie_word_embeddings": True,
            "use_cache": True,
            "bos_token_id": None,
            "eos_token_id": None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "GPT2Config":
        """Reads a config.json; raises ConfigError where it describes something other than a plain GPT-2."""
        plain = {
            "model_type": ("gpt2", "gpt2"),
            "activation_function": ("gelu_new", "gelu_new"),
            "n_inner": (None, None),
            "tie_word_embeddings": (True, True),
            "scale_attn_weights": (True, True),
            "scale_attn_by_inverse_layer_idx": (False, False),
        }
        for name, (default, wanted) in plain.items():
            if data.get(name, default) != wanted:
                raise ConfigError(
                    f"{name} is {str(data[name])[:40]!r}.",
                    f"This version runs GPT-2 as OpenAI built it, with {name} = {wanted!r}.",
                    "Choose a model of that form.",
                )
        sizes = {
            name: data[name]
            for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
            if name in data
        }
        if len(sizes) < 5:
            raise ConfigError(
                f"The configuration names only {', '.join(sizes) or 'no size'}.",
                "It needs vocab_size, n_positions, n_embd, n_layer and n_head.",
                "Choose the config.json that belongs to the weights.",
            )
        return cls(
            **sizes,
            dropout=data.get("resid_pdrop", 0.1),
            layer_norm_epsilon=data.get("layer_norm_epsilon", 1e-5),
        )


# `pico` is the smallest that can grow induction heads, which need two layers (Olsson et al. 2022).
# `nano` is the size that nanoGPT documents for a laptop without a GPU, `mini` the one it documents for a GPU;
# the gpt2 family is OpenAI's (Radford et al. 2019, table 2).
PRESETS: Mapping[str, Mapping[str, int | float]] = {
    "pico": {"n_layer": 2, "n_head": 4, "n_embd": 128, "n_positions": 128, "dropout": 0.0},
    "nano": {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 64, "dropout": 0.0},
    "micro": {"n_layer": 4, "n_head": 8, "n_embd": 128, "n_positions": 128, "dropout": 0.0},
    "mini": {"n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 256, "dropout": 0.2},
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1_024, "dropout": 0.1},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1_024, "n_positions": 1_024, "dropout": 0.1},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1_280, "n_positions": 1_024, "dropout": 0.1},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1_600, "n_positions": 1_024, "dropout": 0.1},
}


def preset(
    name: str, *, vocab_size: int, n_positions: int | None = None, dropout: float | None = None
) -> GPT2Config:
    """The configuration of a named size, for a vocabulary of `vocab_size` tokens.

    n_positions, dropout: used instead of the preset's own where given. An unknown name raises ConfigError.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"There is no model size called {str(name)[:40]!r}.",
            "A size is one of " + ", ".join(PRESETS) + ".",
            "Choose one of these.",
        )
    shape: dict[str, Any] = dict(PRESETS[name])
    if n_positions is not None:
        shape["n_positions"] = n_positions
    if dropout is not None:
        shape["dropout"] = dropout
    return GPT2Config(vocab_size=vocab_size, **shape)
