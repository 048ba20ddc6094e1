"""One engine per model writes for everybody who uses it: texts join and leave a running batch at any token.

Reading a model's weights from memory is what a token costs, and it costs the same for one text as for eight.
So all texts go on together, token by token; each with its own rules, its own luck and its own length, and
each as if it were alone.
"""

import atexit
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gpt2demo.errors import BusyError, LimitError, UserError
from gpt2demo.generation.beams import beam_search
from gpt2demo.generation.records import check_finite, choose
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import StopWatch
from gpt2demo.generation.streams import Item, Place, Search, Stream
from gpt2demo.generation.writing import Manuscript
from gpt2demo.model.cache import Cache
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel

MAX_ROWS = 32  # texts written at once
CACHE_BYTES = 800_000_000  # for what is remembered of them; larger models have fewer rows
MAX_WAITING = 128  # texts that wait for a row
READ_TOKENS = 512  # tokens of prompts that are read together ...
READ_AT_ONCE = 128  # ... in parts of so many, between which everybody else gets a token
# After so long without a text the engine's thread ends, and with it the threads that it shares products with:
# those of two engines would stand in each other's way. The next text starts another.
IDLE_SECONDS = 0.1


@dataclass
class _Reading:
    """Prompts that are being read together, in parts, into an ordinary cache."""

    streams: list[list[Stream]]  # for each row those whose text begins alike
    ids: Tensor  # (B, T), shorter ones filled up at the end, where nobody looks
    lengths: list[int]
    cache: Cache
    logits: Tensor | None = None  # (B, V), the scores after each prompt, as far as they are read
    done: int = 0


@dataclass
class _Desk:
    """Where everything is that is being written. Touched by the engine's thread only."""

    streams: list[Stream] = field(default_factory=list)  # in the order of the cache's rows
    unread: deque[Stream] = field(default_factory=deque)  # let in, but with a view that is still to be read
    reading: _Reading | None = None

    def __len__(self) -> int:
        reading = self.reading  # asked once: others may look while the engine's thread works
        being_read = sum(map(len, reading.streams)) if reading else 0
        return len(self.streams) + len(self.unread) + being_read


