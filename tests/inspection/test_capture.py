"""Capture: what is recorded is what was computed, watching changes nothing, and no hook is left behind."""

import threading

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gpt2demo.errors import ConfigError, LimitError, TextError
from gpt2demo.inspection.attention import head_steps
from gpt2demo.inspection.capture import (
    MAX_CAPTURE_BYTES,
    ON_REQUEST,
    capture,
    capture_bytes,
    largest_capture,
)
from gpt2demo.inspection.hooks import HookAt, hooked
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.model.gpt2 import GPT2
from tests.inspection.wild import IDS, VARIANTS, C, H, L, T, V, hooks, reference, wild


@pytest.fixture
def model() -> GPT2:
    return wild()


def test_shapes_and_types(model):
    seen = capture(model, IDS, what=ON_REQUEST)
    assert seen.tokens.tolist() == IDS and seen.tokens.dtype == np.int64
    assert seen.attention.shape == seen.scores.shape == (L, H, T, T)
    assert seen.residual.shape == (L + 1, T, C)
    assert seen.logits.shape == (T, V)
    assert seen.queries.shape == seen.keys.shape == seen.values.shape == (L, H, T, C // H)
    assert seen.head_outputs.shape == (L, H, T, C)
    assert seen.hidden.shape == (L, T, 4 * C) and seen.mlp_outputs.shape == (L, T, C)
    for name in ("attention", "residual", *ON_REQUEST):
        assert getattr(seen, name).dtype == np.float32


def test_only_what_was_asked_for_is_kept(model):
    seen = capture(model, IDS)
    assert all(getattr(seen, name) is None for name in ON_REQUEST)
    for wanted in ON_REQUEST:
        seen = capture(model, IDS, what=("attention", wanted))
        assert [name for name in ON_REQUEST if getattr(seen, name) is not None] == [wanted]
    with pytest.raises(ValueError, match="thoughts"):
        capture(model, IDS, what=("thoughts",))


def test_attention_rows_sum_to_one_and_nobody_reads_the_future(model):
    attention = capture(model, IDS).attention
    assert np.allclose(attention.sum(axis=-1), 1, atol=1e-6)
    assert not np.triu(attention, k=1).any()
    assert (attention >= 0).all()


def outputs_of(modules) -> tuple[list[HookAt], list[torch.Tensor]]:
    """Hooks that note what these modules give, and the list that they fill."""
    outputs = []
    note = lambda module, args, output: outputs.append(output.detach())  # noqa: E731
    return [HookAt(module, note) for module in modules], outputs


def test_attention_times_values_is_what_the_fused_kernel_gave(model):
    hooks, outputs = outputs_of(block.attn.attend for block in model.h)
    seen = capture(model, IDS, what=["values"], change=hooks)
    fused = torch.cat(outputs).numpy()  # (L, H, T, D)
    assert np.abs(seen.attention @ seen.values - fused).max() < 1e-6


@pytest.fixture(params=VARIANTS)
def variant(request) -> GPT2:
    return wild(request.param)


def test_every_variant_is_captured_as_it_is_computed(variant):
    hooks, mixed = outputs_of(block.attn.attend for block in variant.h)
    more, written = outputs_of(block.attn for block in variant.h)
    seen = capture(variant, IDS, what=ON_REQUEST, change=[*hooks, *more])
    mixed, written = torch.cat(mixed).numpy(), torch.cat(written).numpy()
    assert np.abs(seen.attention @ seen.values - mixed).max() < 1e-5
    assert (seen.attention[:, :, ~seen.allowed] == 0).all()
    bias = [0 if block.attn.c_proj.bias is None else block.attn.c_proj.bias.numpy() for block in variant.h]
    for layer, block in enumerate(variant.h):
        assert np.abs(seen.head_outputs[layer].sum(0) + bias[layer] - written[layer]).max() < 1e-5
        steps = head_steps(seen, layer, 1)
        assert np.allclose(steps.scaled, seen.scores[layer, 1], atol=1e-5)
        if variant.config.norm == "pre":
            added = written[layer] + seen.mlp_outputs[layer]
            assert np.allclose(seen.residual[layer] + added, seen.residual[layer + 1], atol=1e-4)
        if variant.config.n_experts == 1:
            with torch.no_grad():
                again = block.mlp.c_proj(torch.from_numpy(seen.hidden[layer])).numpy()
            assert np.allclose(again, seen.mlp_outputs[layer], atol=1e-4)
    with torch.no_grad():
        assert np.array_equal(seen.logits, variant(torch.tensor([IDS]))[0].numpy())


def test_neurons_of_experts_stand_where_they_worked_and_nowhere_else():
    model = wild("experts")
    hooks, routings = outputs_of_router(model)
    seen = capture(model, IDS, what=["hidden", "mlp_outputs"], change=hooks)
    width = model.config.mlp_width
    for layer, (experts, weights) in enumerate(routings):
        mixed = np.zeros((T, C), dtype=np.float32)
        for number, expert in enumerate(model.h[layer].mlp.experts):
            hidden = seen.hidden[layer, :, number * width : (number + 1) * width]
            works = (experts == number).any(-1).numpy()
            assert works.any() and not hidden[~works].any() and hidden[works].any(axis=1).all()
            share = (weights * (experts == number)).sum(-1, keepdim=True).numpy()
            with torch.no_grad():
                mixed += share * expert.c_proj(torch.from_numpy(hidden)).numpy()
        assert np.allclose(mixed, seen.mlp_outputs[layer], atol=1e-4)


def outputs_of_router(model):
    routings = []
    note = lambda module, args, output: routings.append((output.experts, output.weights))  # noqa: E731
    return [HookAt(block.mlp.router, note) for block in model.h], routings


def test_the_watched_forward_pass_is_bit_identical(model):
    ids = torch.tensor([IDS])
    with torch.inference_mode():
        before = model(ids)
        watched = capture(model, IDS, what=ON_REQUEST).logits
        after = model(ids)
    assert np.array_equal(before[0].numpy(), watched) and torch.equal(before, after)


def test_no_hook_is_left(model):
    assert hooks(model) == 0
    with hooked(model, [HookAt(model.h[0], print), HookAt(model.h[1].mlp, print, before=True)]):
        assert hooks(model) == 2
    assert hooks(model) == 0
    capture(model, IDS, what=ON_REQUEST)
    assert hooks(model) == 0


def test_no_hook_is_left_after_an_exception(model, monkeypatch):
    with pytest.raises(KeyError), hooked(model, [HookAt(model.h[0], print)]):
        raise KeyError
    assert hooks(model) == 0

    def fail(*args):
        raise RuntimeError("broken")

    lock = threading.Lock()
    monkeypatch.setattr(model.h[1].mlp, "forward", fail)
    with pytest.raises(RuntimeError, match="broken"):
        capture(model, IDS, guard=lock)
    assert hooks(model) == 0 and not lock.locked()


def test_no_hook_is_left_when_the_hooks_themselves_cannot_all_be_placed(model, monkeypatch):
    monkeypatch.setattr(model.h[1], "register_forward_hook", None)
    with pytest.raises(TypeError):
        capture(model, IDS)
    assert hooks(model) == 0


@pytest.mark.parametrize("before", [True, False])
def test_where_somebody_elses_hooks_are_nothing_is_looked_at(model, before):
    with hooked(model, [HookAt(model.h[1].mlp, lambda *seen: None, before)]):
        with pytest.raises(RuntimeError, match="somebody else's hooks"):
            capture(model, IDS)
        assert hooks(model) == 1  # theirs stays
    capture(model, IDS)


def test_the_lock_is_held_from_the_first_hook_to_the_last(model):
    class Guard:
        def __enter__(self):
            states.append(hooks(model))

        def __exit__(self, *error):
            states.append(hooks(model))

    states = []
    watch = HookAt(model.h[0], lambda *seen: states.append(hooks(model)), before=True)
    capture(model, IDS, guard=Guard(), change=[watch])
    assert states == [0, 1 + 2 * L, 0]  # the 1 is this test's own; hooks are there only inside the guard


def test_residual_and_attention_agree_with_transformers(model):
    with torch.no_grad():
        expected = reference(model)(torch.tensor([IDS]), output_attentions=True, output_hidden_states=True)
    seen = capture(model, IDS, what=["logits"])
    assert np.allclose(seen.attention, torch.cat(expected.attentions).numpy(), atol=1e-5)
    assert np.allclose(seen.logits, expected.logits[0].numpy(), atol=1e-5, rtol=1e-5)
    hidden = torch.cat(expected.hidden_states)  # its last one has gone through ln_f already
    assert np.allclose(seen.residual[:-1], hidden[:-1].numpy(), atol=1e-5)
    with torch.no_grad():
        last = model.ln_f(torch.from_numpy(seen.residual[-1]))
    assert np.allclose(last.numpy(), hidden[-1].numpy(), atol=1e-5)


def test_the_record_is_a_copy(model):
    seen = capture(model, IDS)
    before = seen.residual.copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model(torch.tensor([IDS]))
    assert np.array_equal(seen.residual, before)


def test_a_model_in_16_bits_is_recorded_in_32(model):
    usual = capture(model, IDS, what=ON_REQUEST)
    seen = capture(model.bfloat16(), IDS, what=ON_REQUEST)
    for name in ("attention", "residual", *ON_REQUEST):
        assert getattr(seen, name).dtype == np.float32
    assert 0 < np.abs(seen.attention - usual.attention).max() < 0.2


def test_one_token_is_enough(model):
    assert capture(model, [5]).attention.tolist() == [[[[1.0]]] * H] * L


def test_too_many_tokens_are_refused_with_what_they_would_cost_and_the_most_that_fits(model, monkeypatch):
    with pytest.raises(LimitError, match=r"129 tokens.*0\.3 MB\. At most 24 tokens"):
        capture(model, [1] * 129)
    with pytest.raises(LimitError, match="At most 9 tokens"):
        capture(model, IDS, max_tokens=9)
    for wrong in (513, 0, 1.5, None):
        with pytest.raises(LimitError, match="max_tokens"):
            capture(model, IDS, max_tokens=wrong)
    monkeypatch.setattr(torch, "empty", None)  # refused before anything is allocated
    monkeypatch.setattr("gpt2demo.inspection.capture.MAX_CAPTURE_BYTES", 20_000)
    fits = largest_capture(model.config, (), 128)
    assert capture_bytes(model.config, fits) <= 20_000 < capture_bytes(model.config, fits + 1)
    with pytest.raises(LimitError, match=f"At most {fits} tokens"):
        capture(model, [1] * (fits + 1))
    assert hooks(model) == 0


def test_gpt2_is_looked_at_whole_within_the_caps():
    small, xl = preset("gpt2", vocab_size=50_257), preset("gpt2-xl", vocab_size=50_257)
    for tokens in (128, 512):
        assert largest_capture(small, ON_REQUEST, tokens) == tokens
    assert capture_bytes(small, 128) < 20_000_000
    fits = largest_capture(xl, ON_REQUEST, 512)
    assert 64 < fits < 512 and capture_bytes(xl, fits, ON_REQUEST) <= MAX_CAPTURE_BYTES


def test_the_predicted_cost_is_the_real_one(model):
    for what in ((), ON_REQUEST):
        seen = capture(model, IDS, what=what)
        arrays = [array for array in vars(seen).values() if array is not None]
        assert capture_bytes(model.config, T, what) == sum(array.nbytes for array in arrays)


def most_memory(work) -> int:
    """The most bytes that PyTorch held at once during the work, more than before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        work()
    events = [e for e in told.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


def test_no_more_is_held_than_what_is_returned():
    config = GPT2Config(vocab_size=41, n_positions=128, n_embd=32, n_layer=6, n_head=8)
    model, ids = GPT2(config).eval().requires_grad_(False), [1] * 128
    plain = most_memory(lambda: model.hidden(torch.tensor([ids])))
    watched = most_memory(lambda: capture(model, ids))
    one_layer = 4 * 8 * 128 * 128
    assert watched <= capture_bytes(config, 128) + plain + 4 * one_layer
    assert watched > capture_bytes(config, 128) > 6 * one_layer


@pytest.mark.parametrize("ids", [[], [V], [-1], [1.5]])
def test_ids_that_the_model_does_not_know_are_refused(model, ids):
    with pytest.raises(TextError):
        capture(model, ids)


def test_a_model_in_training_mode_is_refused(model):
    with pytest.raises(ValueError, match="eval"):
        capture(model.train(), IDS)
    assert model.training


def test_a_layer_that_runs_past_its_hook_is_noticed(model, monkeypatch):
    block = model.h[1]
    # What torch.compile does: the module's forward runs, but not through the module's call.
    monkeypatch.setattr(block.attn, "attend", block.attn.attend)
    monkeypatch.setattr(type(block.attn.attend), "__call__", lambda self, q, k, v: self.forward(q, k, v))
    with pytest.raises(ValueError, match="compiled"):
        capture(model, IDS)
    assert hooks(model) == 0


@pytest.mark.parametrize("architecture", ["lstm", "bigram"])
def test_what_has_no_attention_says_so(architecture):
    shape = GPT2Config(vocab_size=V, n_positions=24, n_embd=C, n_layer=L, n_head=H, architecture=architecture)
    with pytest.raises(ConfigError, match=f"of the kind {architecture}"):
        capture(make_model(shape).eval(), IDS)
