"""Both optimisers train every parameter exactly once, and give back what they remember."""

from collections import Counter

import pytest
import torch

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.training.loop import new_state
from gpt2demo.training.optimizers import load_optimizer_tensors, optimizer_tensors, set_learning_rate


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


def test_queries_keys_and_values_are_three_matrices_to_muon(make_config, make_state):
    state = make_state(make_config("muon"))
    whole = state.model.h[0].attn.c_attn.weight
    apart = [torch.nn.Parameter(part.detach().clone()) for part in whole.chunk(3)]
    group = state.optimizers[0].param_groups[0]
    names = ("lr", "weight_decay", "momentum", "ns_steps")
    reference = torch.optim.Muon(apart, **{name: group[name] for name in names})
    for _ in range(3):
        learn(state, 1)
        for part, gradient in zip(apart, whole.grad.chunk(3), strict=True):
            part.grad = gradient.clone()
        reference.step()
    assert torch.equal(whole, torch.cat(apart))


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
