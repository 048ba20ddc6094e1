"""How the processes of one training talk to each other: in numbers and tensors, never in pickles."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from gpt2demo.errors import LostError
from gpt2demo.training.files import TYPES

PATIENCE = timedelta(minutes=5)  # how long a process waits for another before it takes it for lost
DTYPES = {name: dtype for dtype, name in TYPES.items()}
SIGNS = ("connection", "timed out", "timeout", "broken pipe", "socket", "remote process", "closed by")


@contextmanager
def telling_of_loss() -> Iterator[None]:
    """Turns PyTorch's many ways to say that another process is gone into one."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not isinstance(error, dist.DistError) and not any(sign in text for sign in SIGNS):
            raise
        raise LostError(
            "Another process of this training ended, or does not answer any more.",
            "All of them must take part in every step.",
            "Start the same command again: training goes on from the last checkpoint.",
        ) from error


def sums(*numbers: int) -> list[int]:
    """The sum of every process's numbers, place by place."""
    message = torch.tensor(numbers, dtype=torch.int64)
    with telling_of_loss():
        dist.all_reduce(message)
    found: list[int] = message.tolist()
    return found


def all_same(things: Sequence[bytes]) -> bool:
    """Whether every process has the same, judged by SHA-256."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(thing).digest() for thing in things)).digest()
    mine = torch.tensor(list(digest), dtype=torch.int64)
    with telling_of_loss():
        everybodys = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(everybodys, mine)
    return all(torch.equal(one, mine) for one in everybodys)


def spread(tensors: Mapping[str, Tensor], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Sends the first process's tensors to all, one after the other; the others give an empty mapping."""
    first = dist.get_rank() == 0
    names = [[name, TYPES[tensor.dtype], list(tensor.shape)] for name, tensor in tensors.items()]
    for name, kind, shape in json.loads(spread_text(json.dumps(names))):
        tensor = torch.empty(shape, dtype=DTYPES[kind], device=device)
        if first:
            tensor.copy_(tensors[name])
        dist.broadcast(tensor, 0)
        yield name, tensor


def spread_text(text: str) -> str:
    """The first process's text, for all."""
    data = text.encode()
    length = torch.tensor([len(data)])
    with telling_of_loss():
        dist.broadcast(length, 0)
        padded = bytearray(data.ljust(int(length)))
        letters = torch.frombuffer(padded, dtype=torch.uint8)[: int(length)].clone()
        dist.broadcast(letters, 0)
    return bytes(letters.tolist()).decode()
