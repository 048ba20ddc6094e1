"""The core is GPT-2: it agrees with an independent implementation, and no token sees the future."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config as ReferenceConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import ConfigError, FileError, LimitError, TextError, UserError
from gpt2demo.model.anatomy import count_parameters, flops_per_token, parameters_by_part
from gpt2demo.model.attention import ScaledDotProductAttention, attention_weights
from gpt2demo.model.cache import KVCache
from gpt2demo.model.config import PRESETS, GPT2Config, preset
from gpt2demo.model.gpt2 import GPT2, check_ids
from gpt2demo.model.weights import load_gpt2_tensors, to_gpt2_tensors


@pytest.fixture
def config() -> GPT2Config:
    return GPT2Config(vocab_size=97, n_positions=24, n_embd=32, n_layer=3, n_head=4, dropout=0.1)


@pytest.fixture
def model(config: GPT2Config) -> GPT2:
    model = GPT2(config, seed=1).eval()
    with torch.no_grad():  # a fresh model is nearly linear; larger weights make every part count
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    return model


def ids(config: GPT2Config, batch: int, length: int) -> torch.Tensor:
    return torch.randint(config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_logits_agree_with_transformers(config, model):
    data = config.to_json()
    reference = GPT2LMHeadModel(ReferenceConfig(**data)).eval()
    missing = reference.load_state_dict(to_gpt2_tensors(model), strict=False)
    assert missing.missing_keys in ([], ["lm_head.weight"]) and missing.unexpected_keys == []
    reference.tie_weights()
    tokens = ids(config, 3, 24)
    assert (model(tokens) - reference(tokens).logits).abs().max() < 1e-5


@torch.no_grad()
def test_weights_copied_from_transformers_agree(config):
    torch.manual_seed(0)
    reference = GPT2LMHeadModel(ReferenceConfig(**config.to_json())).eval()
    tensors = {k: v for k, v in reference.state_dict().items() if k != "lm_head.weight"}
    model = GPT2(config).eval()
    load_gpt2_tensors(model, tensors)
    tokens = ids(config, 2, 20)
    assert (model(tokens) - reference(tokens).logits).abs().max() < 1e-5


@torch.no_grad()
def test_no_token_sees_the_future(config, model):
    tokens = ids(config, 1, 20)
    changed = tokens.clone()
    changed[0, 12] = (changed[0, 12] + 1) % config.vocab_size
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@torch.no_grad()
@pytest.mark.parametrize("pieces", [[1] * 20, [20], [5, 1, 7, 7], [19, 1], [2, 18]])
def test_a_text_read_in_pieces_gives_the_same_logits(config, model, pieces):
    tokens = ids(config, 2, 20)
    whole = model(tokens)
    cache = KVCache(config, batch_size=2)
    parts = [model(part, cache) for part in tokens.split(pieces, dim=1)]
    assert cache.length == 20
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


@torch.no_grad()
def test_a_truncated_cache_has_forgotten(config, model):
    tokens = ids(config, 1, 20)
    cache = KVCache(config)
    model(tokens, cache)
    cache.truncate(7)
    assert torch.allclose(model(tokens[:, 7:], cache), model(tokens)[:, 7:], atol=1e-5)
    with pytest.raises(ValueError, match="truncate"):
        cache.truncate(21)


@pytest.mark.parametrize("queries", [1, 4, 9])
def test_the_readable_attention_equals_the_fused_one(queries):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, queries, 8, generator=generator)
    k, v = torch.randn(2, 2, 3, 9, 8, generator=generator).unbind(0)
    weights = attention_weights(q, k)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3, queries))
    assert torch.equal(weights, weights.tril(9 - queries))
    fused = ScaledDotProductAttention(GPT2Config(dropout=0.0)).eval()(q, k, v)
    assert (weights @ v - fused).abs().max() < 1e-6


def test_past_the_context_is_refused(config, model):
    with pytest.raises(LimitError, match="at most 24"):
        model(ids(config, 1, 25))
    cache = KVCache(config)
    model(ids(config, 1, 24), cache)
    with pytest.raises(LimitError, match="25 tokens"):
        model(ids(config, 1, 1), cache)


def test_initial_weights_follow_gpt2():
    config = GPT2Config(vocab_size=500, n_positions=64, n_embd=128, n_layer=8, n_head=4)
    model = GPT2(config, seed=5)
    assert model.lm_head.weight is model.wte.weight
    assert model.wte.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.h[0].mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.h[3].mlp.c_proj.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert model.h[3].attn.c_attn.bias.abs().max() == 0 and torch.all(model.h[3].ln_1.weight == 1)
    same, other = GPT2(config, seed=5), GPT2(config, seed=6)
    assert torch.equal(model.wpe.weight, same.wpe.weight) and not torch.equal(
        model.wpe.weight, other.wpe.weight
    )


def test_published_parameter_counts():
    published = {
        "gpt2": 124_439_808,
        "gpt2-medium": 354_823_168,
        "gpt2-large": 774_030_080,
        "gpt2-xl": 1_557_611_200,
    }
    assert {name: count_parameters(preset(name, vocab_size=50_257)) for name in published} == published


def test_formulas_count_what_the_model_has(config, model):
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())
    assert parameters_by_part(config)["position embeddings"] == model.wpe.weight.numel()
    assert flops_per_token(config, 24) > flops_per_token(config, 12)


def test_config_json_round_trip(config):
    assert GPT2Config.from_json(config.to_json()) == config
    for name in PRESETS:
        assert GPT2Config.from_json(preset(name, vocab_size=300).to_json()).vocab_size == 300


def test_whole_numbers_may_come_as_json_says_them():
    config = GPT2Config(vocab_size=10.0, n_positions=8.0, n_embd=32.0, n_layer=1.0, n_head=2.0, n_inner=64.0)
    sizes = (config.vocab_size, config.n_positions, config.n_embd, config.n_layer, config.n_head)
    assert sizes == (10, 8, 32, 1, 2) and all(type(size) is int for size in (*sizes, config.n_inner))
    assert GPT2(config)(torch.tensor([[1, 2]])).shape == (1, 2, 10)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_head": 5}, "n_head = 4"),
        ({"n_layer": -1}, "from 1 to 48"),
        ({"vocab_size": 10**12}, "60,000"),
        ({"vocab_size": 2.5}, "whole number"),
        ({"n_positions": "12"}, "n_positions"),
        ({"dropout": 7}, "from 0.0 to 0.9"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon"),
        ({"n_embd": True}, "n_embd"),
    ],
)
def test_impossible_configurations_name_the_nearest_possible_one(change, says):
    sizes = {"vocab_size": 97, "n_positions": 24, "n_embd": 32, "n_layer": 3, "n_head": 4}
    with pytest.raises(UserError, match=says):
        GPT2Config(**{**sizes, **change})


def test_other_architectures_are_refused_by_name(config):
    for change in ({"model_type": "llama"}, {"scale_attn_weights": False}, {"model_type": "gpt2demo"}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            GPT2Config.from_json({**config.to_json(), **change})
    with pytest.raises(ConfigError, match="names only"):
        GPT2Config.from_json({"vocab_size": 3})
    with pytest.raises(ConfigError, match="pico, nano, micro"):
        preset("giant", vocab_size=10)


def test_weights_that_do_not_fit_change_nothing(config, model):
    good = to_gpt2_tensors(model)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    first = "transformer.h.0.attn.c_attn.weight"
    bad = [
        {k: v for k, v in good.items() if k != first},
        {**good, "extra": torch.zeros(1)},
        {**good, first: good[first].t()},
        {**good, first: good[first].to(torch.int64)},
        {**good, "transformer.wpe.weight": torch.full_like(good["transformer.wpe.weight"], float("nan"))},
    ]
    for tensors in bad:
        with pytest.raises(FileError):
            load_gpt2_tensors(model, tensors)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


@pytest.mark.parametrize("wrong", [[], [97], [-1], [0, 10**30], [1.5], [1, "2"], [None]])
def test_ids_that_a_model_cannot_read_are_refused(wrong):
    with pytest.raises(TextError) as refused:
        check_ids(wrong, 97)
    assert refused.value.got and refused.value.needed and refused.value.todo


def test_more_ids_than_fit_are_refused_only_where_they_must_fit():
    check_ids(range(97), 97)
    check_ids(np.arange(24), 97, n_positions=24)
    with pytest.raises(LimitError, match="25 tokens.*reads at most 24"):
        check_ids([0] * 25, 97, n_positions=24)
