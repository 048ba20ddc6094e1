"""The MLP: what each token does for itself with what attention brought it."""

import torch.nn.functional as F
from torch import Tensor, nn

from gpt2demo.model.config import GPT2Config


class MLP(nn.Module):
    """Two linear layers with a GELU between them, applied to every token alone.

    The GELU is GPT-2's: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), Hendrycks and Gimpel 2016.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.n_inner)
        self.c_proj = nn.Linear(config.n_inner, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)"""
        x = self.c_fc(x)  # (B, T, 4C)
        x = F.gelu(x, approximate="tanh")
        x = self.dropout(self.c_proj(x))  # (B, T, C)
        return x
