"""Weights from anywhere become the model they were, or are refused in a sentence that names what is wrong."""

import dataclasses
import json
import os
import pickle
import tracemalloc

import pytest
import torch
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import FileError
from gpt2demo.hub.checkpoint import expected_shapes, read_checkpoint
from gpt2demo.hub.header import read_header
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.weights import LINEAR, load_gpt2_tensors, to_gpt2_tensors

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])


def loaded(path, config):
    model = make_model(config).eval().requires_grad_(False)
    load_gpt2_tensors(model, read_checkpoint(path, config))
    return model


# --- what is handled ---


def without_prefix(tensors):
    return {name.removeprefix("transformer."): t for name, t in tensors.items()}


def with_masks(tensors):
    masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 8, 8).tril() for i in (0, 1)}
    return tensors | masks | {"transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}


def with_byte_masks(tensors):
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril() for i in (0, 1)}
    return without_prefix(tensors) | masks


def with_the_head(tensors):
    return tensors | {"lm_head.weight": tensors["transformer.wte.weight"].clone()}


def as_linear_layers(tensors):
    return {n: t.t().contiguous() if n.endswith(LINEAR) else t for n, t in tensors.items()}


@pytest.mark.parametrize(
    "spelling",
    [dict, without_prefix, with_masks, with_byte_masks, with_the_head, as_linear_layers],
)
def test_every_spelling_of_a_checkpoint_is_the_same_model(foreign, save, spelling):
    path = save(spelling(foreign.tensors()))
    assert torch.equal(loaded(path, foreign.shape)(IDS), foreign.model()(IDS))


@pytest.mark.parametrize(("dtype", "close"), [(torch.float16, 0.02), (torch.bfloat16, 0.2)])
def test_half_precision_is_read(foreign, save, dtype, close):
    path = save({name: t.to(dtype) for name, t in foreign.tensors().items()})
    logits, exact = loaded(path, foreign.shape)(IDS), foreign.model()(IDS)
    assert logits.dtype == torch.float32 and 0 < (logits - exact).abs().max() < close


def test_an_untied_head_is_used(foreign, save):
    config = dataclasses.replace(foreign.shape, tie_word_embeddings=False)
    tensors = foreign.tensors(config)
    assert "lm_head.weight" in tensors
    assert torch.equal(loaded(save(tensors), config)(IDS), foreign.model(config)(IDS))
    tied = loaded(save(foreign.tensors()), foreign.shape)
    assert not torch.equal(tied(IDS), foreign.model(config)(IDS))


