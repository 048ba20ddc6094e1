"""Fewer bits while training: what it changes, what it must not, and in which order gradients are handled."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from gpt2demo.errors import ConfigError, DivergedError
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.training import loop
from gpt2demo.training.checkpoint import resume, save
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.estimate import try_out
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.loop import new_state, train
from gpt2demo.training.memory import measure_memory
from gpt2demo.training.worker import Worker

STARTER = Path(__file__).parents[2] / "assets" / "starter"
KNOBS = [{"precision": "bf16"}, {"gradient_checkpointing": True}, {"quantization_aware": True}]


@pytest.fixture(params=["adamw", "muon"])
def optimizer(request):
    return request.param


@pytest.mark.parametrize(
    ("name", "value"),
    [("precision", "fp8"), ("precision", None), ("gradient_checkpointing", 1), ("quantization_aware", "yes")],
)
def test_unknown_knobs_are_refused_by_name(make_config, name, value):
    with pytest.raises(ConfigError, match=f"^{name} is {value!r}. It must be "):
        dataclasses.replace(make_config(), **{name: value})


def test_runs_from_before_the_knobs_can_be_read(make_config):
    facts = json.loads((STARTER / "run.json").read_text(encoding="utf-8"))["training"]
    assert (
        "precision" not in facts and RunFolder(STARTER, read_only=True).facts().training.precision == "fp32"
    )
    config = TrainingConfig.from_json(facts)
    assert not config.gradient_checkpointing and not config.quantization_aware


def test_fp16_without_a_gpu_is_refused_when_the_run_starts(make_config, make_run, shape, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = make_config(precision="fp16")
    run = make_run("half", config)  # it may have come from a machine that has one
    with pytest.raises(ConfigError) as caught:
        list(Worker(run, lambda *_: "").shift())
    assert caught.value.got == "precision is 'fp16', but this machine has no GPU for it."
    assert caught.value.todo == "The nearest value that works is bf16."
    assert run.status().state == "failed" and "has no GPU" in run.status().message
    for attempt in (try_out, measure_memory):
        with pytest.raises(ConfigError, match="has no GPU"):
            attempt(shape, config)


@pytest.mark.parametrize("knob", KNOBS, ids=str)
def test_every_knob_trains_nearly_the_same_model(knob, optimizer, make_config, make_state, data):
    rate = 0.01 if optimizer == "adamw" else 0.03
    losses = {}
    for name, settings in (("plain", {}), ("knob", knob)):
        config = make_config(optimizer, learning_rate=rate, steps=60, gradient_clip=1.0, **settings)
        state = make_state(config)
        records = list(train(state, data, config, steps=60))
        losses[name] = [r.train_loss for r in records]
        assert all(p.dtype == torch.float32 for p in state.model.parameters())
        memory = [v for o in state.optimizers for s in o.state.values() for v in s.values()]
        assert all(value.dtype == torch.float32 for value in memory)
    assert losses["knob"][-1] < 0.75 * losses["knob"][0]
    assert losses["knob"][-1] == pytest.approx(losses["plain"][-1], rel=0.1)
    if "gradient_checkpointing" in knob:  # the same numbers, computed once more
        assert losses["knob"][:10] == pytest.approx(losses["plain"][:10], abs=1e-3)
    else:
        assert losses["knob"][0] != losses["plain"][0]


@pytest.mark.parametrize("knob", KNOBS, ids=str)
def test_a_resumed_run_goes_on_exactly(knob, optimizer, make_config, make_state, data, results, fast):
    config = make_config(optimizer, gradient_clip=1.0, **knob)
    whole, halves = make_state(config), make_state(config)
    expected = results(list(train(whole, data, config, steps=16)))
    steps = train(halves, data, config, steps=16)
    got = [next(steps) for _ in range(7)]
    save(fast, halves)
    again = make_state(config)
    assert resume(fast, again).step == 7
    got += train(again, data, config, steps=16)
    assert results(got) == expected
    assert all(map(torch.equal, again.model.state_dict().values(), whole.model.state_dict().values()))


def test_bf16_multiplies_in_16_bits_and_sums_the_loss_in_32(make_config, make_state, data):
    config = make_config(precision="bf16")
    state, seen = make_state(config), {}
    block = state.model.h[0]
    handles = [
        block.mlp.c_fc.register_forward_hook(lambda m, i, out: seen.update(product=out.dtype)),
        block.register_forward_hook(lambda m, i, out: seen.update(stream=out.dtype)),
    ]
    loop.gradient_step(state, data, config, 1.0, learn=True)
    for handle in handles:
        handle.remove()
    assert seen == {"product": torch.bfloat16, "stream": torch.float32}
    assert not torch.is_autocast_enabled("cpu")


# fp16 works on a processor, too, only slowly: the order of things is the same as on a GPU
def test_fp16_gradients_have_their_true_size_when_they_are_judged(optimizer, make_config, make_state, data):
    for clip in (0.0, 0.01):
        records, used = {}, {}
        for bits in ("fp32", "fp16"):
            config = make_config(optimizer, precision=bits, gradient_clip=clip)
            state = make_state(config)
            records[bits] = next(train(state, data, config, steps=24))
            used[bits] = torch.cat([p.grad.flatten() for p in state.model.parameters()]).norm().item()
        assert records["fp16"].gradient_norm == pytest.approx(records["fp32"].gradient_norm, rel=0.02)
        assert used["fp16"] == pytest.approx(clip or records["fp32"].gradient_norm, rel=0.02)


def test_fp16_learns_and_loses_no_update_to_a_scale_that_is_too_large(
    optimizer, make_config, make_state, data, monkeypatch
):
    scaler = GradScaler("cpu", init_scale=2.0**40)  # makes every gradient infinite at first
    monkeypatch.setattr(loop, "make_scaler", lambda *_: scaler)
    rate = 0.01 if optimizer == "adamw" else 0.03
    config = make_config(optimizer, precision="fp16", learning_rate=rate, steps=60)
    state = make_state(config)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    steps = train(state, data, config, steps=60)
    first = next(steps)
    assert 1 < scaler.get_scale() < 2.0**40 and math.isfinite(first.gradient_norm)
    next(steps)  # the first step of the warmup has a learning rate, too
    assert all(not torch.equal(p, before[name]) for name, p in state.model.named_parameters())
    last = list(steps)[-1]
    assert last.step == 60 and last.train_loss < 0.75 * first.train_loss


def test_fp16_gradients_that_stay_infinite_are_refused(make_config, make_state, data):
    config = make_config(precision="fp16")
    state = make_state(config)
    state.model.wpe.weight.register_hook(lambda gradient: gradient * math.inf)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    with pytest.raises(DivergedError, match=r"the loss became \d\.\d+ with a gradient of length (nan|inf)"):
        next(train(state, data, config, steps=24))
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())


@pytest.mark.parametrize("architecture", ["lstm", "bigram"])
def test_what_came_before_takes_every_knob(architecture, optimizer, make_config, data, tokenizer):
    knobs = {name: value for knob in KNOBS for name, value in knob.items()}
    config = make_config(optimizer, learning_rate=0.02, steps=40, **knobs)
    sizes = {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "dropout": 0.0}
    shape = GPT2Config(vocab_size=tokenizer.vocab_size, architecture=architecture, **sizes)
    records = list(train(loop.new_state(make_model(shape), config), data, config, steps=40))
    assert records[-1].train_loss < 0.95 * records[0].train_loss


def test_gradients_make_room_before_the_forward_pass(optimizer, make_config, make_state, data):
    config = make_config(optimizer)
    state, alive = make_state(config), []
    steps = train(state, data, config, steps=24)
    next(steps)
    assert state.model.h[0].attn.c_attn.weight.grad is not None
    handle = state.model.register_forward_pre_hook(
        lambda model, _: (
            alive.append(
                sum(p.grad is not None for o in state.optimizers for g in o.param_groups for p in g["params"])
                + sum(p.grad is not None for p in model.parameters())
            )
            if model.training
            else None
        )
    )
    next(steps)
    handle.remove()
    assert alive == [0]


EVERY = [
    {"norm": "post"}, {"activation": "relu"}, {"positions": "sinusoidal"}, {"positions": "rotary"},
    {"positions": "none"}, {"attention": "local"}, {"attention": "strided"}, {"attention": "global_local"},
    {"n_experts": 4}, {"n_experts": 3, "experts_per_token": 2}, {"bias": False}, {"dropout": 0.1},
    {"tie_word_embeddings": False, "lm_head_bias": True},
    {"architecture": "lstm"}, {"architecture": "bigram"},
]  # fmt: skip
TOGETHER = [
    {"precision": "bf16"},
    {"gradient_checkpointing": True},
    {"quantization_aware": True},
    {"precision": "bf16", "gradient_checkpointing": True, "quantization_aware": True, "accumulation": 2},
]


@pytest.mark.parametrize("variant", EVERY, ids=lambda variant: "-".join(map(str, variant.values())))
@pytest.mark.parametrize("knobs", TOGETHER, ids=lambda knobs: "-".join(knobs))
def test_every_variant_can_be_trained_with_every_knob(variant, knobs, make_config, data, tokenizer):
    sizes = {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "attention_window": 4}
    model = GPT2Config(vocab_size=tokenizer.vocab_size, **{**sizes, "dropout": 0.0, **variant})
    config = make_config("muon", learning_rate=0.01, steps=2, **knobs)
    plain = make_config("muon", learning_rate=0.01, steps=2, batch_size=config.rows)
    first, expected = (
        next(train(new_state(make_model(model, seed=1), c), data, c, steps=2)) for c in (config, plain)
    )
    assert first.train_loss == pytest.approx(expected.train_loss, rel=0.01)
