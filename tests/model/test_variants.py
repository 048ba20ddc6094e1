"""Everything a GPT-2 could have had instead, each against a formula or a module that somebody else wrote."""

import cmath
import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import GPT2Config as ReferenceConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import ConfigError, LimitError, UserError
from gpt2demo.model.anatomy import count_parameters, flops_by_part, parameters_by_part, tokens_read
from gpt2demo.model.attention import ScaledDotProductAttention, attention_mask, attention_weights
from gpt2demo.model.baselines import LSTM, Bigram, make_model
from gpt2demo.model.block import Block
from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.mlp import MixtureOfExperts, Routing, activate, load_balance
from gpt2demo.model.positions import rotate, sinusoidal_table
from gpt2demo.model.weights import load_gpt2_tensors, to_gpt2_tensors

SMALL = GPT2Config(vocab_size=97, n_positions=24, n_embd=32, n_layer=3, n_head=4, dropout=0.0)
VARIANTS = [
    {},
    {"norm": "post"},
    {"activation": "gelu"},
    {"activation": "relu", "n_inner": 50},
    {"positions": "sinusoidal"},
    {"positions": "rotary"},
    {"positions": "none"},
    {"tie_word_embeddings": False},
    {"tie_word_embeddings": False, "lm_head_bias": True},
    {"bias": False},
    {"bias": False, "positions": "none", "tie_word_embeddings": False},
    {"init": "xavier"},
    {"attention": "local", "attention_window": 5},
    {"attention": "strided", "attention_window": 4},
    {"attention": "global_local", "attention_window": 3, "global_tokens": 2},
    {"attention": "local", "attention_window": 5, "positions": "rotary", "norm": "post"},
    {"n_experts": 4, "experts_per_token": 2},
    {"n_experts": 3, "experts_per_token": 1, "bias": False},
    {"n_head": 1},
    {"architecture": "lstm"},
    {"architecture": "bigram"},
]


def name_of(change: dict) -> str:
    return " ".join(f"{key}={value}" for key, value in change.items()) or "gpt2"


