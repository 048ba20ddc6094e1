"""Beam search finds what searching through everything finds, and what transformers finds."""

import itertools

import pytest
import torch
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import LimitError, TextError
from gpt2demo.generation import beams as beams_module
from gpt2demo.generation.beams import beam_search
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import generate
from gpt2demo.model.baselines import make_model as make_any
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.weights import to_gpt2_tensors
from tests.generation.little_models import PROMPT, make_model


def test_enough_beams_find_the_likeliest_text_of_all():
    model = make_model(vocab_size=8)
    *_, last = beam_search(model, [3, 1], beams=8, max_new_tokens=2)

    def score(text: tuple[int, ...]) -> float:
        logits = model(torch.tensor([[3, 1, *text]]))[0, 1:-1].double().log_softmax(-1)
        return float(logits.gather(-1, torch.tensor(text)[:, None]).sum())

    with torch.no_grad():
        ranked = sorted(itertools.product(range(8), repeat=2), key=score, reverse=True)[:8]
        assert [beam.ids for beam in last.beams] == ranked
        assert [beam.logprob for beam in last.beams] == pytest.approx([score(t) for t in ranked], abs=1e-5)


def test_one_beam_is_the_greedy_choice_also_past_the_context():
    model = make_model()
    greedy = [s.id for s in generate(model, PROMPT, SamplingConfig(temperature=0, max_new_tokens=40))]
    *_, last = beam_search(model, PROMPT, beams=1, max_new_tokens=40)
    assert list(last.beams[0].ids) == greedy


@pytest.mark.parametrize("beams", [2, 5])
def test_it_agrees_with_transformers(beams):
    model = make_model(n_positions=32)
    c = model.config
    theirs = GPT2LMHeadModel(
        TheirConfig(
            vocab_size=c.vocab_size, n_positions=32, n_embd=c.n_embd, n_layer=c.n_layer, n_head=c.n_head,
            eos_token_id=None, bos_token_id=None,
        )
    ).eval()  # fmt: skip
    missing = theirs.load_state_dict(to_gpt2_tensors(model), strict=False)
    assert not missing.unexpected_keys
    found = theirs.generate(
        torch.tensor([PROMPT]), num_beams=beams, num_return_sequences=beams, max_new_tokens=12,
        do_sample=False, pad_token_id=0, attention_mask=torch.ones(1, 5, dtype=torch.int64),
    )  # fmt: skip
    *_, last = beam_search(model, PROMPT, beams=beams, max_new_tokens=12)
    assert [list(beam.ids) for beam in last.beams] == found[:, 5:].tolist()


@pytest.mark.parametrize("architecture", ["lstm", "bigram", "gpt2"])
def test_every_kind_of_model_is_followed_with_its_own_memory(architecture):
    config = GPT2Config(
        vocab_size=11, n_positions=16, n_embd=16, n_layer=2, n_head=2, architecture=architecture
    )
    model = make_any(config, seed=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 20
        for step in beam_search(model, [1, 2], beams=3, max_new_tokens=8):
            for beam in step.beams:
                logits = model(torch.tensor([[1, 2, *beam.ids]]))[0, 1:-1].double().log_softmax(-1)
                exact = float(logits.gather(-1, torch.tensor(beam.ids)[:, None]).sum())
                assert beam.logprob == pytest.approx(exact, abs=1e-4)


def test_steps_are_in_order_and_say_how_many_were_dropped():
    steps = list(beam_search(make_model(), PROMPT, beams=4, max_new_tokens=9))
    assert [step.index for step in steps] == list(range(9))
    assert [step.last for step in steps] == [False] * 8 + [True]
    assert any(step.dropped for step in steps[1:]) and all(0 <= step.dropped < 4 for step in steps)
    for step in steps:
        assert [b.logprob for b in step.beams] == sorted((b.logprob for b in step.beams), reverse=True)
        assert len({b.ids for b in step.beams}) == 4


def test_every_token_has_its_record_and_only_the_newest_keep_their_scores(monkeypatch):
    model = make_model()
    monkeypatch.setattr(beams_module, "SCORES_BYTES", 4 * 41 * 3 * 5)  # five tokens of three texts
    *_, last = beam_search(model, PROMPT, beams=3, max_new_tokens=9)
    for beam in last.beams:
        assert beam.logprob == pytest.approx(sum(step.logprob for step, _ in beam.written))
        assert [step.index for step, _ in beam.written] == list(range(9))
        assert [step.end for step, _ in beam.written] == [""] * 8 + ["length"]
        assert [logits is None for _, logits in beam.written] == [True] * 4 + [False] * 5
        for step, logits in beam.written[4:]:
            assert logits is not None and logits[step.id] == step.logit


@pytest.mark.parametrize("wrong", [0, -1, 2_001, 1.5, None, "4", float("nan")])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(LimitError):
        beam_search(make_model(), PROMPT, beams=wrong, max_new_tokens=4)
    with pytest.raises(LimitError):
        beam_search(make_model(), PROMPT, beams=2, max_new_tokens=wrong)
    with pytest.raises(TextError):
        beam_search(make_model(), [], beams=2, max_new_tokens=4)
