"""The engine: everybody's text is what it would be alone, however texts come and go."""

import math
import random
import subprocess
import sys
import threading
import time

import pytest
import torch

from gpt2demo.errors import BusyError, DivergedError, LimitError, TextError
from gpt2demo.generation import engine as engines
from gpt2demo.generation import streams
from gpt2demo.generation.beams import beam_search
from gpt2demo.generation.engine import Engine, rows_for
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import StopWatch, stop_watch
from gpt2demo.generation.streams import Stream
from gpt2demo.generation.writing import generate
from gpt2demo.model.baselines import make_model as make_any
from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.tokenizers import train_tokenizer
from tests.generation.little_models import PROMPT, make_model

SECONDS = 60  # in which everything must have happened


@pytest.fixture(scope="module")
def model() -> GPT2:
    return make_model()


def ids(stream: Stream) -> list[int]:
    return [step.id for step, _ in stream]


def alone(model: GPT2, prompt: list[int], config: SamplingConfig) -> list[int]:
    return [step.id for step in generate(model, prompt, config)]


def some_requests(count: int, vocab_size: int) -> list[tuple[list[int], SamplingConfig]]:
    chance = random.Random(5)
    rules = [
        {"temperature": 0},
        {"temperature": 1.0},
        {"temperature": 1.3, "top_k": 12},
        {"temperature": 0.9, "top_p": 0.8, "min_p": 0.02},
        {"temperature": 0.8, "repetition_penalty": 1.4},
    ]
    return [
        (
            [chance.randrange(vocab_size) for _ in range(chance.choice((1, 3, 5, 11, 16, 40)))],
            SamplingConfig(**chance.choice(rules), seed=number, max_new_tokens=chance.randint(1, 45)),
        )
        for number in range(count)
    ]


def test_64_texts_that_come_and_go_are_what_each_is_alone(model):
    requests = some_requests(64, 41)
    expected = [alone(model, prompt, config) for prompt, config in requests]
    engine = Engine(model, rows=7)
    chance = random.Random(1)
    found: dict[int, list[int]] = {}

    def visitor(number: int) -> None:
        time.sleep(chance.random() / 2)
        found[number] = ids(engine.write(*requests[number]))

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [found[number] for number in range(64)] == expected