def shaken(config: GPT2Config):
    """A model in which every number matters: a fresh one is nearly linear, and its biases are zero."""
    model = make_model(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def ids(batch: int, length: int, vocab_size: int = 97) -> torch.Tensor:
    return torch.randint(vocab_size, (batch, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("change", VARIANTS, ids=name_of)
def test_every_variant_is_written_read_counted_and_causal(change):
    config = replace(SMALL, **change)
    model = shaken(config)
    assert GPT2Config.from_json(config.to_json()) == config
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())
    again = make_model(GPT2Config.from_json(config.to_json()), seed=9).eval()
    load_gpt2_tensors(again, to_gpt2_tensors(model))
    tokens = ids(2, 20)
    with torch.no_grad():
        whole = model(tokens)
        assert torch.equal(again(tokens), whole)
        changed = tokens.clone()
        changed[:, 12] = (changed[:, 12] + 1) % 97
        # experts work on the tokens that chose them, and sums over more rows are rounded otherwise
        tolerance = 0.0 if config.n_experts == 1 else 1e-5
        assert torch.allclose(model(changed)[:, :12], whole[:, :12], rtol=0, atol=tolerance)
        assert not torch.allclose(model(changed)[:, 12:], whole[:, 12:], atol=1e-3)
    with pytest.raises(LimitError, match="at most 24"):
        model(ids(1, 25))


@pytest.mark.parametrize("change", VARIANTS, ids=name_of)
@pytest.mark.parametrize("pieces", [[1] * 20, [5, 1, 7, 7], [2, 18]], ids=str)
@torch.no_grad()
def test_every_variant_reads_in_pieces_what_it_reads_at_once(change, pieces):
    model = shaken(replace(SMALL, **change))
    tokens = ids(2, 20)
    whole = model(tokens)
    cache = model.new_cache(2)
    parts = [model(part, cache) for part in tokens.split(pieces, dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=2e-5)
    cache.truncate(7)
    assert torch.allclose(model(tokens[:, 7:], cache), whole[:, 7:], atol=2e-5)


@pytest.mark.parametrize("change", [v for v in VARIANTS if replace(SMALL, **v).is_plain_gpt2], ids=name_of)
@pytest.mark.parametrize("batch", [1, 4])
@torch.no_grad()
def test_what_gpt2s_format_can_hold_transformers_computes_alike(change, batch):
    config = replace(SMALL, **change)
    model = shaken(config)
    reference = GPT2LMHeadModel(ReferenceConfig(**config.to_json())).eval()
    found = reference.load_state_dict(to_gpt2_tensors(model), strict=False)
    assert found.unexpected_keys == []
    assert found.missing_keys == (["lm_head.weight"] if config.tie_word_embeddings else [])
    reference.tie_weights()
    tokens = ids(batch, 24)
    assert (model(tokens) - reference(tokens).logits).abs().max() < 1e-4
    cache = model.new_cache(batch)
    model(tokens[:, :10], cache)
    past = reference(tokens[:, :10], use_cache=True).past_key_values
    theirs = reference(tokens[:, 10:], past_key_values=past).logits
    assert (model(tokens[:, 10:], cache) - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@torch.no_grad()
def test_weights_come_from_transformers_and_go_back_in_all_published_shapes(name, tied):
    config = preset(name, vocab_size=501, n_layer=2, n_positions=64, tie_word_embeddings=tied)
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(ReferenceConfig(**config.to_json())).eval()
    tensors = {k: v for k, v in theirs.state_dict().items() if not (tied and k == "lm_head.weight")}
    ours = GPT2(config).eval()
    load_gpt2_tensors(ours, tensors)
    back = to_gpt2_tensors(ours)
    assert back.keys() == tensors.keys() and all(torch.equal(back[k], tensors[k]) for k in back)
    for batch in (1, 4):
        tokens = ids(batch, 48, 501)
        logits = theirs(tokens).logits
        assert (ours(tokens) - logits).abs().max() < 1e-4
        cache = ours.new_cache(batch)
        parts = [ours(part, cache) for part in tokens.split(16, dim=1)]
        assert (torch.cat(parts, dim=1) - logits).abs().max() < 1e-4


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@torch.no_grad()
def test_a_block_is_pytorchs_own_encoder_layer_with_a_causal_mask(norm, activation):
    config = replace(SMALL, norm=norm, activation=activation)
    block = shaken(config).h[0]
    layer = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation=activation, batch_first=True, norm_first=norm == "pre"
    ).eval()
    copies = {
        "self_attn.in_proj_weight": block.attn.c_attn.weight,
        "self_attn.in_proj_bias": block.attn.c_attn.bias,
        "self_attn.out_proj.weight": block.attn.c_proj.weight,
        "self_attn.out_proj.bias": block.attn.c_proj.bias,
        "linear1.weight": block.mlp.c_fc.weight,
        "linear1.bias": block.mlp.c_fc.bias,
        "linear2.weight": block.mlp.c_proj.weight,
        "linear2.bias": block.mlp.c_proj.bias,
        "norm1.weight": block.ln_1.weight,
        "norm1.bias": block.ln_1.bias,
        "norm2.weight": block.ln_2.weight,
        "norm2.bias": block.ln_2.bias,
    }
    layer.load_state_dict(copies)
    x = torch.randn(2, 11, 32, generator=torch.Generator().manual_seed(4))
    mask = nn.Transformer.generate_square_subsequent_mask(11)
    assert (block(x, 0) - layer(x, src_mask=mask, is_causal=True)).abs().max() < 1e-5


def test_the_activations_are_their_formulas():
    xs = torch.linspace(-4, 4, 81, dtype=torch.float64)
    for x in xs.tolist():
        one = torch.tensor(x, dtype=torch.float64)
        tanh = 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        exact = x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
        assert activate(one, "gelu_new").item() == pytest.approx(tanh, abs=1e-12)
        assert activate(one, "gelu").item() == pytest.approx(exact, abs=1e-12)
        assert activate(one, "relu").item() == max(0.0, x)


def test_sinusoids_are_the_formula_of_the_first_transformer():
    table = sinusoidal_table(30, 7)
    assert table.shape == (30, 7)
    for position, channel in itertools.product(range(30), range(7)):
        angle = position / 10_000 ** (2 * (channel // 2) / 7)
        expected = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
        assert table[position, channel].item() == pytest.approx(expected, abs=1e-6)


def test_rotary_positions_turn_pairs_of_channels_as_complex_numbers():
    x = torch.randn(1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, past=3)
    for t, pair in itertools.product(range(6), range(4)):
        z = complex(x[0, 0, t, 2 * pair], x[0, 0, t, 2 * pair + 1])
        z *= cmath.exp(1j * (t + 3) * 10_000 ** (-2 * pair / 8))
        assert turned[0, 0, t, 2 * pair].item() == pytest.approx(z.real, abs=1e-5)
        assert turned[0, 0, t, 2 * pair + 1].item() == pytest.approx(z.imag, abs=1e-5)


def test_rotary_scores_depend_on_the_distance_only():
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    near = rotate(q, 9) @ rotate(k, 4).transpose(-2, -1)
    far = rotate(q, 905) @ rotate(k, 900).transpose(-2, -1)
    other = rotate(q, 905) @ rotate(k, 901).transpose(-2, -1)
    assert near.item() == pytest.approx(far.item(), abs=1e-5)
    assert abs(near.item() - other.item()) > 1e-2


MASKS = {
    "full": lambda i, j: True,
    "local": lambda i, j: i - j < 4,
    "strided": lambda i, j: i - j < 4 or (i - j) % 4 == 0,
    "global_local": lambda i, j: i - j < 4 or j < 2,
}


@pytest.mark.parametrize("pattern", MASKS)
@pytest.mark.parametrize("queries", [1, 3, 13])
def test_a_token_reads_what_its_pattern_says(pattern, queries):
    mask = attention_mask(pattern, 4, 2, queries, 13)
    for row, j in itertools.product(range(queries), range(13)):
        i = 13 - queries + row
        assert bool(mask[row, j]) == (j <= i and MASKS[pattern](i, j))


@pytest.mark.parametrize("pattern", MASKS)
@pytest.mark.parametrize("queries", [1, 4, 9])
def test_the_readable_attention_equals_the_fused_one_for_every_pattern(pattern, queries):
    config = replace(SMALL, attention=pattern, attention_window=3)
    attend = ScaledDotProductAttention(config).eval()
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, queries, 8, generator=generator)
    k, v = torch.randn(2, 2, 3, 9, 8, generator=generator).unbind(0)
    weights = attention_weights(q, k, attend.mask(queries, 9))
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3, queries))
    assert (weights @ v - attend(q, k, v)).abs().max() < 1e-6


@pytest.mark.parametrize("pattern", MASKS)
def test_the_cost_of_attention_counts_the_tokens_that_are_read(pattern):
    for length, window, first in [(13, 4, 2), (3, 4, 2), (24, 1, 0), (9, 3, 5)]:
        config = replace(SMALL, attention=pattern, attention_window=window, global_tokens=first)
        mask = attention_mask(pattern, window, first, length, length)
        assert tokens_read(config, length) == pytest.approx(mask.sum().item() / length)


@torch.no_grad()
def test_experts_add_up_as_their_weights_say():
    config = replace(SMALL, n_experts=4, experts_per_token=2)
    mixture: MixtureOfExperts = shaken(config).h[1].mlp
    x = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(5))
    found = mixture(x)
    for b, t in itertools.product(range(2), range(9)):
        scores = mixture.router.gate.weight @ x[b, t]
        first, second = scores.argsort(descending=True)[:2].tolist()
        a, c = math.exp(scores[first]), math.exp(scores[second])
        expected = (a * mixture.experts[first](x[b, t]) + c * mixture.experts[second](x[b, t])) / (a + c)
        assert torch.allclose(found[b, t], expected, atol=1e-5)


def test_a_single_chosen_expert_counts_as_much_as_it_was_likely():
    mixture = shaken(replace(SMALL, n_experts=3, experts_per_token=1)).h[0].mlp
    x = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(5))
    chances = (mixture.router.gate.weight @ x[0, 0]).softmax(0)
    expected = chances.max() * mixture.experts[int(chances.argmax())](x[0, 0])
    assert torch.allclose(mixture(x)[0, 0], expected, atol=1e-6)
    mixture(x).sum().backward()
    assert mixture.router.gate.weight.grad.abs().max() > 0  # the router learns from its choice


