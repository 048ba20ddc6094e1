"""Both optimisers train every parameter exactly once, and give back what they remember."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.training.loop import new_state
from gpt2demo.training.optimizers import (
    MUON_MOMENTUM,
    POLAR_EXPRESS,
    load_optimizer_tensors,
    optimizer_tensors,
    orthogonalise,
    set_learning_rate,
)


def learn(state, steps, seed=0):
    """Some updates with made-up gradients."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in state.model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in state.optimizers:
            optimizer.step()


def weights(state):
    return torch.cat([p.detach().flatten() for p in state.model.parameters()])


@pytest.fixture(params=["adamw", "muon"])
def config(request, make_config):
    return make_config(request.param, weight_decay=0.1)


def trained_by(optimizer, model):
    """How many numbers of each parameter an optimiser trains, also through views on a part of one."""
    owners = {p.untyped_storage().data_ptr(): name for name, p in model.named_parameters()}
    counted = Counter()
    for group in optimizer.param_groups:
        for p in group["params"]:
            counted[owners[p.untyped_storage().data_ptr()]] += p.numel()  # KeyError: another model's
    return counted


def test_every_parameter_is_trained_exactly_once(config, make_state):
    state = make_state(config)
    trained = sum((trained_by(optimizer, state.model) for optimizer in state.optimizers), Counter())
    assert trained == {name: p.numel() for name, p in state.model.named_parameters()}
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    learn(state, 1)
    for name, p in state.model.named_parameters():
        assert not torch.equal(p, before[name]), name


def test_the_head_stays_tied_to_the_token_table(config, make_state):
    state = make_state(config)
    learn(state, 2)
    assert state.model.lm_head.weight is state.model.wte.weight
    assert "lm_head.weight" not in dict(state.model.named_parameters())


