"""Hands: several threads that share the work of one step, each with a processor core of its own."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")


class Hands:
    """So many threads, the caller's own among them, that work side by side.

    A small model is computed faster by two threads that each take half of the batch than by two that share
    out every product of matrices: these are so short that the threads would mostly wait for each other. The
    threads end when this object is forgotten.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._others: ThreadPoolExecutor | None = None
        if count > 1:  # with one thread for each product, or every hand would start helpers of its own
            self._others = ThreadPoolExecutor(
                count - 1, "hand", initializer=torch.set_num_threads, initargs=(1,)
            )

    def map(self, work: Callable[[Given], Made], parts: Iterable[Given]) -> list[Made]:
        """Does the same work on every part, at the same time. → what came out, in the order of the parts"""
        first, *rest = parts
        if self._others is None:
            return [work(part) for part in (first, *rest)]
        begun = [self._others.submit(work, part) for part in rest]
        return [work(first), *(one.result() for one in begun)]

    def close(self) -> None:
        """Ends the other threads now, and waits until they have ended."""
        if self._others is not None:
            self._others.shutdown()


@contextmanager
def sharing_products(threads: int) -> Iterator[None]:
    """Inside the `with`, so many threads share out each product of matrices that this thread computes.

    Afterwards all is as before, also for threads that begin later: a server writes text as well as training.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
