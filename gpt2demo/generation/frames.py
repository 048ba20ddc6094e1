"""What two processes say to each other about texts: a head in JSON, and numbers as they lie in memory.

Nothing that is said can run anything: there is no pickle in it.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2demo import errors
from gpt2demo.errors import UserError
from gpt2demo.generation.records import Likeliest, TokenStep, Written

SIZES = struct.Struct("<QQ")  # bytes of the head, bytes of the payload
FACTS = ("index", "id", "logit", "logprob", "logprob_sampled", "rank", "entropy")  # of a token, as numbers


class Frame(NamedTuple):
    """One message."""

    head: dict[str, Any]
    payload: bytes


def send(pipe: BinaryIO, head: Mapping[str, Any], payload: Sequence[bytes] = ()) -> None:
    """Writes a message into a pipe. Raises OSError where nobody reads any more."""
    words = json.dumps(head).encode()
    pipe.write(SIZES.pack(len(words), sum(map(len, payload))))
    pipe.write(words)
    for part in payload:
        pipe.write(part)
    pipe.flush()


def receive(pipe: BinaryIO) -> Frame | None:
    """Reads the next message; None when there will be none."""
    sizes = pipe.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    words, size = SIZES.unpack(sizes)
    head, payload = pipe.read(words), pipe.read(size)
    if len(head) < words or len(payload) < size:
        return None
    return Frame(json.loads(head), payload)


class Told(NamedTuple):
    """A token on its way: words for the head of a message, and numbers for its payload."""

    cuts: Sequence[tuple[str, int]]
    end: str
    numbers: bytes
    logits: bytes  # empty where nobody asked for them


def told(written: Written) -> Told:
    """A token as it is sent."""
    step, logits = written
    facts = np.array([getattr(step, name) for name in FACTS])
    numbers = np.concatenate([facts, step.likeliest.columns.ravel()])
    return Told(step.cuts, step.end, numbers.tobytes(), b"" if logits is None else logits.tobytes())


def heard(cuts: Sequence[Any], end: str, numbers: NDArray[np.float64], logits: memoryview | None) -> Written:
    """A token as it was before it was sent. numbers: all that stand in its `Told`."""
    index, id_, logit, logprob, logprob_sampled, rank, entropy = numbers[: len(FACTS)].tolist()
    step = TokenStep(
        index=int(index),
        id=int(id_),
        logit=logit,
        logprob=logprob,
        logprob_sampled=logprob_sampled,
        rank=int(rank),
        entropy=entropy,
        cuts=tuple((rule, count) for rule, count in cuts),
        likeliest=Likeliest(numbers[len(FACTS) :].reshape(6, -1).copy()),
        end=end,
    )
    return Written(step, None if logits is None else np.frombuffer(logits, np.float32).copy())


def error_told(error: BaseException) -> list[str]:
    """What went wrong, as it is sent: a person's mistake with its three sentences, a bug with its name."""
    if isinstance(error, UserError):
        return [type(error).__name__, error.got, error.needed, error.todo]
    return ["", f"{type(error).__name__}: {error}"]


def error_heard(words: Sequence[str]) -> Exception:
    """The same error on the other side; a bug of ours becomes a RuntimeError."""
    kind = getattr(errors, words[0], None) if words[0] else None
    if isinstance(kind, type) and issubclass(kind, UserError):
        return kind(*words[1:])
    return RuntimeError(words[1])
