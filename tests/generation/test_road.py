"""Going on where a text was left, reading prompts, and the road of one position from scores to chances."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt2demo.errors import LimitError, TextError
from gpt2demo.generation.prompts import MAX_PROMPT_CHARACTERS, read_prompt, sampling
from gpt2demo.generation.records import chosen_instead
from gpt2demo.generation.road import mark_seen, road
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import context_window, generate, generate_with_logits
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.tokenizers import train_tokenizer

PROMPT = [3, 1, 4]
LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.2, 0.05, 0.05], dtype=np.float32))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small sums are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> GPT2:
    made = GPT2(GPT2Config(vocab_size=23, n_positions=8, n_embd=16, n_layer=2, n_head=2), seed=1).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    return made


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("temperature", [0, 1.3])
def test_an_interrupted_text_goes_on_as_if_nothing_had_been_also_past_the_context(model, temperature, cached):
    whole = SamplingConfig(temperature=temperature, top_k=9, seed=4, max_new_tokens=16)
    expected = list(generate(model, PROMPT, whole, cached=cached))
    one = SamplingConfig(temperature=temperature, top_k=9, seed=4, max_new_tokens=1)
    written: list[int] = []
    for step in expected:
        (again,) = generate(model, PROMPT, one, written=written, cached=cached)
        assert (again.index, again.id) == (step.index, step.id)
        assert again.logprob == pytest.approx(step.logprob, abs=1e-4)
        written.append(again.id)


def test_the_context_keeps_its_last_half_when_it_is_full():
    assert context_window([1, 2], [], 4) == [1, 2]
    assert context_window([1, 2], [3, 4], 4) == [1, 2, 3, 4]
    assert context_window([1, 2], [3, 4, 5], 4) == [4, 5]
    assert context_window(range(9), [9], 4) == [8, 9]
    assert context_window([1], [2, 3], 1) == [3]


def test_the_scores_that_a_token_was_chosen_by_are_handed_out(model):
    config = SamplingConfig(temperature=0.7, top_p=0.8, seed=1, max_new_tokens=5)
    for step, logits in generate_with_logits(model, PROMPT, config):
        assert logits.shape == (23,) and logits.dtype == np.float32
        assert chosen_instead(logits, step.id, config, step.index) == replace(step, end="")
    other = chosen_instead(logits, int(logits.argmin()), config, 4)
    assert other.rank == 23 and other.logprob_sampled == -math.inf
    with pytest.raises(TextError):
        chosen_instead(logits, 23, config, 0)


def test_written_tokens_must_be_in_the_vocabulary(model):
    with pytest.raises(TextError, match="Token 99"):
        generate(model, PROMPT, SamplingConfig(), written=[99])


def test_a_road_says_what_each_rule_does_to_each_token():
    way = road(LOGITS, SamplingConfig(temperature=1.0, top_k=4, top_p=0.7), shown=5)
    assert [c.id for c in way.candidates] == [1, 2, 3, 0, 4]  # of equals the lower id first
    assert [c.rank for c in way.candidates] == [1, 2, 3, 4, 5]
    assert [c.cut_by for c in way.candidates] == ["", "", "", "top-p", "top-k"]
    assert [c.before for c in way.candidates] == pytest.approx([0.4, 0.2, 0.2, 0.1, 0.05])
    assert [c.after for c in way.candidates] == pytest.approx([0.5, 0.25, 0.25, 0, 0])
    assert (way.kept, way.rest, way.rest_kept) == (3, 1, 0)
    assert way.rest_before == pytest.approx(0.05) and way.rest_after == 0


def test_a_road_at_temperature_0_and_without_rules():
    frozen = road(LOGITS, SamplingConfig(temperature=0), shown=2, also=(5,))
    assert [(c.id, c.cut_by, c.after) for c in frozen.candidates] == [
        (1, "", 1.0),
        (2, "temperature 0", 0.0),
        (5, "temperature 0", 0.0),
    ]
    assert frozen.candidates[1].scaled is None and frozen.rest == 3
    hot = road(LOGITS, SamplingConfig(temperature=2.0), shown=99)
    assert hot.kept == 6 and hot.rest == 0 and hot.rest_after == 0
    assert hot.candidates[0].scaled == pytest.approx(hot.candidates[0].logit / 2)
    assert sum(c.after for c in hot.candidates) == pytest.approx(1)


def test_prompts_are_read_with_their_limits():
    tokenizer = train_tokenizer("char", ["abc\n"])
    assert read_prompt(tokenizer, "ab\r\nc\r").ids == tuple(tokenizer.encode("ab\nc\n"))
    empty = read_prompt(tokenizer, "")
    assert empty.from_start and empty.ids == (tokenizer.start_id,) and empty.text == ""
    with pytest.raises(TextError, match="'x'"):
        read_prompt(tokenizer, "abx")
    with pytest.raises(LimitError, match="1,000,000 characters"):
        read_prompt(tokenizer, "a" * 1_000_000)
    assert len(read_prompt(tokenizer, "a" * MAX_PROMPT_CHARACTERS).ids) == MAX_PROMPT_CHARACTERS
    for wrong in (None, 3, ["a"], {"a": 1}):
        with pytest.raises(TextError, match="not text"):
            read_prompt(tokenizer, wrong)


def test_settings_come_from_sliders_and_programs_alike():
    assert sampling(0.5, 0, 1) == SamplingConfig(temperature=0.5, max_new_tokens=1)
    full = sampling(0.5, 7.0, 0.9, 0.1, 1.2, seed=3, max_new_tokens=10, stop=["a"])
    assert full == SamplingConfig(
        temperature=0.5,
        top_k=7,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.2,
        seed=3,
        max_new_tokens=10,
        stop=("a",),
    )
    for wrong in [
        ("x", 0, 1),
        (1, True, 1),
        (1, None, 1),
        (1, -1, 1),
        (1, 0, 0),
        (1, 0, None),
        (1, 0, 1, None),
        (1, 0, 1, 2),
        (1, 0, 1, 0, None),
        (1, 0, 1, 0, 0.9),
        (1, 0, 1, 0, 1, None),
        (1, 0, 1, 0, 1, 0, 0),
        (1, 0, 1, 0, 1, 0, 1, "text"),
    ]:
        with pytest.raises(LimitError):
            sampling(*wrong)


def test_a_road_says_what_each_rule_cut_and_sees_what_was_there(model):
    config = SamplingConfig(temperature=1.0, top_k=4, top_p=0.8, repetition_penalty=2.0)
    step = chosen_instead(LOGITS, 1, config, 0, mark_seen([1, 2, 2], len(LOGITS)))
    way = road(LOGITS, config, seen=[1, 2, 2])
    assert way.cuts == step.cuts and [rule for rule, _ in way.cuts] == ["top-k", "top-p"]
    assert way.kept == len(LOGITS) - sum(count for _, count in way.cuts)
    penalised = [c.id for c in way.candidates if c.penalised != c.logit]
    assert sorted(penalised) == [1, 2]