def test_equal_experts_are_one_mlp():
    mixture = shaken(replace(SMALL, n_experts=4, experts_per_token=4)).h[0].mlp
    for expert in mixture.experts[1:]:
        expert.load_state_dict(mixture.experts[0].state_dict())
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(mixture(x), mixture.experts[0](x), atol=1e-5)


def routing(chosen: list[int], scores: list[list[float]]) -> Routing:
    experts = torch.tensor(chosen)[:, None]
    return Routing(experts, torch.ones(len(chosen), 1), torch.tensor(scores))


def test_the_balance_is_one_when_work_is_shared_and_e_when_one_does_it_all():
    even = routing([0, 1, 2, 3], [[0.25] * 4] * 4)
    alone = routing([2, 2, 2, 2], [[0.0, 0.0, 1.0, 0.0]] * 4)
    some = routing([0, 0, 0, 1], [[0.5, 0.3, 0.1, 0.1]] * 4)
    assert load_balance(even).item() == pytest.approx(1.0)
    assert load_balance(alone).item() == pytest.approx(4.0)
    assert load_balance(some).item() == pytest.approx(4 * (0.75 * 0.5 + 0.25 * 0.3))


def test_minding_the_balance_makes_a_router_share_the_work():
    config = replace(SMALL, n_experts=4, experts_per_token=1)
    router = MixtureOfExperts(config).router
    x = torch.randn(200, 32, generator=torch.Generator().manual_seed(6)) + 1.0
    with torch.no_grad():
        router.gate.weight[0] += 0.2  # at first everything goes to expert 0
    optimizer = torch.optim.SGD(router.parameters(), lr=0.1)
    before = router(x).experts.flatten().bincount(minlength=4)
    for _ in range(300):
        optimizer.zero_grad()
        load_balance(router(x)).backward()
        optimizer.step()
    after = router(x).experts.flatten().bincount(minlength=4)
    assert before.max() > 195 and after.max() < 100


