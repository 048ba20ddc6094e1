"""Both optimisers train every parameter exactly once, and give back what they remember."""

import pytest
import torch

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


def test_every_parameter_is_trained_exactly_once(config, make_state):
    state = make_state(config)
    named = {id(p): name for name, p in state.model.named_parameters()}
    trained = [
        named[id(p)] for o in state.optimizers for group in o.param_groups for p in group["params"]
    ]  # a KeyError here would be a parameter of another model
    assert sorted(trained) == sorted(named.values())
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
    names = {id(p): name for name, p in state.model.named_parameters()}
    inside = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert inside == {
        f"h.{i}.{part}.weight"
        for i in (0, 1)
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    tables = {names[id(p)] for p in adamw.param_groups[0]["params"]}
    assert tables == {"wte.weight", "wpe.weight"}


def test_vectors_do_not_decay(config, make_state):
    state = make_state(config)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            assert (group["weight_decay"] > 0) == all(p.dim() == 2 for p in group["params"])


def test_the_learning_rate_is_a_share_of_each_groups_own(config, make_state):
    state = make_state(config)
    groups = [group for o in state.optimizers for group in o.param_groups]
    highest = [group["lr"] for group in groups]
    assert max(highest) == config.learning_rate
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
