"""How a GPT-2 is built: its sizes, what it could have instead of what it has, and the sizes with a name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gpt2demo.errors import ConfigError, check_choice, check_range

MAX_VOCABULARY = 60_000
MAX_POSITIONS = 1_024
MAX_CHANNELS = 1_600
MAX_LAYERS = 48
MAX_EXPERTS = 16


ARCHITECTURES = ("gpt2", "lstm", "bigram")
NORMS = ("pre", "post")
ACTIVATIONS = ("gelu_new", "gelu", "relu")
POSITIONS = ("learned", "sinusoidal", "rotary", "none")
INITS = ("gpt2", "xavier")
ATTENTIONS = ("full", "local", "strided", "global_local")


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """Everything that decides the shape of a model; the defaults are OpenAI's smallest GPT-2.

    The first fields say how big it is, the others what a GPT-2 could also have been: each is a question that
    can be answered by training both. Raises ConfigError or LimitError, naming the field and the nearest value
    that works.
    """

    vocab_size: int = 50_257  # V: how many different tokens there are
    n_positions: int = 1_024  # the longest text it can read at once, in tokens
    n_embd: int = 768  # C: how many numbers stand for one token inside the model
    n_layer: int = 12  # L: how many blocks stand one above the other
    n_head: int = 12  # H: how many attention heads each block has
    n_inner: int | None = None  # F: width of the hidden layer inside each MLP; None is 4·C
    dropout: float = 0.1  # share of activations silenced at random while training
    layer_norm_epsilon: float = 1e-5
    architecture: str = "gpt2"  # "lstm", "bigram": what came before, to compare with
    norm: str = "pre"  # LayerNorm before each part, or "post": after it, as in the first Transformer
    activation: str = "gelu_new"  # inside the MLP: GPT-2's tanh formula, the exact "gelu", or "relu"
    positions: str = "learned"  # or "sinusoidal", "rotary", "none"
    attention: str = "full"  # or which earlier tokens may be read: "local", "strided", "global_local"
    attention_window: int = 16  # for these three: how far back a token reads, itself included
    global_tokens: int = 1  # for "global_local": so many first tokens can be read from everywhere
    n_experts: int = 1  # E: so many MLPs in each block, of which ...
    experts_per_token: int = 1  # ... so many work on one token
    bias: bool = True  # in linear layers and LayerNorms
    tie_word_embeddings: bool = True  # one table reads tokens and writes them
    lm_head_bias: bool = False
    init: str = "gpt2"  # the random numbers to start from, or "xavier"

    def __post_init__(self) -> None:
        self._check_whole("vocab_size", 1, MAX_VOCABULARY)
        self._check_whole("n_positions", 1, MAX_POSITIONS)
        self._check_whole("n_embd", 1, MAX_CHANNELS)
        self._check_whole("n_layer", 1, MAX_LAYERS)
        self._check_whole("n_head", 1, self.n_embd)
        if self.n_inner is not None:
            self._check_whole("n_inner", 1, 8 * MAX_CHANNELS)
        check_range("dropout", self.dropout, 0.0, 0.9)
        check_range("layer_norm_epsilon", self.layer_norm_epsilon, 1e-12, 1e-1)
        self._check_whole("attention_window", 1, MAX_POSITIONS)
        self._check_whole("global_tokens", 0, MAX_POSITIONS)
        self._check_whole("n_experts", 1, MAX_EXPERTS)
        self._check_whole("experts_per_token", 1, self.n_experts)
        for name, allowed in _CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        for name in ("bias", "tie_word_embeddings", "lm_head_bias"):
            check_choice(name, getattr(self, name), (True, False))
        self._check_heads()

    def _check_whole(self, name: str, low: int, high: int) -> None:
        """Refuses what is no whole number in this range, and turns 32.0, as JSON may say it, into 32."""
        check_range(name, getattr(self, name), low, high, integer=True)
        object.__setattr__(self, name, int(getattr(self, name)))

    def _check_heads(self) -> None:
        """The heads share the channels, and rotary positions turn the channels of a head in pairs."""
        pairs = 2 if self.positions == "rotary" else 1
        if self.n_embd % (pairs * self.n_head) == 0:
            return
        fitting = [h for h in range(1, self.n_embd + 1) if self.n_embd % (pairs * h) == 0]
        shared = "The heads share the channels equally, so n_head must divide n_embd"
        if pairs == 2:
            shared += "; and rotary positions need an even number of channels in each head"
        raise ConfigError(
            f"n_head is {self.n_head}, but n_embd is {self.n_embd}.",
            shared + ".",
            f"The nearest value that works is n_head = {min(fitting, key=self._distance)}."
            if fitting
            else f"The nearest value that works is n_embd = {self.n_embd + 1}.",
        )

    def _distance(self, heads: int) -> int:
        return abs(heads - self.n_head)

    @property
    def head_dim(self) -> int:
        """D: how many channels each head works with."""
        return self.n_embd // self.n_head

    @property
    def mlp_width(self) -> int:
        """F: n_inner, or four times the channels, as in GPT-2."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def is_plain_gpt2(self) -> bool:
        """True when GPT-2's own format can hold the model, so that every program that reads GPT-2 can run it.

        Without biases it still can, as biases of zero do nothing; nor does a table of zeros for positions.
        """
        return (
            self.architecture == "gpt2"
            and self.norm == "pre"
            and self.positions != "rotary"
            and self.attention == "full"
            and self.n_experts == 1
            and not self.lm_head_bias
        )

    @property
    def variants(self) -> dict[str, Any]:
        """The fields in which this model is not OpenAI's GPT-2, sizes and dropout left out."""
        return {
            f.name: v
            for f in fields(self)
            if f.name in _VARIANTS and (v := getattr(self, f.name)) != f.default
        }

    def to_json(self) -> dict[str, Any]:
        """The content of config.json, as GPT-2's own says it, so that other libraries can read it.

        What GPT-2 has no word for stands under "gpt2demo". A model that other programs would run wrongly has
        another model_type, so that they refuse it.
        """
        return {
            "model_type": "gpt2" if self.is_plain_gpt2 else "gpt2demo",
            "architectures": ["GPT2LMHeadModel" if self.is_plain_gpt2 else "GPT2Demo"],
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_ctx": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "activation_function": self.activation,
            "attn_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "resid_pdrop": self.dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": 0.02,
            "scale_attn_weights": True,
            "tie_word_embeddings": self.tie_word_embeddings,
            "use_cache": True,
            "bos_token_id": None,
            "eos_token_id": None,
            "gpt2demo": {k: v for k, v in self.variants.items() if k not in _GPT2_HAS_A_WORD_FOR},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "GPT2Config":
        """Reads a config.json; raises ConfigError where it describes something that cannot be run here."""
        check_choice("model_type", data.get("model_type", "gpt2"), ("gpt2", "gpt2demo"))
        for name, wanted in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
            check_choice(name, data.get(name, wanted), (wanted,))
        sizes = {name: data[name] for name in _SIZES if name in data}
        if len(sizes) < len(_SIZES):
            raise ConfigError(
                f"The configuration names only {', '.join(sizes) or 'no size'}.",
                "It needs vocab_size, n_positions, n_embd, n_layer and n_head.",
                "Choose the config.json that belongs to the weights.",
            )
        own = data.get("gpt2demo", {})
        if not isinstance(own, Mapping) or not set(own) <= _VARIANTS - _GPT2_HAS_A_WORD_FOR:
            raise ConfigError(
                f"Under gpt2demo the configuration says {str(own)[:80]}.",
                "Only the variants that this program knows can stand there.",
                "Use a newer version of this program, or another model.",
            )
        config = cls(
            **sizes,
            n_inner=data.get("n_inner"),
            activation=data.get("activation_function", "gelu_new"),
            tie_word_embeddings=data.get("tie_word_embeddings", True),
            dropout=data.get("resid_pdrop", 0.1),
            layer_norm_epsilon=data.get("layer_norm_epsilon", 1e-5),
            **own,
        )
        check_choice("model_type", data.get("model_type", "gpt2"), (config.to_json()["model_type"],))
        return config


_SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "architecture": ARCHITECTURES,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "positions": POSITIONS,
    "attention": ATTENTIONS,
    "init": INITS,
}
_VARIANTS = frozenset(f.name for f in fields(GPT2Config)) - {*_SIZES, "dropout", "layer_norm_epsilon"}
_GPT2_HAS_A_WORD_FOR = frozenset({"n_inner", "activation", "tie_word_embeddings"})


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


def preset(name: str, *, vocab_size: int, **changes: Any) -> GPT2Config:
    """The configuration of a named size, for a vocabulary of `vocab_size` tokens.

    changes: fields of GPT2Config that replace the preset's own; None leaves one as it is. An unknown name
    raises ConfigError.
    """
    check_choice("The model size", name, tuple(PRESETS))
    chosen = {field: value for field, value in changes.items() if value is not None}
    return GPT2Config(vocab_size=vocab_size, **{**PRESETS[name], **chosen})
