"""Capture: what is recorded is what was computed, watching changes nothing, and no hook is left behind."""

import threading

import numpy as np
import pytest
import torch
from transformers import GPT2Config as ReferenceConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import ConfigError, LimitError, TextError
from gpt2demo.inspection.capture import ON_REQUEST, capture, capture_bytes, watching
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.weights import to_gpt2_tensors

L, H, C, V = 2, 2, 32, 41
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
T = len(IDS)


@pytest.fixture
def model() -> GPT2:
    config = GPT2Config(vocab_size=V, n_positions=24, n_embd=C, n_layer=L, n_head=H)
    model = GPT2(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():  # a fresh model looks everywhere alike; a wilder one does not
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def hooks(model: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_shapes_and_types(model):
    seen = capture(model, IDS, what=ON_REQUEST)
    assert seen.tokens.tolist() == IDS and seen.tokens.dtype == np.int64
    assert seen.attention.shape == (L, H, T, T)
    assert seen.residual.shape == (L + 1, T, C)
    assert seen.logits.shape == (T, V)
    assert seen.queries.shape == seen.keys.shape == seen.values.shape == (L, H, T, C // H)
    for name in ("attention", "residual", "logits", *ON_REQUEST):
        assert getattr(seen, name).dtype == np.float32


def test_only_what_was_asked_for_is_kept(model):
    assert capture(model, IDS).values is None
    seen = capture(model, IDS, what=("attention", "values"))
    assert seen.values is not None and seen.queries is None and seen.keys is None
    with pytest.raises(ValueError, match="thoughts"):
        capture(model, IDS, what=("thoughts",))


def test_attention_rows_sum_to_one_and_nobody_reads_the_future(model):
    attention = capture(model, IDS).attention
    assert np.allclose(attention.sum(axis=-1), 1, atol=1e-6)
    assert not np.triu(attention, k=1).any()
    assert (attention >= 0).all()


def test_attention_times_values_is_what_the_fused_kernel_gave(model):
    outputs = []
    handles = [
        block.attn.attend.register_forward_hook(lambda module, args, output: outputs.append(output.detach()))
        for block in model.h
    ]
    seen = capture(model, IDS, what=["values"])
    for handle in handles:
        handle.remove()
    fused = torch.cat(outputs).numpy()  # (L, H, T, D)
    assert np.abs(seen.attention @ seen.values - fused).max() < 1e-6


def test_the_watched_forward_pass_is_bit_identical(model):
    ids = torch.tensor([IDS])
    with torch.inference_mode():
        before = model(ids)
        with watching(model):
            watched = model(ids)
        after = model(ids)
    assert torch.equal(before, watched) and torch.equal(before, after)
    assert np.array_equal(capture(model, IDS).logits, before[0].numpy())


def test_training_gradients_are_the_same_while_watched(model):
    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(torch.tensor([IDS])).square().mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    before = gradients()
    with watching(model) as seen:
        watched = gradients()
    assert all(torch.equal(a, b) for a, b in zip(before, watched, strict=True))
    assert not any(tensor.requires_grad for tensor in seen.stream.values())


def test_no_hook_is_left(model):
    assert hooks(model) == 0
    with watching(model):
        assert hooks(model) == 2 * L
        with watching(model):
            assert hooks(model) == 4 * L
        assert hooks(model) == 2 * L
    assert hooks(model) == 0
    capture(model, IDS)
    assert hooks(model) == 0


def test_no_hook_is_left_after_an_exception(model, monkeypatch):
    with pytest.raises(KeyError), watching(model):
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
    with pytest.raises(TypeError), watching(model):
        pass
    assert hooks(model) == 0


def test_the_lock_is_held_from_the_first_hook_to_the_last(model):
    class Guard:
        def __enter__(self):
            states.append(hooks(model))

        def __exit__(self, *error):
            states.append(hooks(model))

    states = []
    handle = model.register_forward_pre_hook(lambda module, args: states.append(hooks(model)))
    capture(model, IDS, guard=Guard())
    handle.remove()
    assert states == [1, 1 + 2 * L, 1]  # the 1 is this test's own; hooks are there only inside the guard


def test_residual_and_attention_agree_with_transformers(model):
    settings = ReferenceConfig(**model.config.to_json(), attn_implementation="eager")
    reference = GPT2LMHeadModel(settings).eval()
    reference.load_state_dict(to_gpt2_tensors(model), strict=False)
    reference.tie_weights()
    with torch.no_grad():
        expected = reference(torch.tensor([IDS]), output_attentions=True, output_hidden_states=True)
    seen = capture(model, IDS)
    assert np.allclose(seen.attention, torch.cat(expected.attentions).numpy(), atol=1e-5)
    assert np.allclose(seen.logits, expected.logits[0].numpy(), atol=1e-4)
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


def test_one_token_is_enough(model):
    assert capture(model, [5]).attention.tolist() == [[[[1.0]]] * H] * L


def test_too_many_tokens_are_refused_with_what_they_would_cost(model):
    with pytest.raises(LimitError, match=r"129 tokens.*0\.3 MB.*At most 128"):
        capture(model, [1] * 129)
    with pytest.raises(LimitError, match="At most 9 tokens"):
        capture(model, IDS, max_tokens=9)
    with pytest.raises(LimitError, match="reads at most 24"):
        capture(model, [1] * 25)
    for wrong in (513, 0, 1.5, None):
        with pytest.raises(LimitError, match="max_tokens"):
            capture(model, IDS, max_tokens=wrong)
    assert hooks(model) == 0


def test_the_predicted_cost_is_the_real_one(model):
    seen = capture(model, IDS, what=ON_REQUEST)
    arrays = [getattr(seen, name) for name in ("tokens", "attention", "residual", "logits", *ON_REQUEST)]
    assert capture_bytes(model.config, T, ON_REQUEST) == sum(array.nbytes for array in arrays)


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


@pytest.mark.parametrize("pattern", ["local", "strided", "global_local"])
def test_a_pattern_is_captured_as_it_is_computed(pattern):
    shape = GPT2Config(
        vocab_size=V, n_positions=24, n_embd=C, n_layer=L, n_head=H, attention=pattern, attention_window=3
    )
    model, outputs = make_model(shape, seed=1).eval(), []
    for block in model.h:
        block.attn.attend.register_forward_hook(lambda module, args, output: outputs.append(output))
    seen = capture(model, IDS, what=("values",))
    for layer in range(L):
        mixed = seen.attention[layer] @ seen.values[layer]
        assert np.abs(mixed - outputs[layer][0].numpy()).max() < 1e-6
    assert seen.attention[0, 0, 9, 5] == 0 or pattern != "local"


@pytest.mark.parametrize("architecture", ["lstm", "bigram"])
def test_what_has_no_attention_says_so(architecture):
    shape = GPT2Config(vocab_size=V, n_positions=24, n_embd=C, n_layer=L, n_head=H, architecture=architecture)
    with pytest.raises(ConfigError, match=f"of the kind {architecture}"):
        capture(make_model(shape).eval(), IDS)
