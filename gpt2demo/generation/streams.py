"""What somebody holds who has a text written: what has come of it so far, and the place in the queue."""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from gpt2demo.generation.beams import BeamStep
from gpt2demo.generation.records import TokenStep, Written
from gpt2demo.generation.writing import Manuscript

PATIENCE = 30.0  # seconds after which a text that nobody takes tokens of is given up

Item = TypeVar("Item")
Mine = TypeVar("Mine", bound="Place[Any]")


class Host(Protocol):
    """Who writes: what a place asks of an engine."""

    @property
    def company(self) -> int:
        """About how many texts are being written now."""

    def ahead(self, place: "Place[Item]") -> int:
        """How many wait before this one."""

    def wake(self) -> None:
        """Look whether somebody has left."""


class Place(Generic[Item]):
    """A place with an engine, from which somebody takes out what was written, as it comes.

    Leave it when its reader has gone: it is free at the next token. As a context manager it does so by
    itself.
    """

    def __init__(self, engine: Host, *, kept: int | None = None) -> None:
        """kept: of what nobody has taken only so many of the last are kept; by default all."""
        self._engine = engine
        self._new: deque[Item] = deque(maxlen=kept)
        self._begun = threading.Event()  # there is a first token, or there will be none
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._looked = time.monotonic()

    @property
    def ahead(self) -> int:
        """How many texts wait before this one; 0 when it is its turn."""
        return self._engine.ahead(self)

    @property
    def company(self) -> int:
        """About how many texts are being written by the same engine now, this one counted."""
        return self._engine.company

    @property
    def ended(self) -> bool:
        """True when nothing will come any more, apart from what can be taken at once."""
        return self._ended.is_set()

    @property
    def over(self) -> bool:
        """True when all was taken, and there is nothing to be told about what went wrong."""
        return self.ended and not self._new and self._error is None

    def take(self, seconds: float) -> list[Item]:
        """Waits so long, or until the first token or the last, and takes all that has come since.

        Raises what went wrong for this text, once the tokens before it are taken.
        """
        self._looked = time.monotonic()
        if not self._begun.is_set():
            self._begun.wait(seconds)
        else:
            self._ended.wait(seconds)
        ended = self.ended  # asked first: what comes between the two is not lost
        taken = [self._new.popleft() for _ in range(len(self._new))]
        if ended and self._error is not None and not taken:
            raise self._error
        self._looked = time.monotonic()
        return taken

    def __iter__(self) -> Iterator[Item]:
        """All of it, each as soon as it can be had."""
        with self:
            while not self.over:
                yield from self.take(0.03)

    def leave(self) -> None:
        """Gives the place back, and ends the text where it is."""
        self._end()
        self._engine.wake()

    def __enter__(self: Mine) -> Mine:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _add(self, item: Item, *, last: bool) -> None:
        self._new.append(item)
        if last:
            self._ended.set()
        if not self._begun.is_set():
            self._begun.set()

    def _end(self, error: BaseException | None = None) -> None:
        if not self.ended:
            self._error = error
            self._ended.set()
        self._begun.set()

    def _abandoned(self) -> bool:
        return time.monotonic() - self._looked > PATIENCE


class Stream(Place[Written]):
    """A text whose tokens are drawn one after the other."""

    def __init__(self, engine: Host, text: Manuscript, *, with_logits: bool) -> None:
        super().__init__(engine)
        self._text = text
        self._with_logits = with_logits

    def _put(self, step: TokenStep, logits: Tensor) -> None:
        # a copy: a row would keep the scores of everybody in memory
        written = Written(step, logits.clone().numpy() if self._with_logits else None)
        self._add(written, last=bool(step.end))


class Search(Place[BeamStep]):
    """A beam search; of the texts that it follows only the newest state is kept."""

    def __init__(self, engine: Host, steps: Generator[BeamStep, None, None]) -> None:
        super().__init__(engine, kept=1)
        self._steps = steps

    def _go_on(self) -> None:
        """One token more for all texts that are followed."""
        step = next(self._steps)
        self._add(step, last=step.last)
