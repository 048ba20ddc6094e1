"""Generation: the cache changes nothing, the same seed gives the same text, no lock is held while waiting."""

import dataclasses
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gpt2demo.errors import DivergedError, LimitError, TextError
from gpt2demo.generation.reading import MAX_READ_TOKENS, perplexity, read_text
from gpt2demo.generation.sampling import SamplingConfig, distribution
from gpt2demo.generation.writing import generate, next_token_logits, prompt_window
from gpt2demo.model.gpt2 import GPT2
from tests.generation.little_models import PROMPT, make_model


@pytest.fixture(scope="module")
def model() -> GPT2:
    return make_model()


def written(model, prompt=PROMPT, cached=True, **settings) -> list[int]:
    return [step.id for step in generate(model, prompt, SamplingConfig(**settings), cached=cached)]


def spy_on_lengths(model: GPT2) -> tuple[list[int], torch.utils.hooks.RemovableHandle]:
    lengths: list[int] = []
    return lengths, model.wte.register_forward_pre_hook(lambda module, args: lengths.append(args[0].size(1)))


@pytest.mark.parametrize("n_positions", [1, 7, 16])
@pytest.mark.parametrize(
    "settings", [{"temperature": 0}, {"temperature": 1.0}, {"temperature": 1.5, "top_k": 9, "top_p": 0.9}]
)
def test_cached_equals_uncached_token_for_token_also_past_the_context(n_positions, settings):
    model = make_model(n_positions)
    config = SamplingConfig(**settings, max_new_tokens=60, seed=3)
    fast = list(generate(model, PROMPT, config))
    slow = list(generate(model, PROMPT, config, cached=False))
    assert [step.id for step in fast] == [step.id for step in slow]
    assert [step.logprob for step in fast] == pytest.approx([step.logprob for step in slow], abs=1e-4)
    assert len(fast) == 60


def test_the_cache_reads_one_token_at_a_time_and_half_a_context_when_full(model):
    lengths, handle = spy_on_lengths(model)
    written(model, max_new_tokens=30)
    handle.remove()
    # 5 of the prompt, 11 more fill the 16; then the last 8 are read afresh, and 8 more fit.
    assert lengths == [5] + 11 * [1] + [8] + 8 * [1] + [8] + 8 * [1]


def test_greedy_text_is_the_argmax_of_plain_forward_passes(model):
    window, expected = list(PROMPT), []
    with torch.no_grad():
        for _ in range(40):
            expected.append(int(model(torch.tensor([window]))[0, -1].argmax()))
            window.append(expected[-1])
            window = window[-8:] if len(window) > 16 else window
    assert written(model, temperature=0, max_new_tokens=40) == expected
    assert written(model, temperature=0, max_new_tokens=40, seed=9) == expected
    assert written(model, temperature=3.0, top_k=1, max_new_tokens=40) == expected


def test_the_same_seed_gives_the_same_text_and_another_seed_another(model):
    first = written(model, temperature=1.0, seed=7, max_new_tokens=40)
    torch.rand(5)  # what else draws random numbers does not matter
    assert written(model, temperature=1.0, seed=7, max_new_tokens=40) == first
    assert written(model, temperature=1.0, seed=8, max_new_tokens=40) != first


