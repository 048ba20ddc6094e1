"""Where a token stands: without being told, attention would take a text for a bag of tokens."""

import torch
from torch import Tensor, nn

from gpt2demo.model.config import GPT2Config

SLOWEST = 10_000.0  # from fast to slow, the waves get longer up to 2π times this


def wave_angles(positions: Tensor, channels: int) -> Tensor:
    """The angle of each wave at each position: position · 10000^(−2i / C) for wave i. (…) → (…, ⌈C/2⌉)

    Vaswani et al. 2017, section 3.5: from wave to wave a little slower, like the hands of a clock.
    """
    waves = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device) / channels  # 2i / C
    return positions.double()[..., None] * SLOWEST**-waves


def sinusoidal_table(positions: int, channels: int) -> Tensor:
    """A vector for each position that nobody has to learn: sines and cosines of its angles. → (positions, C)

    Vaswani et al. 2017, section 3.5: channel 2i is sin(angle i), channel 2i + 1 is cos(angle i).
    """
    angles = wave_angles(torch.arange(positions), channels)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :channels].float()


def rotate(x: Tensor, past: int | Tensor = 0) -> Tensor:
    """Turns each pair of channels by an angle that grows with the position: (B, H, T, D) → (B, H, T, D).

    Done to queries and keys, it makes their dot product depend on how far apart they stand, not on where: a
    rotary position embedding (Su et al. 2021, equation 15). past: how many tokens stand before the first, a
    number or one for each text (B, 1).
    """
    T, D = x.shape[-2:]
    positions = past + torch.arange(T, device=x.device)  # (T,) or (B, T)
    angles = wave_angles(positions, D).float()  # (…, T, D/2)
    angles = angles if angles.dim() == 2 else angles[:, None]  # the same for every head
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)  # half precision has no room for angles
    even, odd = x[..., 0::2], x[..., 1::2]  # (B, H, T, D/2)
    turned = (even * cos - odd * sin, even * sin + odd * cos)
    return torch.stack(turned, dim=-1).flatten(-2)


class FixedPositions(nn.Module):
    """A table of position vectors that is not learned: sines and cosines, or nothing but zeros."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", table)
        self.weight: Tensor  # (n_positions, C)

    def forward(self, positions: Tensor) -> Tensor:
        """(T,) → (T, C)"""
        return self.weight[positions]


def position_embedding(config: GPT2Config) -> nn.Embedding | FixedPositions:
    """The table wpe, which is added to the tokens' vectors: learned, as in GPT-2, or fixed.

    Rotary positions act inside attention, and without positions nothing does: both add zeros here.
    """
    shape = (config.n_positions, config.n_embd)
    if config.positions == "learned":
        return nn.Embedding(*shape)
    return FixedPositions(
        sinusoidal_table(*shape) if config.positions == "sinusoidal" else torch.zeros(shape)
    )
