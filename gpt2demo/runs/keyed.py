"""One lock per name, made when first asked for and forgotten when nobody needs it."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class KeyedLocks:
    """Lets work on the same thing happen one after the other, and work on different things side by side."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, tuple[threading.Lock, int]] = {}  # with how many hold or await it

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        """Holds the lock of `key` while the block runs."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = (lock, users - 1)
