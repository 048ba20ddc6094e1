"""A GPT-2 of two layers, wired by hand as an induction head: each number has a reason, every answer is known.

The stream has four parts, each a one-hot vector: which token this is, where it stands, which token stood
before it, and what to say next. Each is written twice, the second time negative, so that the mean is 0 and
LayerNorm only scales. Head (0, 0) reads the token just before and notes which one it is; head (1, 0) reads
where that note is the token at hand, and says what stands there. In "A B … A" the answer is B. The other two
heads read everything alike and write nothing; the MLPs write nothing.

A text begins with START, which occurs only there: head (1, 0) rests on it when there is nothing to repeat,
and says nothing then.
"""

import torch

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2

START = 0
V, P = 12, 24  # tokens (START among them) and positions
HALF = 3 * V + P  # numbers in the four parts
TOKEN, PLACE, BEFORE, SAY = 0, V, V + P, 2 * V + P  # where each part begins
SHARP = 40.0  # so large that a softmax is 0 or 1
LOUD = 4.0  # logits per unit of what is said


def induction_model(strength: float = 1.0) -> GPT2:
    """The model, in eval mode. strength: how sharp its induction head is; 0 reads everything alike."""
    config = GPT2Config(
        vocab_size=V, n_positions=P, n_embd=2 * HALF, n_layer=2, n_head=2, tie_word_embeddings=False
    )
    model = GPT2(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    token, place = torch.arange(V), torch.arange(P)
    model.wte.weight[token] = both(TOKEN + token)
    model.wpe.weight[place] = both(PLACE + place)
    first, second = model.h[0].attn, model.h[1].attn
    earlier = (place - 1).clamp(0)  # the first token can only read itself
    connect(first, 0, queries=PLACE + place, to=earlier, by=SHARP)
    connect(first, 1, queries=PLACE + place, to=place, by=1.0)
    write(first, value=TOKEN + token, into=BEFORE + token, scale=scale(4))
    connect(second, 0, queries=TOKEN + token, to=token, by=SHARP * strength)
    connect(second, 1, queries=BEFORE + token, to=token, by=1.0)
    second.c_attn.bias[V] = SHARP * strength * scale(6) / 2  # half as much as a match, at the START
    second.c_attn.weight[C(second) + V, PLACE] = 1.0
    spoken = token[1:]  # START is never said
    write(second, value=TOKEN + spoken, into=SAY + spoken, scale=scale(6))
    model.lm_head.weight[:] = LOUD / 2 * both(SAY + token)
    return model


def scale(ones: int) -> float:
    """What LayerNorm multiplies a stream of so many ±1 with; the others are 0."""
    return float((ones / (2 * HALF) + 1e-5) ** -0.5)


def both(places: torch.Tensor) -> torch.Tensor:
    """A vector for each place: 1 there, −1 in the second half.  (N,) → (N, C)"""
    vectors = torch.zeros(len(places), 2 * HALF)
    rows = torch.arange(len(places))
    vectors[rows, places], vectors[rows, places + HALF] = 1.0, -1.0
    return vectors


def C(attention: torch.nn.Module) -> int:
    return attention.c_proj.weight.size(0)


def connect(
    attention: torch.nn.Module, part: int, *, queries: torch.Tensor, to: torch.Tensor, by: float
) -> None:
    """Head 0: number i of `queries` in the stream becomes number to[i] of a query (0) or a key (1)."""
    attention.c_attn.weight[part * C(attention) + to, queries] = by


def write(attention: torch.nn.Module, *, value: torch.Tensor, into: torch.Tensor, scale: float) -> None:
    """Head 0: what it reads of `value` is added to the stream at `into`, 1 for 1."""
    number = torch.arange(len(value))
    attention.c_attn.weight[2 * C(attention) + number, value] = 1.0
    attention.c_proj.weight[into, number] = 1 / scale
    attention.c_proj.weight[into + HALF, number] = -1 / scale
