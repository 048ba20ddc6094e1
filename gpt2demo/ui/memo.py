"""What is worth remembering for a while: a few results, each computed once for everybody who asks."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from gpt2demo.runs.keyed import KeyedLocks

Result = TypeVar("Result")


class Memo(Generic[Result]):
    """Keeps the `size` results that were asked for last. Thirty who ask at once wait for one computation."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._guard = threading.Lock()
        self._making = KeyedLocks()
        self._known: OrderedDict[Hashable, Result] = OrderedDict()  # last used last

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The result of this key, made now if it is not known. What `make` raises is not remembered."""
        with self._making.hold(key):
            with self._guard:
                if key in self._known:
                    self._known.move_to_end(key)
                    return self._known[key]
            made = make()
            with self._guard:
                self._known[key] = made
                while len(self._known) > self.size:
                    self._known.popitem(last=False)
            return made
