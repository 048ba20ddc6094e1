"""A run may use half of the memory that is really there, and what it will take is foretold within a tenth."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.model.memory import kv_cache_bytes, memory_by_part
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.training.config import planned_memory, recipe
from gpt2demo.training.estimate import random_tokens
from gpt2demo.training.loop import new_state, train
from gpt2demo.training.memory import (
    free_memory,
    is_out_of_memory,
    measure_memory,
    memory_for_a_run,
    oom_kills,
)

PROJECT = Path(__file__).parents[2]


def test_a_containers_limit_counts_and_the_lack_of_one_does_not(tmp_path):
    machine = memory_for_a_run(tmp_path / "missing")
    assert machine > 100_000_000
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    assert memory_for_a_run(limit) == machine
    limit.write_text("200000000\n")
    assert memory_for_a_run(limit) == 100_000_000


def test_kills_for_want_of_memory_are_counted_where_the_system_counts_them(tmp_path):
    container, machine = tmp_path / "memory.events", tmp_path / "vmstat"
    assert oom_kills((container, machine)) is None
    machine.write_text("nr_free_pages 5\noom_kill 3\n")
    assert oom_kills((container, machine)) == 3
    container.write_text("low 0\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert oom_kills((container, machine)) == 1
    machine.write_text("oom_kill many\n")
    assert oom_kills((machine,)) is None
    assert 1_000_000 < free_memory() < 10**14


def test_every_way_of_saying_that_memory_ran_out_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError("memory"))


def test_a_worker_that_is_given_too_little_memory_says_what_fits(fast, make_run_at, make_config, shape):
    wide = dataclasses.replace(shape, n_positions=256)
    config = make_config(batch_size=64, length=256, steps=3)
    run = make_run_at(
        fast / "run", config, model=wide, corpus=Corpus((document_from_text("a", "the cat " * 999),))
    )
    need = planned_memory(wide, config).peak
    assert need > 80_000_000
    limited = (
        "import resource, sys, torch._dynamo\n"
        "from gpt2demo.__main__ import main\n"
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[1]),) * 2)\n"
        "sys.exit(main(['train', sys.argv[2]]))"
    )
    command = [sys.executable, "-c", limited, str(need // 3), str(run.path)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    status = run.status()
    assert status.state == "failed" and status.message == ended.stderr.strip().splitlines()[-1]
    said = re.search(
        r"needs about (\d+\.\d) .*were free when it began.*largest batch that fits is (\d+)\.", status.message
    )
    assert float(said[1]) == pytest.approx(need / 1e6 if need < 1e8 else need / 1e9, rel=0.1)
    smaller = dataclasses.replace(config, batch_size=int(said[2]))
    assert planned_memory(wide, smaller).peak < need / 3


def little(optimizer="muon", batch_size=8, **changes):
    """A model of two layers, and a training of it. changes: of either."""
    knobs = ("precision", "gradient_checkpointing", "quantization_aware")
    settings = {"precision": "fp32"} | {name: changes.pop(name) for name in knobs if name in changes}
    shape = {"vocab_size": 65, "n_positions": 64, "n_embd": 64, "n_layer": 3, "n_head": 4, "dropout": 0.0}
    model = GPT2Config(**shape | changes)
    return model, recipe(optimizer, model, batch_size=batch_size, steps=5, threads=1, **settings)


CASES = [
    {},
    {"optimizer": "adamw"},
    {"dropout": 0.1},
    {"precision": "bf16"},
    {"activation": "gelu", "precision": "bf16"},
    {"precision": "bf16", "dropout": 0.1, "quantization_aware": True},
    {"gradient_checkpointing": True},
    {"gradient_checkpointing": True, "dropout": 0.1, "optimizer": "adamw"},
    {"gradient_checkpointing": True, "batch_size": 32, "n_layer": 6, "n_embd": 32},
    {"quantization_aware": True},
    {"vocab_size": 5_000},
    {"vocab_size": 5_000, "tie_word_embeddings": False, "batch_size": 2},
    {"batch_size": 1, "n_embd": 128},
    {"positions": "rotary", "activation": "relu"},
    {"attention": "local", "norm": "post"},
    {"n_experts": 4, "experts_per_token": 2},
    {"n_experts": 4, "precision": "bf16"},
    {"architecture": "lstm"},
    {"architecture": "lstm", "precision": "bf16"},
    {"architecture": "bigram", "vocab_size": 500},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_prediction_is_within_a_tenth_of_what_is_measured(case):
    model, training = little(**case)
    predicted, measured = planned_memory(model, training), measure_memory(model, training)
    assert predicted.peak == pytest.approx(measured.allocated, rel=0.1)
    assert measured.resident is None or measured.resident > measured.allocated


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "variant", [{}, {"n_experts": 3}, {"architecture": "lstm"}, {"architecture": "bigram"}]
)
def test_weights_gradients_and_the_optimisers_memory_are_counted_exactly(optimizer, variant):
    model, training = little(optimizer, **variant)
    state = new_state(make_model(model), training)
    for _ in train(state, random_tokens(model, training, 0), training, steps=1):
        pass
    predicted = planned_memory(model, training)
    parameters = list(state.model.parameters())
    assert sum(p.nbytes for p in parameters) == predicted.weights
    assert sum(p.grad.nbytes for p in parameters) == predicted.gradients
    kept = [v for o in state.optimizers for s in o.state.values() for v in s.values()]
    assert sum(v.nbytes for v in kept if v.dim()) == predicted.optimizer


def test_the_cache_is_counted_exactly():
    for variant in ({}, {"architecture": "lstm"}, {"architecture": "bigram"}):
        model, training = little(**variant)
        cache = make_model(model).new_cache()
        held = sum(v.nbytes for v in vars(cache).values() if hasattr(v, "nbytes"))
        assert held == kv_cache_bytes(model) == planned_memory(model, training).kv_cache


def test_what_each_knob_is_for():
    model = preset("gpt2", vocab_size=50_257)
    usual = {"batch_size": 4, "length": 1_024}
    plain = memory_by_part(model, **usual)
    assert memory_by_part(model, **usual, optimizer="muon").optimizer < 0.7 * plain.optimizer
    assert memory_by_part(model, **usual, gradient_checkpointing=True).activations < 0.2 * plain.activations
    calm = dataclasses.replace(model, dropout=0.0)
    without = memory_by_part(calm, **usual)
    assert without.activations < 0.5 * plain.activations  # then attention keeps none of its T × T weights
    assert memory_by_part(calm, **usual, precision="bf16").activations < 0.75 * without.activations
    assert memory_by_part(model, batch_size=8, length=1_024).activations == 2 * plain.activations
