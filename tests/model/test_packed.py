"""The copy that writes says what the model says, in 32 bits nearly exactly, and leaves the model alone."""

import pytest
import torch

from gpt2demo.model import packed as packing
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.flat import FlatGPT2
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.packed import PackedInt8Linear, PackedLinear, packed, weight_bytes
from gpt2demo.model.quantized import quantized


def some_model(**variant) -> GPT2:
    config = GPT2Config(vocab_size=40, n_positions=16, n_embd=64, n_layer=2, n_head=2, **variant)
    model = GPT2(config, seed=3).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("variant", [{}, {"bias": False}, {"tie_word_embeddings": False}, {"n_experts": 2}])
@torch.inference_mode()
def test_in_32_bits_it_says_the_same_to_the_last_digits(variant, monkeypatch):
    monkeypatch.setattr(packing, "WORTH_PACKING", 1)
    model, ids = some_model(**variant), torch.arange(24).view(2, 12)
    made = packed(model)
    assert any(isinstance(module, PackedLinear) for module in made.modules())
    assert (made(ids) - model(ids)).abs().max() < 1e-4 * model(ids).abs().max()
    cache = made.new_cache(2)
    made(ids[:, :11], cache)
    assert torch.allclose(made.next_logits(ids[:, 11:], cache), model(ids)[:, -1], atol=1e-3)


@torch.inference_mode()
def test_whole_numbers_by_fbgemm_are_as_good_as_those_by_formula():
    model, ids = some_model(), torch.arange(24).view(2, 12)
    exact = model(ids)
    fast = (packed(model, "int8")(ids) - exact).norm() / exact.norm()
    plain = (quantized(model)(ids) - exact).norm() / exact.norm()
    assert 0 < fast < max(0.03, 2.5 * plain)


@torch.inference_mode()
def test_a_layer_in_whole_numbers_has_a_step_width_for_each_row():
    layer = torch.nn.Linear(32, 3)
    layer.weight *= torch.tensor([[1.0], [100.0], [0.0]])
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    exact, made = layer(x), PackedInt8Linear(layer)(x)
    for row in range(3):
        assert (made - exact)[:, row].norm() <= 0.03 * exact[:, row].norm() + 1e-4


def test_the_bytes_are_those_of_the_numbers(monkeypatch):
    monkeypatch.setattr(packing, "WORTH_PACKING", 1)
    model = some_model(tie_word_embeddings=False)
    whole = weight_bytes(model)
    assert weight_bytes(packed(model)) == whole
    assert weight_bytes(packed(model, "bf16")) == whole / 2
    assert 0.25 < weight_bytes(packed(model, "int8")) / whole < 0.35


@pytest.mark.parametrize(
    "variant",
    [{}, {"bias": False}, {"tie_word_embeddings": False, "lm_head_bias": True}, {"positions": "sinusoidal"}],
    ids=str,
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.inference_mode()
def test_the_flat_step_gives_the_same_numbers_bit_for_bit(variant, precision):
    made = packed(some_model(**variant), precision)
    assert isinstance(made, FlatGPT2) and not made.training
    read = made.new_cache(3)
    made(torch.arange(24).view(3, 8), read)
    caches = [made.new_batch_cache(3), made.new_batch_cache(3)]
    for cache in caches:
        for row, length in enumerate((8, 5, 7)):
            cache.join(read, row, length)
    ids = torch.tensor([[3], [1], [4]])
    for _ in range(4):
        flat, plain = made.next_logits(ids, caches[0]), made.model.next_logits(ids, caches[1])
        assert torch.equal(flat, plain)
    one = [made.new_cache(), made.new_cache()]
    for id_ in range(6):
        ids = torch.tensor([[id_]])
        assert torch.equal(made.next_logits(ids, one[0]), made.model.next_logits(ids, one[1]))


@pytest.mark.parametrize(
    "variant", [{"norm": "post"}, {"positions": "rotary"}, {"n_experts": 2}, {"attention": "local"}], ids=str
)
def test_what_is_built_otherwise_goes_through_its_modules(variant):
    assert not FlatGPT2.suits(some_model(**variant))