def test_a_model_that_transformers_saved_is_the_same_model(tmp_path):
    sizes = {"vocab_size": 20, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(TheirConfig(**sizes, initializer_range=0.5)).eval()
    theirs.save_pretrained(tmp_path)
    ours = loaded(tmp_path / "model.safetensors", GPT2Config(**sizes))
    with torch.no_grad():
        assert (ours(IDS) - theirs(IDS).logits).abs().max() < 1e-4


@pytest.mark.parametrize(
    "variant",
    [
        {"positions": "sinusoidal"},
        {"positions": "rotary"},
        {"norm": "post"},
        {"bias": False},
        {"n_experts": 2},
        {"lm_head_bias": True},
        {"n_inner": 8},
        {"architecture": "lstm"},
        {"architecture": "bigram"},
        {"init": "xavier"},
    ],
)
def test_variants_are_expected_as_they_are_written(foreign, save, variant):
    config = dataclasses.replace(foreign.shape, **variant)
    tensors = foreign.tensors(config)
    assert expected_shapes(config) == {name: tuple(t.shape) for name, t in tensors.items()}
    found = to_gpt2_tensors(loaded(save(tensors), config))
    assert all(torch.equal(found[name], t) for name, t in tensors.items())


def test_the_expected_shapes_of_the_largest_model_take_no_memory_and_no_time():
    config = GPT2Config(n_embd=1600, n_layer=48, n_head=25)
    tracemalloc.start()
    shapes = expected_shapes(config)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert len(shapes) == 580 and shapes["transformer.h.47.attn.c_attn.weight"] == (1600, 4800)


# --- what is refused ---

ONE = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


def two(begin, end, **changes):
    return ONE | {"b": {"dtype": "F32", "shape": [1], "data_offsets": [begin, end]} | changes}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (lambda f: b"", "is empty"),
        (lambda f: b"\x01\0\0\0\0\0\0", "ends after 7 bytes"),
        (lambda f: f.raw(ONE, b"\0" * 4, length=500), "claims 500 bytes, but only"),
        (lambda f: f.raw(ONE, b"\0" * 4, length=2**63), "claims 9,223,372,036,854,775,808 bytes; at most"),
        (lambda f: f.raw(b" " * 1_100_000), "claims 1,100,000 bytes; at most 1,048,576"),
        (lambda f: f.raw(b"{]"), "is not JSON"),
        (lambda f: f.raw(b"[]"), "is not a JSON object"),
        (lambda f: f.raw(b"\xff\xfe"), "is not UTF-8"),
        (lambda f: f.raw(b'{"a":' * 100_000), "nested deeper"),
        (lambda f: f.raw(b'{"a":' + b"9" * 5000 + b"}"), "number of 5,000 digits"),
        (lambda f: f.raw(b'{"a":{},"a":{}}'), "same name twice"),
        (lambda f: f.raw({}), "lists 0 tensors"),
        (lambda f: f.raw({"__metadata__": {"x": 1}, **ONE}, b"\0" * 4), "notes .* are not text"),
        (lambda f: f.raw({"a": 3}), "entry a is not made of"),
        (lambda f: f.raw({"a": ONE["a"] | {"more": 1}}, b"\0" * 4), "entry a is not made of"),
        (lambda f: f.raw({"a": ONE["a"] | {"dtype": "F3"}}, b"\0" * 4), "unknown type 'F3'"),
        (lambda f: f.raw({"a": ONE["a"] | {"dtype": []}}, b"\0" * 4), "unknown type"),
        (lambda f: f.raw({"a": ONE["a"] | {"shape": [-1]}}, b"\0" * 4), "shape of its tensor a"),
        (lambda f: f.raw({"a": ONE["a"] | {"shape": [1.5]}}, b"\0" * 4), "shape of its tensor a"),
        (lambda f: f.raw({"a": ONE["a"] | {"shape": [True]}}, b"\0" * 4), "shape of its tensor a"),
        (lambda f: f.raw({"a": ONE["a"] | {"shape": [1] * 9}}, b"\0" * 4), "shape of its tensor a"),
        (lambda f: f.raw({"a": ONE["a"] | {"data_offsets": [0, 4, 8]}}, b"\0" * 4), "place of its tensor a"),
        (lambda f: f.raw({"a": ONE["a"] | {"shape": [2]}}, b"\0" * 4), "needs 8 bytes and claims 4"),
        (lambda f: f.raw({"a": ONE["a"] | {"shape": [2**62, 2**62]}}, b"\0" * 4), "bytes and claims 4"),
        (lambda f: f.raw(two(0, 4), b"\0" * 4), "tensor b overlaps"),
        (lambda f: f.raw(two(2, 6), b"\0" * 6), "tensor b overlaps"),
        (lambda f: f.raw(two(8, 12), b"\0" * 12), "tensor b leaves a gap"),
        (lambda f: f.raw(ONE, b"\0" * 5), "need 4 bytes, but 5 follow"),
        (lambda f: f.raw(ONE, b"\0" * 3), "need 4 bytes, but 3 follow"),
        (
            lambda f: f.raw(
                {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(2_001)}
            ),
            "lists 2,001 tensors",
        ),
        (
            lambda f: f.raw(
                {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}
            ),
            "bytes; at most 1,048,576",
        ),
        (lambda f: pickle.dumps({"a": 1}, protocol=2), "Python pickle.*save_pretrained"),
        (lambda f: pickle.dumps({"a": 1}, protocol=5), "Python pickle"),
        (lambda f: b"PK\x03\x04" + b"\0" * 100, "Python pickle"),
        (lambda f: b"GGUF\x03\0\0\0" + b"\0" * 100, "GGUF file.*gguf_file"),
        (lambda f: b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "TensorFlow"),
        (lambda f: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer.*git lfs pull"),
        (lambda f: b"<!DOCTYPE html><html>", "web page.*/resolve/"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence_about_what_is_wrong(foreign, tmp_path, raw, says):
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw(foreign))
    with pytest.raises(FileError, match=says):
        read_header(path)
    with pytest.raises(FileError, match=says):
        read_checkpoint(path, foreign.shape)


def test_every_single_byte_that_is_missing_or_too_many_is_noticed(foreign, save):
    path = save(foreign.tensors())
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", whole[:8] + whole[9:]):
        path.write_bytes(damaged)
        with pytest.raises(FileError):
            read_checkpoint(path, foreign.shape)


def test_what_is_not_there_is_said(foreign, tmp_path):
    with pytest.raises(FileError, match="model.safetensors cannot be read"):
        read_checkpoint(tmp_path / "model.safetensors", foreign.shape)
    with pytest.raises(FileError):
        read_checkpoint(tmp_path, foreign.shape)


def changed(tensors, **changes):
    names = {name.replace(".", "_"): name for name in tensors}
    return tensors | {names[key]: change(tensors[names[key]]) for key, change in changes.items()}


def renamed(tensors):
    return {name.replace("ln_1", "norm_1"): t for name, t in tensors.items()}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            renamed,
            r"4 of its tensors are missing: transformer.h.0.ln_1.bias, .*4 of its tensors are unknown: "
            r"transformer.h.0.norm_1.bias",
        ),
        (lambda t: {}, r"28 of its tensors are missing: .*, …\."),
        (lambda t: t | {"x\n<img onerror=1>": torch.ones(1)}, r"1 of its tensors are unknown: .*\\n<img"),
        (lambda t: t | {"h.0.ln_1.bias": torch.ones(8)}, "two spellings"),
        (lambda t: t | {"h.2.attn.bias": torch.ones(1, 1, 8, 8)}, "unknown: transformer.h.2.attn.bias"),
        (lambda t: t | {"h.1.attn.bias": torch.ones(1, 1, 9, 9)}, "unknown: transformer.h.1.attn.bias"),
        (lambda t: t | {"lm_head.weight": torch.ones(20, 9)}, "unknown: lm_head.weight"),
        (lambda t: t | {"lm_head.weight": torch.ones(20, 8)}, "not the token table.*tie_word_embeddings"),
        (
            lambda t: changed(t, transformer_wte_weight=lambda w: w[:19].clone()),
            "wte.weight .* has the shape 19 × 8.*must have the shape 20 × 8",
        ),
        (
            lambda t: changed(t, transformer_ln_f_weight=lambda w: w.double()),
            "ln_f.weight .* type F64.*F32, F16 or BF16",
        ),
        (lambda t: changed(t, transformer_ln_f_weight=lambda w: w.long()), "ln_f.weight .* type I64"),
        (
            lambda t: changed(t, transformer_ln_f_weight=lambda w: w.to(torch.float8_e5m2)),
            "ln_f.weight .* type F8_E5M2",
        ),
        (
            lambda t: changed(
                t, transformer_h_1_ln_2_bias=lambda w: w.index_fill(0, torch.tensor(7), torch.nan)
            ),
            "h.1.ln_2.bias .* contains NaN or infinity",
        ),
        (
            lambda t: changed(t, transformer_wpe_weight=lambda w: (w * 1e30).half()),
            "wpe.weight .* contains NaN or infinity",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(foreign, save, damage, says):
    tensors = damage(foreign.tensors()) or {"x": torch.ones(1)}
    with pytest.raises(FileError, match=says):
        read_checkpoint(save(tensors), foreign.shape)


def test_only_some_matrices_turned_is_no_spelling(foreign, save):
    tensors = foreign.tensors()
    tensors["transformer.h.1.attn.c_attn.weight"] = (
        tensors["transformer.h.1.attn.c_attn.weight"].t().contiguous()
    )
    with pytest.raises(FileError, match="h.1.attn.c_attn.weight .* has the shape 24 × 8"):
        read_checkpoint(save(tensors), foreign.shape)


class Canary:
    """An object whose pickle would leave a trace when it is opened."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("how", ["pickle", "zip"])
def test_a_pickle_is_never_opened(foreign, tmp_path, how):
    path, trace = tmp_path / "pytorch_model.bin", str(tmp_path / "trace")
    if how == "zip":
        torch.save(Canary(trace), path)
    else:
        path.write_bytes(pickle.dumps(Canary(trace), protocol=4))
    with pytest.raises(FileError, match="pickle"):
        read_checkpoint(path, foreign.shape)
    assert not os.path.exists(trace)


def test_nothing_is_allocated_before_the_header_is_believed(foreign, tmp_path):
    config = dataclasses.replace(foreign.shape, n_embd=1600, n_layer=48)
    shapes = expected_shapes(config)
    path, begin, header = tmp_path / "model.safetensors", 0, {}
    for name, shape in shapes.items():
        end = begin + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    path.write_bytes(foreign.raw(header, b"\0" * 1000))  # where six gigabytes should follow
    text = len(json.dumps(header))
    tracemalloc.start()
    with pytest.raises(FileError, match="but 1,000 follow"):
        read_checkpoint(path, config)
    assert tracemalloc.get_traced_memory()[1] < 30 * text
    tracemalloc.stop()
