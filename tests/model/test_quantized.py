"""Whole numbers for weights: their levels, their bytes, what they cost, and training that expects them."""

import copy

import pytest
import torch
from torch import nn

from gpt2demo.errors import ConfigError
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.packed import packed, weight_bytes
from gpt2demo.model.positions import rotate
from gpt2demo.model.quantized import (
    Int8Linear,
    Int8Table,
    fake_quantization,
    quantize,
    quantized,
    rounded,
)
from gpt2demo.model.weights import to_gpt2_tensors

SIZES = {"vocab_size": 40, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "dropout": 0.0}
VARIANTS = [
    {},
    {"tie_word_embeddings": False, "lm_head_bias": True},
    {"bias": False, "norm": "post", "positions": "rotary"},
    {"n_experts": 3, "attention": "local"},
    {"architecture": "lstm"},
    {"architecture": "bigram"},
]


def tokens(*shape, seed=0):
    return torch.randint(40, shape, generator=torch.Generator().manual_seed(seed))


def lively(**variant):
    """A model in eval mode whose weights are large enough to say something."""
    model = make_model(GPT2Config(**SIZES | variant), seed=3).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(2 if parameter.dim() > 1 else 1)
    return model


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_levels_are_whole_symmetric_and_the_nearest(bits):
    x = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    levels, widths = quantize(x, bits)
    last = 2 ** (bits - 1) - 1
    assert torch.equal(levels, levels.round()) and levels.abs().amax(-1).tolist() == [last] * 5
    assert ((levels * widths - x).abs() <= widths / 2 + 1e-6).all()  # no other level is nearer
    assert torch.equal(quantize(-x, bits)[0], -levels)
    zeros, width = quantize(torch.zeros(1, 3), bits)
    assert torch.equal(zeros * width, torch.zeros(1, 3))


def test_eight_bits_agree_with_pytorchs_own_fake_quantization():
    x = torch.randn(6, 50, generator=torch.Generator().manual_seed(2))
    _, widths = quantize(x)
    zero = torch.zeros(6, dtype=torch.int32)
    reference = torch.fake_quantize_per_channel_affine(x, widths[:, 0], zero, 0, -127, 127)
    assert torch.allclose(rounded(x), reference, atol=1e-6)


def test_gradients_go_straight_through():
    x = torch.randn(3, 7, requires_grad=True)
    weight = torch.randn(3, 7)
    (rounded(x, 3) * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_an_int8_layer_computes_what_rounded_floats_would():
    layer = nn.Linear(64, 48)
    x = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(4)) * torch.tensor([[[1.0]], [[300.0]]])
    exact = nn.functional.linear(rounded(x), rounded(layer.weight), layer.bias)
    made = Int8Linear(Int8Table(layer.weight), layer.bias)(x)
    assert made.shape == exact.shape and torch.allclose(made, exact, rtol=1e-4, atol=1e-4)
    assert 1e-4 < (made - layer(x)).norm() / layer(x).norm() < 0.02  # rounded, but not much
    assert Int8Linear(Int8Table(layer.weight), None)(x[:0]).shape == (0, 5, 48)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_every_model_can_write_in_fewer_bits(variant, precision):
    model = lively(**variant)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small, text = packed(model, precision), tokens(1, 12)
    exact, logits = model(text), small(text).float()
    error = (logits - exact).norm() / exact.norm()
    assert 0 < error < 0.12
    cache = small.new_cache()
    parts = torch.cat(
        [small(text[:, :5], cache), *(small(text[:, i : i + 1], cache) for i in range(5, 12))], 1
    )
    assert (parts.float() - logits).norm() / logits.norm() < 0.05
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ConfigError, match="precision is 'int4'"):
        packed(model, "int4")


def test_rotary_positions_keep_their_angles_in_half_precision():
    x = torch.randn(1, 2, 3, 16, generator=torch.Generator().manual_seed(6))
    error = (rotate(x.bfloat16(), past=1_000).float() - rotate(x, past=1_000)).norm() / x.norm()
    assert 0 < error < 0.01


def test_bytes_are_a_half_and_about_a_quarter():
    model = lively(n_embd=64, vocab_size=40)
    numbers = sum(p.numel() for p in model.parameters())
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and n != "wpe.weight")
    rows = 40 + 2 * (3 + 1 + 4 + 1) * 64  # each with a step width of 4 bytes
    assert weight_bytes(model) == 4 * numbers
    assert weight_bytes(copy.deepcopy(model).bfloat16()) == 2 * numbers
    assert weight_bytes(quantized(model)) == matrices + 4 * (rows + numbers - matrices)


def test_a_tied_table_stays_one_table():
    made = quantized(lively())
    assert made.lm_head.table is made.wte
    assert torch.equal(made.wte(tokens(3)), made.wte.levels[tokens(3)] * made.wte.widths[tokens(3), None])
    apart = quantized(lively(tie_word_embeddings=False))
    assert apart.lm_head.table is not apart.wte


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=str)
def test_fake_quantization_is_what_int8_computes(variant):
    model, text = lively(**variant), tokens(3, 16)
    with fake_quantization(model):
        fake = model(text)
    real = quantized(model)(text)
    # an input that lies between two levels may fall either way, after sums in another order
    assert (fake - real).abs().median() < 1e-4
    assert (fake - model(text)).abs().median() > 10 * (fake - real).abs().median()


@pytest.mark.parametrize("recompute", [False, True])
def test_training_inside_leaves_names_order_and_hooks_alone(recompute):
    model = make_model(GPT2Config(**SIZES), seed=3).train()
    model.recompute = recompute
    before = [(name, id(p)) for name, p in model.named_parameters()]
    tensors = to_gpt2_tensors(model)
    with pytest.raises(RuntimeError, match="on purpose"), fake_quantization(model, bits=4):
        model(tokens(2, 16)).square().mean().backward()
        raise RuntimeError("on purpose")
    assert [(name, id(p)) for name, p in model.named_parameters()] == before
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert all(torch.equal(value, tensors[name]) for name, value in to_gpt2_tensors(model).items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert model.lm_head.weight is model.wte.weight


def test_checkpointing_changes_no_gradient_of_rounded_training():
    gradients = []
    for recompute in (False, True):
        model = make_model(GPT2Config(**SIZES), seed=3).train()
        model.recompute = recompute
        with fake_quantization(model, bits=3):
            model(tokens(2, 16)).square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_a_model_trained_so_loses_less_when_rounded():
    text = tokens(1, 400, seed=5).view(25, 16)[:, torch.arange(16) // 2]  # each token comes twice
    losses = {}
    for bits in (None, 3):
        model = make_model(GPT2Config(**SIZES), seed=3).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(120):
            optimizer.zero_grad()
            if bits is None:
                loss_of(model, text).backward()
            else:
                with fake_quantization(model, bits=bits):
                    loss_of(model, text).backward()
            optimizer.step()
        with torch.no_grad(), fake_quantization(model, bits=3):
            losses[bits] = loss_of(model, text).item()
    assert losses[3] < 0.8 * losses[None]


def loss_of(model, text):
    return nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
