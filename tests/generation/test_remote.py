"""The process that writes: its texts are those of an engine here, and whatever happens to it is told."""

from __future__ import annotations

import gc
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gpt2demo.errors import BusyError, DivergedError, LimitError, LostError, TextError
from gpt2demo.generation import remote
from gpt2demo.generation.engine import Engine
from gpt2demo.generation.frames import SIZES, error_heard, error_told, heard, receive, send, told
from gpt2demo.generation.records import Likeliest, TokenStep, Written
from gpt2demo.generation.remote import RemoteEngine, Writer
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import stop_watch
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.packed import packed
from gpt2demo.text.tokenizers import train_tokenizer
from tests.generation.little_models import PROMPT, make_model

SECONDS = 60  # in which everything must have happened
TOKENIZER = train_tokenizer("bpe", ["the cat sat on the mat " * 30], 300)


@pytest.fixture(scope="module")
def model() -> GPT2:
    return make_model(vocab_size=TOKENIZER.vocab_size)


@pytest.fixture(scope="module")
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.close()


@pytest.fixture
def engine(writer: Writer, model: GPT2) -> RemoteEngine:
    return writer.engine(model, TOKENIZER, "fp32", 1)


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


def same(here: list[Written], there: list[Written]) -> bool:
    """Every number of every token, the scores included."""
    return [step for step, _ in here] == [step for step, _ in there] and all(
        (a is None and b is None) or np.array_equal(a, b) for (_, a), (_, b) in zip(here, there, strict=True)
    )


@pytest.mark.parametrize(
    "rules",
    [
        {"temperature": 1.0},
        {"temperature": 0},
        {"temperature": 1.2, "top_k": 9, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.3},
        {"temperature": 1.0, "stop": ("at",)},
    ],
)
def test_a_text_from_there_is_the_text_from_here_number_for_number(engine, model, rules):
    config = SamplingConfig(seed=3, max_new_tokens=60, **rules)
    stops = stop_watch(TOKENIZER, config)
    asked = {"written": [7, 8], "with_logits": "stop" not in rules}
    alike = Engine(packed(model), threads=1)  # more threads add up in another order
    here = list(alike.write(PROMPT, config, stops=stop_watch(TOKENIZER, config), **asked))
    there = list(engine.write(PROMPT, config, stops=stops, **asked))
    assert same(here, there) and here[0].step.top == there[0].step.top and here[0].step.index == 2
    assert there[-1].step.end == ("length" if "stop" not in rules else here[-1].step.end)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_other_precisions_write_there_too(writer, model, precision):
    found = list(
        writer.engine(model, TOKENIZER, precision, 1).write(PROMPT, SamplingConfig(max_new_tokens=9))
    )
    assert len(found) == 9 and found[-1].step.end == "length"


def test_many_texts_that_come_and_go_are_what_each_is_alone(engine, model):
    chance = random.Random(4)
    configs = [
        SamplingConfig(
            seed=i, max_new_tokens=chance.randint(1, 60), temperature=chance.choice((0.0, 1.0, 1.4))
        )
        for i in range(24)
    ]
    streams = [engine.write(PROMPT[: 1 + i % 5], config) for i, config in enumerate(configs)]
    streams[3].leave()
    for i, (stream, config) in enumerate(zip(streams, configs, strict=True)):
        if i != 3:
            expected = list(Engine(model).write(PROMPT[: 1 + i % 5], config))
            assert [one.step.id for one in stream] == [one.step.id for one in expected]
    until(lambda: not engine.writer._streams)


def test_what_cannot_be_asked_for_is_said_before_anything_is_sent(engine, writer):
    for wrong in ([], [9_999], [-1]):
        with pytest.raises((TextError, LimitError)):
            engine.write(wrong, SamplingConfig())
    assert not writer._streams
    with pytest.raises(LimitError, match="beams"):
        engine.search(PROMPT, beams=99, max_new_tokens=3)
    *_, found = engine.search(PROMPT, beams=2, max_new_tokens=4)
    assert len(found.beams) == 2 and len(found.beams[0].ids) == 4


def test_too_many_texts_are_refused(engine, writer, monkeypatch):
    monkeypatch.setattr(engine, "rows", 1)
    monkeypatch.setattr(remote, "MAX_WAITING", 1)
    long = SamplingConfig(max_new_tokens=2_000)
    with monkeypatch.context() as deaf:
        deaf.setattr(writer, "_take_in", lambda frame: None)  # nobody hears that a text is over
        with engine.write(PROMPT, long), engine.write(PROMPT, long):
            with pytest.raises(BusyError, match="wait"):
                engine.write(PROMPT, long)
    engine.write(PROMPT, long).leave()


def test_one_waits_for_its_turn_and_hears_how_many_are_ahead(writer, model):
    engine = writer.engine(model, TOKENIZER, "fp32", 1)
    long = SamplingConfig(max_new_tokens=2_000)
    streams = [engine.write(PROMPT, long) for _ in range(engine.rows + 3)]
    until(lambda: streams[-1].ahead == 2)
    for stream in streams[: engine.rows]:
        stream.leave()
    assert streams[-1].take(SECONDS) and streams[-1].ahead == 0
    for stream in streams:
        stream.leave()