def test_xavier_keeps_each_matrix_within_its_bounds():
    config = replace(SMALL, n_embd=64, init="xavier", tie_word_embeddings=False)
    model = GPT2(config, seed=3)
    attention = model.h[0].attn.c_attn
    for matrix in (*attention.weight.chunk(3), model.h[1].mlp.c_fc.weight, model.lm_head.weight):
        bound = math.sqrt(6 / sum(matrix.shape))
        assert 0.97 * bound < matrix.abs().max() <= bound
        assert matrix.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert attention.bias.abs().max() == 0


def test_forgetting_inside_a_block_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        model = make_model(replace(SMALL, dropout=0.2, n_experts=2), seed=1)
        model.recompute = recompute
        torch.manual_seed(0)  # dropout
        model(ids(2, 20)).square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def test_a_bigram_model_sees_one_token_and_says_so_by_its_table():
    model = shaken(replace(SMALL, architecture="bigram"))
    tokens = ids(3, 20)
    assert isinstance(model, Bigram) and torch.equal(model(tokens), model.wte.weight[tokens])
    with pytest.raises(ConfigError, match="at most 4,096"):
        make_model(replace(SMALL, architecture="bigram", vocab_size=5_000))


@pytest.mark.parametrize("name", ["pico", "nano", "mini", "gpt2"])
def test_an_lstm_has_as_many_parameters_as_the_gpt2_beside_it(name):
    config = preset(name, vocab_size=1_000)
    lstm = replace(config, architecture="lstm")
    assert count_parameters(lstm) == pytest.approx(count_parameters(config), rel=0.01)


@torch.no_grad()
def test_the_lstm_is_the_formula_of_its_gates():
    model = shaken(replace(SMALL, architecture="lstm"))
    assert isinstance(model, LSTM)
    tokens = ids(1, 6)
    x = model.wte.weight[tokens[0]]
    for layer in range(2):
        w, u, b, c = (
            getattr(model.rnn, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        hidden = cell = torch.zeros(w.size(1))
        out = []
        for t in range(6):
            i, f, g, o = (w @ x[t] + b + u @ hidden + c).chunk(4)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            out.append(hidden)
        x = torch.stack(out)
    assert torch.allclose(model(tokens)[0], x @ model.wte.weight.t(), atol=1e-5)


def test_published_counts_tied_and_untied():
    untied = preset("gpt2", vocab_size=50_257, tie_word_embeddings=False)
    assert count_parameters(untied) == 163_037_184
    assert parameters_by_part(untied)["output head"] == 38_597_376


def test_experts_cost_parameters_but_hardly_operations():
    dense = replace(SMALL, activation="relu")
    sparse = replace(dense, n_experts=8, experts_per_token=1)
    assert parameters_by_part(sparse)["MLP"] == 8 * parameters_by_part(dense)["MLP"]
    assert flops_by_part(sparse, 24)["MLP"] == flops_by_part(dense, 24)["MLP"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"norm": "sandwich"}, "pre or post"),
        ({"activation": 3}, "gelu_new, gelu or relu"),
        ({"bias": 1}, "True or False"),
        ({"positions": "rotary", "n_head": 32}, "n_head = 16"),
        ({"positions": "rotary", "n_embd": 33, "n_head": 11}, "n_embd = 34"),
        ({"n_experts": 2, "experts_per_token": 3}, "from 1 to 2"),
        ({"n_experts": 99}, "from 1 to 16"),
        ({"n_inner": 0}, "n_inner"),
        ({"attention_window": 0}, "attention_window"),
        ({"architecture": "rnn"}, "gpt2, lstm or bigram"),
    ],
)
def test_impossible_variants_say_what_is_possible(change, says):
    with pytest.raises(UserError, match=says):
        replace(SMALL, **change)


def test_a_config_that_claims_what_it_is_not_is_refused():
    rotary = replace(SMALL, positions="rotary").to_json()
    for change in (
        {"model_type": "gpt2"},
        {"gpt2demo": {"speed": 9}},
        {"gpt2demo": [1]},
        {"gpt2demo": {"n_embd": 3}},
    ):
        with pytest.raises(ConfigError):
            GPT2Config.from_json({**rotary, **change})


def test_a_block_is_built_from_its_config():
    assert isinstance(Block(replace(SMALL, n_experts=2)).mlp, MixtureOfExperts)
    assert Block(replace(SMALL, bias=False)).ln_1.bias is None
