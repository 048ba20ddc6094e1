"""The process that writes: engines of all models, away from the page, which has a processor core of its own.

    python -m gpt2demo.generation.writer

Python does one thing at a time in a process. A page that has thirty visitors is busy with messages, and an
engine that has to wait for it between any two products writes at half its speed. So texts are written here,
and the page gets what is new twenty times a second (`remote.py`). It ends when the page does.
"""

import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import safetensors.torch
import torch

from gpt2demo.generation.engine import Engine
from gpt2demo.generation.frames import Frame, Told, error_told, receive, send, told
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import StopWatch
from gpt2demo.generation.streams import Stream
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.packed import packed
from gpt2demo.model.weights import load_gpt2_tensors

TELL_SECONDS = 0.05  # so often is told what is new: a page shows it seven times a second at most


@dataclass(eq=False)
class _Text:
    """A text that is being written for somebody on the other side."""

    stream: Stream
    key: int  # of its engine
    ahead: int = 0  # as it was told last


@dataclass
class _Office:
    """All engines and all texts. Commands come in one thread, and what is new goes out in another."""

    out: BinaryIO
    threads: int  # for each product, where a model does not ask for fewer
    engines: dict[int, Engine] = field(default_factory=dict)
    tables: dict[int, list[bytes]] = field(default_factory=dict)  # of each engine the bytes of every token
    texts: dict[int, _Text] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)  # for `texts`
    sending: threading.Lock = field(default_factory=threading.Lock)
    busy: threading.Event = field(default_factory=threading.Event)

    def do(self, frame: Frame) -> None:
        """Follows one command: load, drop, write or leave."""
        head = frame.head
        getattr(self, f"_{head['do']}")(head, frame.payload)

    def _load(self, head: dict[str, Any], weights: bytes) -> None:
        model = make_model(GPT2Config.from_json(head["config"])).eval()
        load_gpt2_tensors(model, safetensors.torch.load(weights))
        made = packed(model.requires_grad_(False), head["precision"])
        self.tables[head["key"]] = [token.encode("latin-1") for token in head["tokens"]]
        self.engines[head["key"]] = Engine(made, threads=head["threads"] or self.threads)

    def _drop(self, head: dict[str, Any], _: bytes) -> None:
        self.tables.pop(head["key"], None)
        engine = self.engines.pop(head["key"], None)
        if engine is not None:
            engine.close()

    def _write(self, head: dict[str, Any], _: bytes) -> None:
        try:
            engine = self.engines[head["key"]]
            config = SamplingConfig(**head["config"])
            table = self.tables[head["key"]]
            watch = StopWatch(table.__getitem__, config.stop) if head["stops"] else None
            stream = engine.write(
                head["prompt_ids"],
                config,
                written=head["written"],
                stops=watch,
                with_logits=head["with_logits"],
            )
        except Exception as error:
            self._say({"texts": [{"id": head["id"], "error": error_told(error)}]}, [])
            return
        with self.guard:
            self.texts[head["id"]] = _Text(stream, head["key"])
        self.busy.set()

    def _leave(self, head: dict[str, Any], _: bytes) -> None:
        with self.guard:
            text = self.texts.pop(head["id"], None)
        if text is not None:
            text.stream.leave()

    def tell(self) -> None:
        """Says what is new, again and again, for as long as the process lasts."""
        while True:
            self.busy.wait()
            began = time.monotonic()
            news, payload, company = [], [], {}
            with self.guard:
                texts = list(self.texts.items())
                if not texts:
                    self.busy.clear()
            for id_, text in texts:
                company[text.key] = text.stream.company
                item, new = self._news(id_, text)
                if item:
                    news.append(item)
                    for one in new:
                        payload += [one.numbers, one.logits]
            if texts:
                self._say({"texts": news, "company": company}, payload)
            time.sleep(max(0.001, TELL_SECONDS - (time.monotonic() - began)))

    def _news(self, id_: int, text: _Text) -> tuple[dict[str, Any], list[Told]]:
        """What is new about a text, if anything: for the head of the message, and for its payload."""
        was_ended = text.stream.ended  # asked first: then all that there will be is taken now
        try:
            new = [told(one) for one in text.stream.take(0)]
        except Exception as error:
            self._forget(id_)
            return {"id": id_, "error": error_told(error)}, []
        ahead = text.stream.ahead
        if not new and ahead == text.ahead and not was_ended:
            return {}, []
        text.ahead = ahead
        if was_ended:
            self._forget(id_)
        item: dict[str, Any] = {"id": id_, "ahead": ahead, "over": was_ended}
        if new:
            item |= {
                "cuts": [list(one.cuts) for one in new],
                "end": new[-1].end,
                "width": len(new[0].numbers),
                "logits": len(new[0].logits),
            }
        return item, new

    def _forget(self, id_: int) -> None:
        with self.guard:
            self.texts.pop(id_, None)

    def _say(self, head: dict[str, Any], payload: list[bytes]) -> None:
        try:
            with self.sending:
                send(self.out, head, payload)
        except OSError:  # nobody listens any more
            os._exit(0)


def main() -> None:
    """Serves one page, through standard input and output, until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the page, which says goodbye itself
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever anybody prints here is no message
    threads = torch.get_num_threads()
    # OpenMP lets threads that wait for each other sleep at once where it knows of more of them than there are
    # cores, and waking takes as long as a product. So no thread but an engine's may share anything out.
    torch.set_num_threads(1)
    office = _Office(out, threads)
    threading.Thread(target=office.tell, name="tell", daemon=True).start()
    while (frame := receive(sys.stdin.buffer)) is not None:
        try:
            office.do(frame)
        except Exception:  # a model that could not be loaded: who wants a text of it will be told
            traceback.print_exc()
        del frame  # which may hold all weights of a model
    os._exit(0)


if __name__ == "__main__":
    main()