@pytest.mark.parametrize(
    "kind",
    [
        {"architecture": "lstm"},
        {"architecture": "bigram"},
        {"positions": "rotary"},
        {"positions": "sinusoidal"},
        {"norm": "post"},
        {"attention": "local", "attention_window": 4},
        {"attention": "strided", "attention_window": 3},
        {"attention": "global_local", "attention_window": 3, "global_tokens": 2},
        {"n_experts": 4, "experts_per_token": 2},
    ],
    ids=lambda kind: "-".join(map(str, kind.values())),
)
def test_every_kind_of_model_can_write_for_several(kind):
    config = GPT2Config(vocab_size=41, n_positions=16, n_embd=32, n_layer=2, n_head=2, **kind)
    model = make_any(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    requests = some_requests(9, 41)
    engine = Engine(model, rows=4)
    streams = [engine.write(*request) for request in requests]
    assert [ids(stream) for stream in streams] == [alone(model, *request) for request in requests]


def test_a_text_can_go_on_where_it_stopped(model):
    whole = SamplingConfig(max_new_tokens=30, seed=4, repetition_penalty=1.2)
    expected = alone(model, PROMPT, whole)
    rest = SamplingConfig(max_new_tokens=18, seed=4, repetition_penalty=1.2)
    assert ids(Engine(model).write(PROMPT, rest, written=expected[:12])) == expected[12:]


def test_every_step_says_the_same_as_the_plain_loop(model):
    config = SamplingConfig(max_new_tokens=20, top_k=8, min_p=0.01, repetition_penalty=1.3)
    for step, plain in zip(
        (step for step, _ in Engine(model).write(PROMPT, config)),
        generate(model, PROMPT, config),
        strict=True,
    ):
        assert (step.id, step.rank, step.cuts, step.end) == (plain.id, plain.rank, plain.cuts, plain.end)
        assert step.logprob == pytest.approx(plain.logprob, abs=1e-5)
        assert [a.cut_by for a in step.top] == [a.cut_by for a in plain.top]


def test_alike_prompts_are_read_once(model):
    read: list[torch.Size] = []
    handle = model.wte.register_forward_pre_hook(lambda module, args: read.append(args[0].shape))
    try:
        engine = Engine(model, rows=8)
        with engine._changed:  # so that all four are there before it begins
            thread, engine._thread = engine._thread, threading.current_thread()
            for seed in range(4):
                engine._waiting.append(
                    Stream(
                        engine,
                        engines.Manuscript(model, PROMPT, SamplingConfig(seed=seed)),
                        with_logits=False,
                    )
                )
            begun = list(engine._waiting)
            engine._thread = thread
        engine.write([7, 7], SamplingConfig(max_new_tokens=1))
        texts = [ids(stream) for stream in begun]
    finally:
        handle.remove()
    assert read[0] == (2, 5), "the four that begin alike are one row, the other is the second"
    assert texts == [alone(model, PROMPT, SamplingConfig(seed=seed)) for seed in range(4)]


def test_long_prompts_are_read_in_parts_while_others_get_their_tokens():
    model = make_model(n_positions=400)
    engine = Engine(model, rows=4)
    read: list[int] = []
    handle = model.wte.register_forward_pre_hook(lambda module, args: read.append(args[0].size(1)))
    try:
        first = engine.write(PROMPT, SamplingConfig(max_new_tokens=200))
        first.take(SECONDS)
        prompt = [i % 41 for i in range(390)]
        second = engine.write(prompt, SamplingConfig(max_new_tokens=5))
        assert ids(second) == alone(model, prompt, SamplingConfig(max_new_tokens=5))
        assert len(ids(first)) >= 190
    finally:
        handle.remove()
    parts = [place for place, length in enumerate(read) if 1 < length <= engines.READ_AT_ONCE]
    assert len(parts) >= 4
    assert any(read[a + 1 : b].count(1) for a, b in zip(parts[1:], parts[2:], strict=False))


def test_a_place_is_free_at_once_when_its_reader_leaves(model):
    engine = Engine(model, rows=1)
    first = engine.write(PROMPT, SamplingConfig(max_new_tokens=2_000))
    assert first.take(SECONDS)
    second = engine.write(PROMPT, SamplingConfig(max_new_tokens=3))
    third = engine.write(PROMPT, SamplingConfig(max_new_tokens=3))
    assert (second.ahead, third.ahead) == (0, 1)
    assert not second.take(0.05), "there is one row only"
    first.leave()
    assert len(ids(second)) == 3 and len(ids(third)) == 3


def test_a_reader_who_never_comes_back_is_given_up(model, monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE", 0.2)
    engine = Engine(model, rows=1)
    forgotten = engine.write(PROMPT, SamplingConfig(max_new_tokens=2_000))
    forgotten.take(SECONDS)
    assert len(ids(engine.write(PROMPT, SamplingConfig(max_new_tokens=2)))) == 2
    assert forgotten.ended


def test_damaged_weights_end_one_text_with_a_sentence_and_no_other():
    model = make_model()
    with torch.no_grad():
        model.wte.weight[40] = math.nan
        model.lm_head.weight = torch.nn.Parameter(model.wte.weight.clone().nan_to_num())
    engine = Engine(model)
    good = engine.write(PROMPT, SamplingConfig(max_new_tokens=9, top_k=1))
    bad = engine.write([40], SamplingConfig(max_new_tokens=9))
    with pytest.raises(DivergedError, match="not numbers"):
        ids(bad)
    assert len(ids(good)) == 9


def test_a_bug_is_told_to_everybody_and_the_engine_goes_on(model):
    engine = Engine(model)

    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    handle = model.ln_f.register_forward_pre_hook(fail)
    stream = engine.write(PROMPT, SamplingConfig(max_new_tokens=3))
    with pytest.raises(MemoryError):
        ids(stream)
    handle.remove()
    assert len(ids(engine.write(PROMPT, SamplingConfig(max_new_tokens=3)))) == 3


def test_too_many_are_refused_and_what_cannot_be_read_too(model, monkeypatch):
    monkeypatch.setattr(engines, "MAX_WAITING", 2)
    engine = Engine(model, rows=1)
    texts = [engine.write(PROMPT, SamplingConfig(max_new_tokens=2_000))]
    texts[0].take(SECONDS)
    texts += [engine.write(PROMPT, SamplingConfig()) for _ in range(2)]
    with pytest.raises(BusyError, match="wait"):
        engine.write(PROMPT, SamplingConfig())
    for stream in texts:
        stream.leave()
    with pytest.raises(TextError):
        engine.write([], SamplingConfig())
    with pytest.raises(TextError):
        engine.write([41], SamplingConfig())


def test_a_search_among_texts_finds_what_it_finds_alone(model):
    engine = Engine(model)
    config = SamplingConfig(max_new_tokens=40, seed=1)
    with engine.write(PROMPT, config) as text, engine.search(PROMPT, beams=3, max_new_tokens=25) as search:
        *_, found = search
        assert ids(text) == alone(model, PROMPT, config)
    *_, expected = beam_search(model, PROMPT, beams=3, max_new_tokens=25)
    assert found.last and [beam.ids for beam in found.beams] == [beam.ids for beam in expected.beams]
    assert search.over and not search.take(0)


def test_searches_go_on_one_after_the_other_and_free_their_place(model):
    passes = threading.Semaphore(0)  # none of the searches goes on before it may
    handle = model.ln_f.register_forward_pre_hook(lambda *_: passes.acquire(timeout=SECONDS) and None)
    engine = Engine(model)
    first, second, third = (engine.search(PROMPT, beams=2, max_new_tokens=2_000) for _ in range(3))
    passes.release()
    (step,) = first.take(SECONDS)
    assert len(step.beams) == 2 and (second.ahead, third.ahead) == (1, 2)
    second.leave()
    first.leave()
    passes.release(2)  # one that the first may be waiting for already
    (step,) = third.take(SECONDS)
    assert step.index <= 1 and third.ahead == 0
    third.leave()
    passes.release(9)
    handle.remove()


def test_searches_have_limits_and_a_bug_ends_only_the_one_it_met(model, monkeypatch):
    engine = Engine(model, rows=3)
    with pytest.raises(LimitError, match="room for 3 at once"):
        engine.search(PROMPT, beams=4, max_new_tokens=3)
    for wrong in (0, 9, 1.5, "2", None):
        with pytest.raises(LimitError):
            engine.search(PROMPT, beams=wrong, max_new_tokens=3)
    with pytest.raises(LimitError):
        engine.search(PROMPT, beams=2, max_new_tokens=2_001)

    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    handle = model.ln_f.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        list(engine.search(PROMPT, beams=2, max_new_tokens=3))
    handle.remove()
    assert len(list(engine.search(PROMPT, beams=2, max_new_tokens=3))[-1].beams) == 2
    monkeypatch.setattr(engines, "MAX_WAITING", 1)
    with engine.search(PROMPT, beams=2, max_new_tokens=2_000):
        with pytest.raises(BusyError, match="wait"):
            engine.search(PROMPT, beams=2, max_new_tokens=3)


def test_the_thread_ends_when_nobody_writes(model, monkeypatch):
    monkeypatch.setattr(engines, "IDLE_SECONDS", 0.05)
    engine = Engine(model)
    assert len(ids(engine.write(PROMPT, SamplingConfig(max_new_tokens=2)))) == 2
    thread = engine._thread
    if thread is not None:
        thread.join(SECONDS)
    assert engine._thread is None
    assert len(ids(engine.write(PROMPT, SamplingConfig(max_new_tokens=2)))) == 2


def test_scores_come_where_they_are_asked_for(model):
    config = SamplingConfig(max_new_tokens=4)
    assert all(logits is None for _, logits in Engine(model).write(PROMPT, config))
    for step, logits in Engine(model).write(PROMPT, config, with_logits=True):
        assert logits is not None and logits.shape == (41,)
        assert logits[step.id] == step.logit


def test_a_text_ends_with_a_stop_string_also_across_tokens():
    tokenizer = train_tokenizer("char", ["abcdefgh"], 0)
    model = make_any(preset("nano", vocab_size=tokenizer.vocab_size)).eval()
    free = SamplingConfig(max_new_tokens=60, temperature=1.5, seed=3)
    text = [step.id for step in generate(model, [5], free)]
    shown = tokenizer.decode(text)
    stop = shown[20:23]
    config = SamplingConfig(max_new_tokens=60, temperature=1.5, seed=3, stop=("never", stop))
    for steps in (
        list(generate(model, [5], config, stops=stop_watch(tokenizer, config))),
        [step for step, _ in Engine(model).write([5], config, stops=stop_watch(tokenizer, config))],
    ):
        written = tokenizer.decode([step.id for step in steps])
        assert written == shown[: shown.index(stop) + len(stop)]
        assert [step.end for step in steps[-2:]] == ["", "stop"]


def test_a_stop_string_may_begin_and_end_inside_of_tokens():
    tokenizer = train_tokenizer("bpe", ["the cat sat on the mat " * 30], 300)
    watch = StopWatch(tokenizer.token_bytes, ["cat s", "\n"])
    told = [watch.add(id_) for id_ in tokenizer.encode(" the cat sat")]
    assert told.count(True) == 1 and told.index(True) >= 1
    assert not StopWatch(tokenizer.token_bytes, ["cat"]).add(tokenizer.encode(" the")[0])


def test_larger_models_have_fewer_rows():
    assert rows_for(preset("nano", vocab_size=65), 4) == engines.MAX_ROWS
    assert 1 < rows_for(preset("gpt2", vocab_size=50_257), 4) < rows_for(preset("gpt2", vocab_size=50_257), 2)
    assert rows_for(preset("gpt2-xl", vocab_size=50_257), 4) >= 1


def test_a_program_can_end_while_an_engine_writes():
    program = (
        "from tests.generation.little_models import make_model\n"
        "from gpt2demo.generation.engine import Engine\n"
        "from gpt2demo.generation.sampling import SamplingConfig\n"
        "stream = Engine(make_model()).write([1], SamplingConfig(max_new_tokens=2_000))\n"
        "print(len(stream.take(60)) > 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "True", "")
