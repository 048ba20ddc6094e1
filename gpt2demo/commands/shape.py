"""The options that say how a model is built: one for each field of GPT2Config that people argue about."""

import argparse
from typing import Any

from gpt2demo.model.config import (
    ACTIVATIONS,
    ARCHITECTURES,
    ATTENTIONS,
    INITS,
    NORMS,
    POSITIONS,
    PRESETS,
    GPT2Config,
    preset,
)

USUAL_SIZE = "nano"
SIZES = {
    "n_positions": "tokens the model reads at once (the same as --context)",
    "n_layer": "blocks",
    "n_head": "attention heads in each block; 1: the plain self-attention of the textbook",
    "n_embd": "channels: numbers per token",
    "n_inner": "width inside each MLP; as it is: four times the channels",
    "attention_window": "for local, strided and global_local: how far back a token reads, itself included",
    "global_tokens": "for global_local: so many first tokens can be read from everywhere",
    "n_experts": "MLPs in each block, among which a router chooses",
    "experts_per_token": "so many of them work on one token",
}
CHOICES = {
    "architecture": (ARCHITECTURES, "GPT-2, or what came before it"),
    "norm": (NORMS, "LayerNorm before each part, or after it"),
    "activation": (ACTIVATIONS, "the bend inside the MLP"),
    "positions": (POSITIONS, "how it knows where a token stands"),
    "attention": (ATTENTIONS, "which earlier tokens may be read"),
    "init": (INITS, "the random numbers to start from"),
}
SWITCHES = {
    "bias": "biases in linear layers and LayerNorms",
    "tie_word_embeddings": "one table to read tokens and to write them",
    "lm_head_bias": "a bias on the scores of the tokens",
}
FIELDS = ("dropout", *SIZES, *CHOICES, *SWITCHES)


def add_shape(command: argparse.ArgumentParser, *, usual: str = USUAL_SIZE) -> None:
    """The options for size and variants. What is left out is as the size, or OpenAI's GPT-2, has it."""
    command.add_argument("--preset", choices=tuple(PRESETS), help=f"size; default: {usual}")
    command.add_argument("--dropout", type=float, metavar="P", help="share of activations silenced")
    group = command.add_argument_group("what if GPT-2 had …")
    for name, help in SIZES.items():
        names = [_option(name), "--context"] if name == "n_positions" else [_option(name)]
        group.add_argument(*names, type=int, metavar="N", help=help)
    for name, (choices, help) in CHOICES.items():
        group.add_argument(_option(name), choices=choices, help=help)
    for name, help in SWITCHES.items():
        group.add_argument(_option(name), action=argparse.BooleanOptionalAction, help=help)


def shape_of(options: argparse.Namespace, vocab_size: int, *, usual: str = USUAL_SIZE) -> GPT2Config:
    """The model that these options describe, by itself of the size `usual`. Raises a UserError."""
    chosen: dict[str, Any] = {name: getattr(options, name) for name in FIELDS}
    return preset(options.preset or usual, vocab_size=vocab_size, **chosen)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
