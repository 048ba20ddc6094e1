"""Models so small that a test can write with them, and wild enough to look at their context."""

import torch

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2

PROMPT = [3, 1, 4, 1, 5]


def make_model(n_positions: int = 16, vocab_size: int = 41) -> GPT2:
    config = GPT2Config(vocab_size=vocab_size, n_positions=n_positions, n_embd=32, n_layer=2, n_head=2)
    model = GPT2(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():  # a fresh model hardly looks at its context; a wilder one does
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model