def test_muon_trains_the_matrices_inside_the_blocks_and_nothing_else(make_config, make_state):
    state = make_state(make_config("muon"))
    muon, adamw = state.optimizers
    assert set(trained_by(muon, state.model)) == {
        f"h.{i}.{part}.weight"
        for i in (0, 1)
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    others = {name for name, p in state.model.named_parameters() if p.dim() < 2}
    assert set(trained_by(adamw, state.model)) == {"wte.weight", "wpe.weight"} | others


def test_muon_sets_every_singular_value_to_about_one_and_keeps_the_directions():
    chance = torch.Generator().manual_seed(3)
    left, right = (torch.linalg.qr(torch.randn(4, n, 32, generator=chance)).Q for n in (32, 96))
    values = torch.logspace(0, -2, 32)  # as long as 1 and as short as 0.01
    found = orthogonalise((left * values @ right.mT).bfloat16()).float()
    diagonal = left.mT @ found @ right  # (4, 32, 32)
    lengths = diagonal.diagonal(dim1=-2, dim2=-1)
    assert lengths.min() > 0.1
    assert lengths.max() < 2
    assert lengths.mean() == pytest.approx(1.1, abs=0.2)
    assert (diagonal - torch.diag_embed(lengths)).abs().max() < 0.1


def test_the_polynomials_lift_what_is_small_and_let_nothing_grow_without_end():
    x = torch.logspace(-2.5, 0, 20_000, dtype=torch.float64)
    for a, b, c in POLAR_EXPRESS:
        x = a * x + b * x**3 + c * x**5
    assert x.min() > 0.15  # fifty times the smallest that went in
    assert x.max() < 1.9
    assert x.mean() == pytest.approx(1.1, abs=0.05)


def one_by_one(matrices, gradients, moments, *, lr, momentum, weight_decay):
    """Muon as it is written down (Jordan et al. 2024), a matrix at a time."""
    for matrix, gradient, moment in zip(matrices, gradients, moments, strict=True):
        moment.lerp_(gradient, 1 - momentum)
        wish = gradient.lerp(moment, momentum).bfloat16()
        tall = wish.size(0) > wish.size(1)
        [update] = orthogonalise((wish.mT if tall else wish)[None])
        matrix.mul_(1 - lr * weight_decay)
        longer = max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5
        matrix.add_(update.mT if tall else update, alpha=-lr * longer)


@pytest.mark.parametrize("threads", [1, 2])
def test_muon_in_stacks_is_muon_matrix_by_matrix_and_queries_keys_values_are_three(
    shape, make_config, threads, monkeypatch
):
    monkeypatch.setattr("gpt2demo.training.optimizers.BUNDLE", 8_000)  # several stacks of one size
    config = make_config("muon", threads=threads, weight_decay=0.1)
    state = new_state(GPT2(replace(shape, dropout=0.0)), config)
    settings = {"lr": config.learning_rate, "momentum": MUON_MOMENTUM, "weight_decay": 0.1}
    named = dict(state.model.named_parameters())
    names = [n for n, p in named.items() if p.dim() == 2 and n.startswith("h.")]
    apart = {n: [c.detach().clone() for c in named[n].chunk(3 if "c_attn" in n else 1)] for n in names}
    moments = {n: [torch.zeros_like(part) for part in apart[n]] for n in names}
    for step in range(3):
        learn(state, 1, seed=step)
        for name in names:
            gradients = named[name].grad.chunk(len(apart[name]))
            one_by_one(apart[name], gradients, moments[name], **settings)
    for name in names:
        torch.testing.assert_close(named[name], torch.cat(apart[name]), rtol=0, atol=3e-3)


def test_vectors_do_not_decay(config, make_state):
    state = make_state(config)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            assert (group["weight_decay"] > 0) == all(p.dim() == 2 for p in group["params"])


def test_the_learning_rate_is_a_share_of_each_groups_own(config, make_state):
    state = make_state(config)
    groups = [group for o in state.optimizers for group in o.param_groups]
    highest = [group["lr"] for group in groups]
    assert highest[0] == config.learning_rate
    for share in (0.5, 0.25, 1.0):  # never a share of a share
        set_learning_rate(state.optimizers, share)
        assert [group["lr"] for group in groups] == [rate * share for rate in highest]
    set_learning_rate(state.optimizers, 0.0)
    before = weights(state)
    learn(state, 1)
    assert torch.equal(weights(state), before)


def test_a_memory_taken_out_and_given_back_changes_nothing(config, make_state):
    whole, first, second = (make_state(config) for _ in range(3))
    learn(whole, 3)
    learn(first, 3)
    second.model.load_state_dict(first.model.state_dict())
    taken = optimizer_tensors(first.optimizers)
    learn(first, 1, seed=9)  # what was taken is a copy, so going on does not reach it
    load_optimizer_tensors(second.optimizers, taken)
    learn(whole, 2, seed=5)
    learn(second, 2, seed=5)
    assert torch.equal(weights(whole), weights(second))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_lost_memory_is_noticed(optimizer, make_config, make_state):
    config = make_config(optimizer)
    for lost in ("exp_avg", "exp_avg_sq", "step") + (("momentum_buffer",) if optimizer == "muon" else ()):
        whole, forgetful = make_state(config), make_state(config)
        learn(whole, 3)
        forgetful.model.load_state_dict(whole.model.state_dict())
        taken = optimizer_tensors(whole.optimizers)
        zeroed = {name: torch.zeros_like(t) if name.endswith("." + lost) else t for name, t in taken.items()}
        assert any(name.endswith("." + lost) for name in taken)
        load_optimizer_tensors(forgetful.optimizers, zeroed)
        learn(whole, 1, seed=5)
        learn(forgetful, 1, seed=5)
        assert not torch.equal(weights(whole), weights(forgetful)), lost


@pytest.mark.parametrize(
    "variant",
    [
        {"architecture": "lstm"},
        {"architecture": "bigram"},
        {"n_experts": 3},
        {"positions": "sinusoidal", "bias": False},
        {"tie_word_embeddings": False, "lm_head_bias": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_of_every_variant_is_trained_once(optimizer, variant, make_config):
    shape = GPT2Config(vocab_size=20, n_positions=16, n_embd=32, n_layer=2, n_head=2, **variant)
    state = new_state(make_model(shape), make_config(optimizer))
    trained = sum((trained_by(optimizer, state.model) for optimizer in state.optimizers), Counter())
    assert trained == {name: p.numel() for name, p in state.model.named_parameters()}
    assert len(state.optimizers) == 1 + (optimizer == "muon" and variant != {"architecture": "bigram"})
    learn(state, 2)