class Engine:
    """Writes with one model for everybody at once.

    model: in eval mode, and nobody else's: hooks of somebody who looks into it would be in the way. A thread
    of its own computes while there is something to write.
    """

    def __init__(self, model: LanguageModel, *, rows: int | None = None, threads: int | None = None):
        """rows: texts at once, by default as many as fit into CACHE_BYTES. threads: for each product."""
        self.model = model
        self.rows = rows or rows_for(model.config, next(iter(model.state_dict().values())).element_size())
        self.threads = threads
        self._cache = model.new_batch_cache(self.rows)
        self._waiting: deque[Stream] = deque()
        self._searches: deque[Search] = deque()  # the first one goes on, the others wait
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._desk = _Desk()

    def write(
        self,
        prompt_ids: Sequence[int],
        config: SamplingConfig,
        *,
        written: Sequence[int] = (),
        stops: StopWatch | None = None,
        with_logits: bool = False,
    ) -> Stream:
        """Begins a text; the arguments are those of `Manuscript`. Raises BusyError when too many wait."""
        text = Manuscript(self.model, prompt_ids, config, written=written, stops=stops)
        stream = Stream(self, text, with_logits=with_logits)
        with self._changed:
            self._check_room()
            self._waiting.append(stream)
            self._start()
        return stream

    def search(self, prompt_ids: Sequence[int], *, beams: int, max_new_tokens: int) -> Search:
        """Begins a beam search. One at a time goes on, a token whenever the other texts get one.

        Raises BusyError when too many wait, LimitError for more beams than this model has room for, and what
        `beam_search` raises.
        """
        steps = beam_search(self.model, prompt_ids, beams=beams, max_new_tokens=max_new_tokens)
        if beams > self.rows:
            raise LimitError(
                f"The number of beams is {beams}.",
                f"This model is so large that there is room for {self.rows} at once.",
                "Follow fewer texts, or choose a smaller model.",
            )
        search = Search(self, steps)
        with self._changed:
            self._check_room()
            self._searches.append(search)
            self._start()
        return search

    def _check_room(self) -> None:
        waiting = len(self._waiting) + len(self._searches)
        if waiting >= MAX_WAITING:
            raise BusyError(
                f"{waiting} texts wait to be written by this model.",
                f"At most {MAX_WAITING} may wait.",
                "Try again in a moment.",
            )

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        self._changed.notify()

    def close(self) -> None:
        """Ends the thread at the next token, whatever is still being written; for the end of the program."""
        with self._changed:
            self._closing, thread = True, self._thread
            self._changed.notify()
        if thread is not None:
            thread.join()

    @property
    def company(self) -> int:
        """About how many texts are being written now."""
        return len(self._desk) + bool(self._searches)

    def ahead(self, place: Place[Item]) -> int:
        """How many texts wait before this one; of searches only one at a time goes on."""
        with self._changed:
            for queue in (self._waiting, self._searches):
                if place in queue:
                    return [*queue].index(place)
        return 0

    def wake(self) -> None:
        """Makes the engine look whether somebody has left."""
        with self._changed:
            self._changed.notify()

    def _work(self) -> None:
        if self.threads is not None:
            _share_products(self.threads)
        while self._let_in():
            try:
                with torch.inference_mode():
                    self._read_on()
                    self._write_on()
                    self._search_on()
            except Exception as error:  # a bug or a lack of memory: everybody hears of it, the engine goes on
                self._give_up(error)

    def _let_in(self) -> bool:
        """Sends away who has left, lets in who waits. → False when there was nothing to do for a while"""
        with self._changed:
            self._sort_out()
            if not self._has_work() and not self._closing:
                self._changed.wait(IDLE_SECONDS)
            while self._waiting and len(self._desk) < self.rows:
                stream = self._waiting.popleft()
                if not stream.ended:
                    self._desk.unread.append(stream)
            if self._has_work() and not self._closing:
                return True
            self._thread, self._closing = None, False
            atexit.unregister(self.close)
            return False

    def _has_work(self) -> bool:
        return bool(len(self._desk) or self._waiting or self._searches)

    def _sort_out(self) -> None:
        desk = self._desk
        places: list[Place[Any]] = [*self._waiting, *self._searches, *desk.streams, *desk.unread]
        for place in places:
            if place._abandoned():
                place._end()
        self._waiting = deque(stream for stream in self._waiting if not stream.ended)
        self._searches = deque(search for search in self._searches if not search.ended)
        desk.unread = deque(stream for stream in desk.unread if not stream.ended)
        for row in reversed(range(len(desk.streams))):
            if desk.streams[row].ended:
                self._leave(row)
        if desk.reading and all(stream.ended for row in desk.reading.streams for stream in row):
            desk.reading = None

    def _leave(self, row: int) -> None:
        """Empties a row; the last one moves into its place, here as in the cache."""
        streams = self._desk.streams
        streams[row] = streams[-1]
        streams.pop()
        self._cache.leave(row)

    def _read_on(self) -> None:
        """Reads a part of the prompts that are being read, or begins with the next ones."""
        desk = self._desk
        if desk.reading is None and desk.unread:
            desk.reading = self._begin_reading()
        reading = desk.reading
        if reading is None:
            return
        B, T = reading.ids.shape
        part = max(1, READ_AT_ONCE // B)
        ids = reading.ids[:, reading.done : reading.done + part]
        ends = torch.tensor([length - 1 - reading.done for length in reading.lengths])
        here = (ends >= 0) & (ends < ids.size(1))
        logits = self.model.next_logits(ids, reading.cache, ends.clamp(0, ids.size(1) - 1)).float()
        if reading.logits is None:
            reading.logits = logits
        reading.logits[here] = logits[here]
        reading.done += ids.size(1)
        if reading.done >= T:
            desk.reading = None
            self._join(reading)

    def _begin_reading(self) -> _Reading:
        """Takes as many texts as can be read together; those that begin alike are read once."""
        unread = self._desk.unread
        alike: dict[tuple[int, ...], list[Stream]] = {}
        longest = 0
        while unread:
            window = tuple(unread[0]._text.window)
            longest = max(longest, len(window))
            if alike and (len(alike) + (window not in alike)) * longest > READ_TOKENS:
                break
            alike.setdefault(window, []).append(unread.popleft())
        lengths = [len(window) for window in alike]
        ids = torch.zeros(len(alike), max(lengths), dtype=torch.int64)
        for row, window in enumerate(alike):
            ids[row, : len(window)] = torch.tensor(window)
        return _Reading(list(alike.values()), ids, lengths, self.model.new_cache(len(alike)))

    def _join(self, reading: _Reading) -> None:
        """The prompts are read: their texts get their first token, and a row in the batch."""
        assert reading.logits is not None
        rows = [
            (row, stream)
            for row, streams in enumerate(reading.streams)
            for stream in streams
            if not stream.ended
        ]
        scores = reading.logits[[row for row, _ in rows]]
        moved = self._choose(scores, [stream for _, stream in rows])
        for (row, stream), view_moved in zip(rows, moved, strict=True):
            if stream.ended:
                continue
            if view_moved:
                self._desk.unread.append(stream)
            else:
                self._cache.join(reading.cache, row, reading.lengths[row])
                self._desk.streams.append(stream)

    def _write_on(self) -> None:
        """One token more for every text in the batch."""
        streams = self._desk.streams
        if not streams:
            return
        ids = torch.tensor([[stream._text.window[-1]] for stream in streams])  # (B, 1)
        moved = self._choose(self.model.next_logits(ids, self._cache).float(), list(streams))
        for row in reversed(range(len(moved))):
            stream = streams[row]
            if stream.ended or moved[row]:
                self._leave(row)
            if moved[row] and not stream.ended:
                self._desk.unread.append(stream)  # it keeps its place, and is read again from a later word on

    def _search_on(self) -> None:
        """One token more for the texts that the first search follows."""
        with self._changed:
            search = next(iter(self._searches), None)
        if search is None or search.ended:
            return
        try:
            search._go_on()
        except UserError as error:
            search._end(error)

    def _choose(self, logits: Tensor, streams: list[Stream]) -> list[bool]:
        """The next token of each text by its row of logits (B, V). → whether its view moved on"""
        sound = torch.isfinite(logits).all(dim=-1).tolist()
        good = [row for row, is_sound in enumerate(sound) if is_sound]
        moved = [False] * len(streams)
        for row, stream in enumerate(streams):
            if not sound[row]:
                stream._end(_diverged(logits[row]))
        if not good:
            return moved
        texts = [streams[row]._text for row in good]
        steps = choose(
            logits if len(good) == len(logits) else logits[good],
            [text.config for text in texts],
            [text.luck() for text in texts],
            [text.index for text in texts],
            [text.seen for text in texts],
        )
        for row, step in zip(good, steps, strict=True):
            step, moved[row] = streams[row]._text.add(step)
            streams[row]._put(step, logits[row])
        return moved

    def _give_up(self, error: Exception) -> None:
        desk, self._desk = self._desk, _Desk()
        self._cache = self.model.new_batch_cache(self.rows)
        reading = [stream for row in desk.reading.streams for stream in row] if desk.reading else []
        with self._changed:
            search = [*self._searches][:1]
        places: list[Place[Any]] = [*desk.streams, *desk.unread, *reading, *search]
        for place in places:
            place._end(error)


def rows_for(config: GPT2Config, bytes_per_number: int) -> int:
    """How many texts are written at once: as many as there is room to remember. → 1 … MAX_ROWS"""
    one = 2 * config.n_layer * config.n_positions * config.n_embd * bytes_per_number
    return max(1, min(MAX_ROWS, CACHE_BYTES // one))


def _diverged(logits: Tensor) -> UserError:
    try:
        check_finite(logits)
    except UserError as error:
        return error
    raise AssertionError("these scores are sound")


def _share_products(threads: int) -> None:
    """So many threads for the products of this thread; other threads are asked to keep what they had."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    other = threading.Thread(target=torch.set_num_threads, args=(before,))
    other.start()
    other.join()
