"""Engines in another process, held as if they were here."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import safetensors.torch

from gpt2demo.errors import BusyError, LostError
from gpt2demo.generation.engine import MAX_WAITING, Engine, rows_for
from gpt2demo.generation.frames import Frame, error_heard, heard, receive, send
from gpt2demo.generation.records import Written
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import StopWatch
from gpt2demo.generation.streams import Place, Search
from gpt2demo.generation.writing import Manuscript
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.packed import packed
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.text.tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
BYTES_PER_NUMBER = {"fp32": 4, "bf16": 2, "int8": 4}  # of what an engine remembers
GONE = (
    "The process that writes texts has ended.",
    "It needs memory for this model and for everybody's texts.",
    "Press Generate again; if it ends again, choose a smaller model.",
)


class RemoteStream(Place[Written]):
    """A text that is written in another process."""

    def __init__(self, engine: "RemoteEngine", id_: int) -> None:
        super().__init__(engine)
        self.id = id_
        self.remote = engine
        self.waits = 0  # how many texts wait before it

    def leave(self) -> None:
        """Gives the place back, and ends the text where it is."""
        if not self.ended:
            self.remote.writer.leave(self)
        self._end()

    def new(self, written: Sequence[Written]) -> None:
        """Takes in what has come."""
        for one in written:
            self._add(one, last=bool(one.step.end))

    def stop(self, error: BaseException | None = None) -> None:
        """Ends the text, with what went wrong if something did."""
        self._end(error)


class RemoteEngine:
    """Who writes with one model: what an Engine is, with the work done elsewhere.

    A beam search, of which all texts change at every token, is made here.
    """

    def __init__(
        self,
        writer: "Writer",
        model: LanguageModel,
        tokenizer: Tokenizer,
        precision: str,
        threads: int | None,
    ) -> None:
        self.writer = writer
        self.model = model
        self.tokenizer = tokenizer
        self.precision = precision
        self.threads = threads
        self.rows = rows_for(model.config, BYTES_PER_NUMBER[precision])
        self.company = 0  # about how many texts are being written now
        self.key = next(writer.numbers)
        self._searcher: Engine | None = None
        self._making = threading.Lock()
        weakref.finalize(self, writer.dropped.append, self.key).atexit = False

    def write(
        self,
        prompt_ids: Sequence[int],
        config: SamplingConfig,
        *,
        written: Sequence[int] = (),
        stops: StopWatch | None = None,
        with_logits: bool = False,
    ) -> RemoteStream:
        """Begins a text; the arguments are those of `Engine.write`. Raises BusyError when too many wait."""
        Manuscript(self.model, prompt_ids, config, written=written)  # raises here what is wrong with it
        return self.writer.write(
            self,
            {
                "prompt_ids": list(map(int, prompt_ids)),
                "config": asdict(config),
                "written": list(map(int, written)),
                "stops": stops is not None,
                "with_logits": with_logits,
            },
        )

    def search(self, prompt_ids: Sequence[int], *, beams: int, max_new_tokens: int) -> Search:
        """Begins a beam search, as `Engine.search` does."""
        with self._making:
            if self._searcher is None:
                self._searcher = Engine(packed(self.model, self.precision), threads=self.threads)
        return self._searcher.search(prompt_ids, beams=beams, max_new_tokens=max_new_tokens)

    def ahead(self, place: Place[Any]) -> int:
        """How many texts wait before this one."""
        return place.waits if isinstance(place, RemoteStream) else 0

    def wake(self) -> None:
        """Nothing: the other process hears of it by itself."""

    def loading(self) -> tuple[dict[str, Any], list[bytes]]:
        """The command that makes this engine there, with all that it needs."""
        weights = safetensors.torch.save({n: t.contiguous() for n, t in to_gpt2_tensors(self.model).items()})
        table = (self.tokenizer.token_bytes(id_) for id_ in range(self.tokenizer.vocab_size))
        head = {
            "do": "load",
            "key": self.key,
            "config": self.model.config.to_json(),
            "precision": self.precision,
            "threads": self.threads,
            "tokens": [part.decode("latin-1") for part in table],  # a character for each byte
        }
        return head, [weights]


class Writer:
    """The other process: begun before the first text, and again if it should end."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.dropped: deque[int] = deque()  # keys of engines that nobody holds any more
        self._guard = threading.RLock()  # for everything below, and for what is sent
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: weakref.WeakValueDictionary[int, RemoteEngine] = weakref.WeakValueDictionary()
        self._streams: dict[int, RemoteStream] = {}
        self._closed = False

    def engine(
        self, model: LanguageModel, tokenizer: Tokenizer, precision: str, threads: int | None
    ) -> RemoteEngine:
        """An engine for a model, which goes there when somebody wants the first text of it."""
        return RemoteEngine(self, model, tokenizer, precision, threads)

    def start(self) -> None:
        """Begins the process, so that nobody has to wait for it."""
        with self._guard:
            if self._process is not None or self._closed:
                return
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gpt2demo.generation.writer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": path},
            )
            threading.Thread(target=self._listen, args=(self._process,), name="listen", daemon=True).start()

    def close(self) -> None:
        """Ends the process, whatever is still being written."""
        with self._guard:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        """The process's number; None while there is none."""
        return None if self._process is None else self._process.pid

    def write(self, engine: RemoteEngine, asked: dict[str, Any]) -> RemoteStream:
        """Has a text begun. Raises BusyError when too many wait, LostError when there is no process."""
        with self._guard:
            going = sum(stream.remote is engine for stream in self._streams.values())
            if going >= engine.rows + MAX_WAITING:
                raise BusyError(
                    f"{going - engine.rows} texts wait to be written by this model.",
                    f"At most {MAX_WAITING} may wait.",
                    "Try again in a moment.",
                )
            stream = RemoteStream(engine, next(self.numbers))
            self._streams[stream.id] = stream
            self.start()
            try:
                while self.dropped:
                    self._send({"do": "drop", "key": self.dropped.popleft()})
                if engine.key not in self._loaded:
                    self._send(*engine.loading())
                    self._loaded[engine.key] = engine
                self._send({"do": "write", "key": engine.key, "id": stream.id} | asked)
            except OSError as error:
                self._streams.pop(stream.id, None)
                raise LostError(*GONE) from error
        return stream

    def leave(self, stream: RemoteStream) -> None:
        """Says that nobody wants a text any more."""
        with self._guard, contextlib.suppress(OSError):
            if self._streams.pop(stream.id, None) is not None:
                self._send({"do": "leave", "id": stream.id})

    def _send(self, head: dict[str, Any], payload: Sequence[bytes] = ()) -> None:
        if self._process is None:
            raise BrokenPipeError("there is no process")
        send(cast(BinaryIO, self._process.stdin), head, payload)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Takes in what the process says, until it ends."""
        while (frame := receive(cast(BinaryIO, process.stdout))) is not None:
            self._take_in(frame)
        process.wait()
        with self._guard:
            gone, self._streams = list(self._streams.values()), {}
            self._process = None
            self._loaded.clear()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what was still to be sent
                    cast(BinaryIO, pipe).close()
        for stream in gone:
            stream.stop(LostError(*GONE))

    def _take_in(self, frame: Frame) -> None:
        for key, company in frame.head.get("company", {}).items():
            engine = self._loaded.get(int(key))
            if engine is not None:
                engine.company = company
        place, payload = 0, memoryview(frame.payload)
        for news in frame.head["texts"]:
            with self._guard:
                stream = self._streams.get(news["id"])
            size = news.get("width", 0) + news.get("logits", 0)
            part = payload[place : (place := place + size * len(news.get("cuts", ())))]
            if stream is not None:
                self._tell(stream, news, part)

    def _tell(self, stream: RemoteStream, news: dict[str, Any], part: memoryview) -> None:
        stream.waits = news.get("ahead", 0)
        if "cuts" in news:
            stream.new(_tokens(news, part))
        if "error" in news:
            stream.stop(error_heard(news["error"]))
        elif news.get("over"):
            stream.stop()
        elif stream._abandoned():
            stream.leave()
        if stream.ended:
            with self._guard:
                self._streams.pop(stream.id, None)


def _tokens(news: dict[str, Any], part: memoryview) -> list[Written]:
    """The tokens of one text in one message."""
    width, logits, last = news["width"], news["logits"], len(news["cuts"]) - 1
    found = []
    for i, cuts in enumerate(news["cuts"]):
        own = part[i * (width + logits) : (i + 1) * (width + logits)]
        numbers = np.frombuffer(own[:width], np.float64)
        found.append(heard(cuts, news["end"] if i == last else "", numbers, own[width:] if logits else None))
    return found
