"""The lens agrees with transformers, attribution adds up and finds who spoke, neurons find what they want."""

import numpy as np
import pytest
import torch

from gpt2demo.errors import LimitError, TextError
from gpt2demo.inspection.capture import capture
from gpt2demo.inspection.lens import FOR_ATTRIBUTION, attribution, logit_lens, residual_norms
from gpt2demo.inspection.neurons import neuron_peaks
from tests.inspection.induction_model import LOUD, START, induction_model, scale
from tests.inspection.wild import IDS, VARIANTS, H, L, T, V, hooks, reference, wild


@pytest.mark.parametrize("rows", [64, 3])
def test_the_lens_agrees_with_transformers(monkeypatch, rows):
    monkeypatch.setattr("gpt2demo.inspection.lens.ROWS", rows)
    model = wild()
    theirs = reference(model)
    hidden = theirs(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    *early, last = [state[0] for state in hidden]  # their last one has gone through ln_f already
    logits = torch.stack([*(theirs.lm_head(theirs.transformer.ln_f(x)) for x in early), theirs.lm_head(last)])
    p = logits.double().softmax(-1).numpy()  # (L + 1, T, V)
    seen = capture(model, IDS)
    lens = logit_lens(model, seen, k=V)
    assert np.allclose(np.sort(p)[..., ::-1], lens.top_probabilities, atol=1e-5)
    assert np.array_equal(np.argsort(-p)[..., :3], lens.top_ids[..., :3])
    assert np.allclose(-(p * np.log(p)).sum(-1), lens.entropy, atol=1e-4)
    for place, true in enumerate(IDS[1:]):
        assert np.allclose(lens.probability[:, place], p[:, place, true], atol=1e-5)
        assert np.array_equal(lens.rank[:, place], (p[:, place] > p[:, place, [true]]).sum(-1) + 1)
    assert np.isnan(lens.probability[:, -1]).all() and not lens.rank[:, -1].any()
    norms = np.stack([np.linalg.norm(state, axis=-1) for state in early])
    assert np.allclose(residual_norms(seen)[:-1], norms, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_row_is_what_every_kind_of_model_says(variant):
    model = wild(variant)
    lens = logit_lens(model, capture(model, IDS), k=1)
    p = model(torch.tensor([IDS]))[0].softmax(-1)
    assert np.allclose(lens.top_probabilities[-1, :, 0], p.max(-1).values, atol=1e-6)
    assert np.array_equal(lens.top_ids[-1, :, 0], p.argmax(-1))


def test_a_model_in_16_bits_is_read_too():
    model = wild()
    usual = logit_lens(model, capture(model, IDS))
    lens = logit_lens(model.bfloat16(), capture(model, IDS))
    assert 0 < np.abs(lens.entropy - usual.entropy).max() < 0.5


def test_a_sure_model_has_no_entropy_and_k_has_limits():
    model = induction_model()
    model.lm_head.weight *= 1_000  # so sure that other tokens have a probability of 0
    lens = logit_lens(model, capture(model, [START, 4, 8, 4]))
    assert lens.entropy[-1, -1] == 0 and lens.top_ids[-1, -1, 0] == 8
    assert lens.entropy[0, -1] == pytest.approx(np.log(12), rel=1e-5)
    for wrong in (0, 13, 51, None):
        with pytest.raises(LimitError, match="k is"):
            logit_lens(model, capture(model, [START]), k=wrong)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_sum_to_the_logit(variant):
    model = wild(variant)
    seen = capture(model, IDS, what=[*FOR_ATTRIBUTION, "logits"])
    for position, token in ((0, 7), (4, 0), (T - 1, 40)):
        parts = attribution(model, seen, position, token)
        assert parts.logit == pytest.approx(seen.logits[position, token], abs=1e-5)
        assert parts.total == pytest.approx(parts.logit, abs=2e-5)
        assert parts.heads.shape == (L, H) and parts.mlps.shape == parts.biases.shape == (L,)
        assert (parts.norms == 0) == (not model.config.bias)
        assert (parts.place == 0) == (model.config.positions in ("rotary", "none"))


def test_only_the_head_that_says_it_is_named():
    model = induction_model()
    seen = capture(model, [START, 4, 8, 3, 4], what=FOR_ATTRIBUTION)
    parts = attribution(model, seen, 4, 8)
    said = LOUD * scale(8)  # one unit in each of the two halves, as ln_f scales a stream of eight ones
    assert parts.heads[1, 0] == pytest.approx(said, rel=1e-4)
    assert parts.total == pytest.approx(parts.logit) == pytest.approx(said, rel=1e-4)
    others = parts.heads.copy()
    others[1, 0] = 0
    assert np.abs(others).max() < 1e-4 and not parts.mlps.any() and parts.embedding == parts.place == 0
    assert attribution(model, seen, 4, 5).heads[1, 0] == pytest.approx(0, abs=1e-4)


def test_attribution_needs_what_it_reads_and_a_place_that_there_is():
    model = wild()
    with pytest.raises(ValueError, match="head_outputs"):
        attribution(model, capture(model, IDS), 0, 0)
    seen = capture(model, IDS, what=FOR_ATTRIBUTION)
    for position, token in ((T, 0), (-1, 0), (0, V), (0, 1.5)):
        with pytest.raises(LimitError):
            attribution(model, seen, position, token)


@pytest.mark.parametrize("variant", ["gpt2", "experts", "post"])
def test_peaks_are_the_largest_activations_and_where_they_are(variant):
    model = wild(variant)
    hidden = capture(model, IDS, what=["hidden"]).hidden[1]  # (T, N)
    (peaks,) = neuron_peaks(model, IDS, 1, k=3)
    assert peaks.read == T and peaks.layer == 1 and hooks(model) == 0
    assert np.allclose(peaks.activations, np.sort(hidden.T)[:, ::-1][:, :3], atol=1e-6)
    assert np.allclose(np.take_along_axis(hidden.T, peaks.places, 1), peaks.activations, atol=1e-6)


def test_a_neuron_that_waits_for_a_token_finds_it_everywhere_in_a_long_text():
    model = induction_model()
    model.h[0].mlp.c_fc.weight[7, 5] = 10.0  # neuron 7 waits for token 5
    ids = [START, *([1, 2, 3, 4] * 20)]
    for place in (3, 30, 80):
        ids[place] = 5
    *early, last = neuron_peaks(model, ids, 0, k=4)
    assert [one.read for one in early][:2] == [24, 36] and last.read == len(ids) == 81
    assert sorted(last.places[7, :3].tolist()) == [3, 30, 80]
    assert last.activations[7, :3] == pytest.approx(10 * scale(6), rel=1e-3) and last.activations[7, 3] < 1e-6
    assert early[0].places[7, 0] == 3 and early[0].activations[7, 1] < 1e-6


def test_peaks_have_limits():
    model = wild()
    for ids, layer, k in (([1] * 4_097, 0, 5), (IDS, L, 5), (IDS, 0, 0), (IDS, 0, 51)):
        with pytest.raises(LimitError):
            neuron_peaks(model, ids, layer, k=k)
    with pytest.raises(TextError):
        neuron_peaks(model, [], 0)
