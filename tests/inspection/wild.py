"""Small models with lively random weights, one of every kind, and transformers' own with the same weights."""

import torch
from transformers import GPT2Config as ReferenceConfig
from transformers import GPT2LMHeadModel

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.weights import to_gpt2_tensors

L, H, C, V = 2, 2, 32, 41
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
T = len(IDS)
VARIANTS = {
    "gpt2": {},
    "post": {"norm": "post"},
    "rotary": {"positions": "rotary"},
    "sinusoidal": {"positions": "sinusoidal", "activation": "relu"},
    "local": {"attention": "local", "attention_window": 3},
    "strided": {"attention": "strided", "attention_window": 3, "positions": "none"},
    "global_local": {"attention": "global_local", "attention_window": 3},
    "experts": {"n_experts": 3, "experts_per_token": 2},
    "one expert": {"n_experts": 3, "norm": "post"},
    "bare": {"bias": False, "tie_word_embeddings": False, "lm_head_bias": True},
}


def wild(variant: str = "gpt2", seed: int = 1, n_positions: int = 24) -> GPT2:
    """A fresh model looks everywhere alike; this one does not."""
    config = GPT2Config(
        vocab_size=V, n_positions=n_positions, n_embd=C, n_layer=L, n_head=H, **VARIANTS[variant]
    )
    model = GPT2(config, seed=seed).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def reference(model: GPT2) -> GPT2LMHeadModel:
    """transformers' own GPT-2, with our weights; its eager attention hands out the weights."""
    settings = ReferenceConfig(**model.config.to_json(), attn_implementation="eager")
    theirs = GPT2LMHeadModel(settings).eval()
    theirs.load_state_dict(to_gpt2_tensors(model), strict=False)
    theirs.tie_weights()
    return theirs.requires_grad_(False)


def hooks(model: torch.nn.Module) -> int:
    """How many hooks are on a model."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
