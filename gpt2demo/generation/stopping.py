"""Where a text ends before its length is reached: at a string that somebody named."""

from collections.abc import Callable, Iterable

from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.text.tokenizers import Tokenizer


class StopWatch:
    """Watches what is written, token by token, for the first of some strings.

    A string may begin in the middle of one token and end in another. The prompt does not count, and neither
    does what was written before: whoever goes on after a stop wants more than that.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], stops: Iterable[str]) -> None:
        """token_bytes: exactly the bytes that a token adds to a text."""
        self._bytes = token_bytes
        self._stops = [stop.encode("utf-8", "surrogatepass") for stop in stops]
        self._longest = max(map(len, self._stops), default=0)
        self._end = b""

    def add(self, id_: int) -> bool:
        """Takes a token in. → whether a stop string stands in the text now"""
        data = self._bytes(id_)
        near = self._end + data
        self._end = near[-(self._longest - 1) :] if self._longest > 1 else b""
        return any(stop in near for stop in self._stops)


def stop_watch(tokenizer: Tokenizer, config: SamplingConfig) -> StopWatch | None:
    """Somebody who watches for the stop strings of these settings; None where there are none."""
    return StopWatch(tokenizer.token_bytes, config.stop) if config.stop else None