def test_a_model_that_has_left_the_numbers_says_so_through_two_processes(writer):
    wild = make_model(vocab_size=TOKENIZER.vocab_size)
    wild.wte.weight.data *= 1e30  # finite itself, but not what comes of it
    with pytest.raises(DivergedError):
        list(writer.engine(wild, TOKENIZER, "fp32", 1).write(PROMPT, SamplingConfig()))


def test_a_bug_there_is_a_bug_here_and_others_go_on(writer, engine, model):
    config = SamplingConfig(max_new_tokens=5)
    unknown = writer.engine(model, TOKENIZER, "fp32", 1)
    writer._loaded[unknown.key] = unknown  # which nobody has sent there
    with pytest.raises(RuntimeError, match="KeyError"):
        list(unknown.write(PROMPT, config))
    assert len(list(engine.write(PROMPT, config))) == 5


def test_a_process_that_was_killed_is_told_of_and_comes_back(writer, engine):
    # in company, which makes them slow: none shall be over before
    stream, *_ = streams = [engine.write(PROMPT, SamplingConfig(max_new_tokens=2_000)) for _ in range(24)]
    taken = stream.take(SECONDS)
    os.kill(writer.pid or 0, signal.SIGKILL)
    with pytest.raises(LostError, match="process that writes"):
        taken += list(stream)
    assert taken
    until(lambda: all(one.ended for one in streams))
    until(lambda: writer.pid is None)
    assert len(list(engine.write(PROMPT, SamplingConfig(max_new_tokens=4)))) == 4


def test_an_engine_that_nobody_holds_is_forgotten_there(writer, model):
    engine = writer.engine(model, TOKENIZER, "fp32", 1)
    assert len(list(engine.write(PROMPT, SamplingConfig(max_new_tokens=2)))) == 2
    key = engine.key
    del engine
    gc.collect()
    assert key in writer.dropped
    again = writer.engine(model, TOKENIZER, "fp32", 1)
    assert len(list(again.write(PROMPT, SamplingConfig(max_new_tokens=2)))) == 2 and not writer.dropped
    writer._loaded[key] = again
    again.key = key
    with pytest.raises(RuntimeError, match="KeyError"):
        list(again.write(PROMPT, SamplingConfig(max_new_tokens=2)))


def test_a_reader_that_has_gone_frees_its_place(engine, writer, monkeypatch):
    stream = engine.write(PROMPT, SamplingConfig(max_new_tokens=2_000))
    monkeypatch.setattr("gpt2demo.generation.streams.PATIENCE", -1.0)
    until(lambda: stream.ended and not writer._streams)


def test_a_closed_writer_says_so(model):
    writer = Writer()
    engine = writer.engine(model, TOKENIZER, "fp32", 1)
    stream = engine.write(PROMPT, SamplingConfig(max_new_tokens=2_000))
    writer.close()
    with pytest.raises(LostError):
        list(stream)
    until(lambda: writer.pid is None)
    with pytest.raises(LostError):
        engine.write(PROMPT, SamplingConfig())


def test_the_process_ends_with_the_program_that_began_it():
    program = (
        "import os\n"
        "from gpt2demo.generation.remote import Writer\n"
        "writer = Writer()\n"
        "writer.start()\n"
        "print(writer.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{pid}/stat") as file:  # nobody may be there to bury it
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"

    until(gone)


def test_messages_are_whole_or_none_and_keep_every_number():
    pipe = io.BytesIO()
    send(pipe, {"do": "x", "n": 1.5}, [b"abc", b"", b"d"])
    whole = pipe.getvalue()
    frame = receive(io.BytesIO(whole))
    assert frame is not None and frame == ({"do": "x", "n": 1.5}, b"abcd")
    assert all(receive(io.BytesIO(whole[:length])) is None for length in range(len(whole)))
    assert SIZES.unpack(whole[: SIZES.size])[1] == 4

    step = TokenStep(
        index=2**40, id=50_256, logit=-1e-300, logprob=-math.inf, logprob_sampled=-math.inf, rank=1,
        entropy=0.1, cuts=(("top-k", 3),), likeliest=Likeliest(np.full((6, 3), -math.inf)), end="stop",
    )  # fmt: skip
    logits = np.array([1.0, -np.inf, 3e38], np.float32)
    sent = told(Written(step, logits))
    back = heard(list(map(list, sent.cuts)), sent.end, np.frombuffer(sent.numbers), memoryview(sent.logits))
    assert back.step == step and back.logits is not None and np.array_equal(back.logits, logits)
    plain = told(Written(step, None))
    assert heard(plain.cuts, plain.end, np.frombuffer(plain.numbers), None) == Written(step, None)


def test_errors_keep_their_kind_and_no_name_makes_another():
    mistake = LimitError("Got this.", "Need that.", "Do so.")
    back = error_heard(error_told(mistake))
    assert type(back) is LimitError and str(back) == str(mistake)
    bug = error_heard(error_told(ValueError("odd")))
    assert type(bug) is RuntimeError and str(bug) == "ValueError: odd"
    for name in ("check_range", "Sequence", "__builtins__", "math"):
        assert type(error_heard([name, "a", "b", "c"])) is RuntimeError


def test_a_tokenizer_goes_there_byte_for_byte(engine):
    head, payload = engine.loading()
    assert len(payload) == 1 and len(head["tokens"]) == TOKENIZER.vocab_size
    assert [token.encode("latin-1") for token in json.loads(json.dumps(head))["tokens"]] == [
        TOKENIZER.token_bytes(i) for i in range(TOKENIZER.vocab_size)
    ]