def test_generating_leaves_the_global_random_numbers_and_the_model_alone(model):
    state = torch.random.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    written(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training and all(parameter.grad is None for parameter in model.parameters())


def test_a_prompt_longer_than_the_context_is_read_from_its_end(model):
    long = [i % 41 for i in range(100)]
    assert prompt_window(long, 16) == long[-16:]
    assert prompt_window(PROMPT, 16) == PROMPT
    assert written(model, long) == written(model, long[-16:])


def test_a_step_says_everything_about_its_token(model):
    config = SamplingConfig(temperature=0.7, top_k=5, seed=1, max_new_tokens=12)
    text = list(PROMPT)
    for index, step in enumerate(generate(model, PROMPT, config)):
        logits = next_token_logits(model, text if index < 12 else text[-8:])
        logprobs, final = logits.double().log_softmax(-1), distribution(logits, config).probabilities
        assert step.index == index
        assert step.logprob == pytest.approx(logprobs[step.id].item(), abs=1e-5)
        assert step.logprob_sampled == pytest.approx(final[step.id].log().item(), abs=1e-4)
        assert step.rank == 1 + (logits > logits[step.id]).sum()
        assert step.entropy == pytest.approx(
            torch.distributions.Categorical(logits=logits).entropy().item(), abs=1e-4
        )
        assert len(step.top) == 20 and step.id in [other.id for other in step.top]
        assert [other.id for other in step.top] == logits.topk(20).indices.tolist()
        assert [other.logit for other in step.top] == pytest.approx(logits.topk(20).values.tolist(), abs=1e-4)
        assert [other.logprob_sampled > -math.inf for other in step.top] == 5 * [True] + 15 * [False]
        assert all(
            type(value) is float
            for value in [step.logprob, step.entropy, step.top[0].logit, step.top[0].logprob]
        )
        text.append(step.id)


def test_the_chosen_token_is_always_among_the_alternatives(model):
    steps = list(generate(model, PROMPT, SamplingConfig(temperature=5, max_new_tokens=60)))
    unlikely = [step for step in steps if step.rank > 20]
    assert unlikely and all(step.top[-1].id == step.id and len(step.top) == 21 for step in unlikely)
    assert all(len({other.id for other in step.top}) == len(step.top) for step in steps)


def test_a_small_vocabulary_has_fewer_alternatives():
    assert len(next(generate(make_model(vocab_size=7), [1], SamplingConfig())).top) == 7


def test_equal_logits_rank_by_id():
    model = make_model(vocab_size=5)
    with torch.no_grad():
        model.wte.weight.zero_()  # every logit is exactly 0
    step = next(generate(model, [1], SamplingConfig(temperature=0)))
    assert (step.id, step.rank) == (0, 1)
    assert [other.id for other in step.top] == [0, 1, 2, 3, 4]
    assert [step.rank for step in read_text(model, [0, 3, 1])] == [4, 2]


def test_the_lock_is_held_for_the_forward_pass_only(model):
    lock = threading.Lock()
    held = []
    handle = model.wte.register_forward_pre_hook(lambda module, args: held.append(lock.locked()))
    steps = generate(model, PROMPT, SamplingConfig(max_new_tokens=5), guard=lock)
    assert not lock.locked()
    for _ in range(3):
        next(steps)
        assert not lock.locked()
    steps.close()
    handle.remove()
    assert held == [True, True, True] and lock.acquire(blocking=False)


def test_each_token_may_be_fetched_by_another_thread(model):
    lock = threading.RLock()  # an RLock could not be released by a thread that did not take it
    steps = generate(model, PROMPT, SamplingConfig(max_new_tokens=10), guard=lock)
    ids = []
    for _ in range(10):
        with ThreadPoolExecutor(1) as pool:
            ids.append(pool.submit(next, steps).result().id)
    assert ids == written(model, max_new_tokens=10)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_an_error_in_the_model_frees_the_lock(model):
    def fail(module, args):
        raise RuntimeError("broken")

    lock = threading.Lock()
    handle = model.h[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="broken"):
        next(generate(model, PROMPT, SamplingConfig(), guard=lock))
    handle.remove()
    assert not lock.locked()


@pytest.mark.parametrize("prompt", [[], [41], [-1], [0, 10**30], [1.5]])
def test_ids_that_the_model_does_not_know_are_refused_at_once(model, prompt):
    with pytest.raises(TextError):
        generate(model, prompt, SamplingConfig())
    with pytest.raises(TextError):
        read_text(model, prompt)
    with pytest.raises(TextError):
        next_token_logits(model, prompt)


def test_a_model_in_training_mode_is_refused_and_stays_as_it_is():
    model = make_model().train()
    with pytest.raises(ValueError, match="eval"):
        generate(model, PROMPT, SamplingConfig())
    with pytest.raises(ValueError, match="eval"):
        read_text(model, PROMPT)
    assert model.training


def test_a_model_that_diverged_says_so():
    model = make_model()
    with torch.no_grad():
        model.ln_f.weight[0] = math.nan
    with pytest.raises(DivergedError, match="earlier step"):
        next(generate(model, PROMPT, SamplingConfig()))
    with pytest.raises(DivergedError):
        read_text(model, PROMPT)


def test_reading_a_text_scores_every_token_but_the_first(model):
    text = [i * i % 41 for i in range(16)]
    with torch.no_grad():
        logprobs = model(torch.tensor([text]))[0].double().log_softmax(-1)
    steps = read_text(model, text)
    assert [step.index for step in steps] == list(range(1, 16))
    assert [step.id for step in steps] == text[1:]
    expected = [logprobs[i - 1, text[i]].item() for i in range(1, 16)]
    assert [step.logprob for step in steps] == pytest.approx(expected, abs=1e-5)
    assert all(step.logprob_sampled == step.logprob for step in steps)


def test_with_a_start_token_the_first_token_is_scored_too(model):
    text = [7, 8, 9]
    steps = read_text(model, text, start_id=2)
    assert [step.index for step in steps] == [0, 1, 2]
    assert [step.id for step in steps] == text
    plain = read_text(model, [2, *text])
    assert [dataclasses.replace(step, index=step.index + 1) for step in steps] == list(plain)


def test_reading_what_was_written_finds_the_same_probabilities(model):
    steps = list(generate(model, PROMPT, SamplingConfig(max_new_tokens=11)))
    scored = read_text(model, PROMPT + [step.id for step in steps])[len(PROMPT) - 1 :]
    assert [step.id for step in scored] == [step.id for step in steps]
    assert [step.logprob for step in scored] == pytest.approx([step.logprob for step in steps], abs=1e-5)
    assert [step.rank for step in scored] == [step.rank for step in steps]


@pytest.mark.parametrize("n_positions", [1, 2, 7, 16])
@pytest.mark.parametrize("length", [2, 16, 17, 18, 24, 25, 26, 33, 100])
def test_a_long_text_is_read_in_windows_that_overlap_by_half(n_positions, length):
    model = make_model(n_positions)
    text = [i * i % 41 for i in range(length)]
    steps = read_text(model, text)
    assert [step.id for step in steps] == text[1:] and [step.index for step in steps] == list(
        range(1, length)
    )
    inputs, half = length - 1, max(1, n_positions // 2)
    for step in steps:  # each token is scored by the first window that reaches it
        read = step.index - 1  # the last token read before it
        window = 0 if read < n_positions else (read - n_positions) // half + 1
        start = window * half
        assert read < min(inputs, start + n_positions) and (start == 0 or read - start >= n_positions - half)
        logits = next_token_logits(model, text[start : step.index])
        assert step.logprob == pytest.approx(logits.double().log_softmax(-1)[step.id].item(), abs=1e-4)


def test_scoring_in_parts_changes_nothing():
    model = make_model(n_positions=200)
    text = [i * i % 41 for i in range(180)]  # more rows than are scored at once
    with torch.no_grad():
        logprobs = model(torch.tensor([text]))[0].double().log_softmax(-1)
    expected = [logprobs[i - 1, text[i]].item() for i in range(1, 180)]
    steps = read_text(model, text)
    assert [step.index for step in steps] == list(range(1, 180))
    assert [step.logprob for step in steps] == pytest.approx(expected, abs=1e-5)


def test_reading_has_a_limit(model):
    with pytest.raises(LimitError, match="4,097 tokens"):
        read_text(model, [1] * (MAX_READ_TOKENS + 1))
    with pytest.raises(TextError, match="single token"):
        read_text(model, [1])
    with pytest.raises(TextError):
        read_text(model, [1, 2], start_id=99)


def test_reading_holds_the_lock_for_the_forward_pass_only(model):
    lock = threading.Lock()
    held = []
    handle = model.wte.register_forward_pre_hook(lambda module, args: held.append(lock.locked()))
    read_text(model, [1] * 40, guard=lock)
    handle.remove()
    assert held and all(held) and not lock.locked()


def test_perplexity_is_e_to_the_mean_surprise(model):
    steps = read_text(model, [5, 6, 7, 8])
    summary = perplexity(steps)
    assert summary.tokens == 3
    assert summary.nats == pytest.approx(-sum(step.logprob for step in steps) / 3)
    assert summary.perplexity == pytest.approx(math.exp(summary.nats))
