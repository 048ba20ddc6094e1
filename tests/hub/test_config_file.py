"""A config.json from anywhere describes a model that can be, or is refused by the name of the field."""

import json

import pytest

from gpt2demo.errors import ConfigError, FileError, LimitError, UserError
from gpt2demo.hub.config_file import loading_memory, read_config
from gpt2demo.hub.strict_json import fields_of, read_json_object
from gpt2demo.model.config import GPT2Config, preset

HUB = {  # as OpenAI's smallest model says it on the Hub
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "config.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def test_the_hubs_own_config_is_read(write):
    assert read_config(write(HUB)) == preset("gpt2", vocab_size=50257)


def test_a_byte_order_mark_is_no_harm(write):
    assert read_config(write(b"\xef\xbb\xbf" + json.dumps(HUB).encode())) == GPT2Config()


def test_whole_numbers_may_be_written_with_a_point(write):
    config = read_config(write(HUB | {"n_embd": 768.0, "n_layer": 3.0}))
    assert config.n_layer == 3 and type(config.n_embd) is type(config.n_layer) is int


def test_every_variant_comes_back_as_it_was_written(write):
    for changes in (
        {"norm": "post"},
        {"positions": "rotary", "n_embd": 16},
        {"n_experts": 4},
        {"bias": False},
    ):
        config = GPT2Config(**{"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9} | changes)
        assert read_config(write(config.to_json())) == config


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1,}', "is not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"\xff\xfe{\0}\0", "not UTF-8 at its byte 0"),
        (b'{"n_embd": "\xe9"}', "not UTF-8 at its byte 12"),
        (b'{"n_embd": NaN}', "says NaN"),
        (b'{"n_embd": -Infinity}', "says -Infinity"),
        (b'{"n_embd": 1e999}', "1e999, which is too large"),
        (b'{"n_embd": ' + b"9" * 5_000 + b"}", "number of 5,000 digits"),
        (b'{"a": 1, "a": 2}', "same name twice"),
        (b'{"a":' * 21 + b"1" + b"}" * 21, "deeper than 20 levels"),
        (b'{"a":' + b"[" * 60_000, "deeper than 20 levels"),
        (b" " * 65_537, "larger than 65,536 bytes"),
    ],
)
def test_what_is_not_strict_json_is_refused(write, content, says):
    with pytest.raises(FileError, match=says):
        read_config(write(content))


def test_twenty_levels_are_allowed(write):
    path = write(b'{"a":' * 20 + b"1" + b"}" * 20)
    assert read_json_object(path, max_bytes=1_000)


def test_a_config_that_is_not_there_is_missed(tmp_path):
    with pytest.raises(FileError, match="no config.json"):
        read_config(tmp_path / "config.json")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(FileError, match="no config.json"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"n_layer": -1}, LimitError, "n_layer is -1.*nearest value that works is 1"),
        ({"n_layer": 49}, LimitError, "n_layer is 49.*nearest value that works is 48"),
        ({"n_head": 5}, ConfigError, "n_head is 5, but n_embd is 768.*nearest .* n_head = [46]"),
        ({"vocab_size": 10**12}, LimitError, "vocab_size is 1000000000000.*60,000"),
        ({"n_positions": 2048}, LimitError, "n_positions is 2048.*1,024"),
        ({"n_embd": 1601}, LimitError, "n_embd is 1601.*1,600"),
        ({"n_embd": 7.5}, LimitError, "n_embd is 7.5"),
        ({"n_embd": True}, LimitError, "n_embd is True"),
        ({"n_embd": "768"}, LimitError, "n_embd is '768'"),
        ({"n_embd": None}, LimitError, "n_embd is not given"),
        ({"n_inner": 10**9}, LimitError, "n_inner is 1000000000"),
        ({"layer_norm_epsilon": -1}, LimitError, "layer_norm_epsilon is -1"),
        ({"resid_pdrop": 7}, LimitError, "dropout is 7"),
        ({"activation_function": "swish"}, ConfigError, "activation is 'swish'.*gelu_new"),
        ({"model_type": "llama"}, ConfigError, "model_type is 'llama'.*gpt2"),
        ({"scale_attn_weights": False}, ConfigError, "scale_attn_weights is False"),
        ({"tie_word_embeddings": "yes"}, ConfigError, "tie_word_embeddings is 'yes'"),
        ({"gpt2demo": {"evil": 1}}, ConfigError, "evil"),
        ({"gpt2demo": {"norm": ["pre"]}}, ConfigError, "norm is"),
    ],
)
def test_an_impossible_model_is_refused_by_its_field(write, changes, error, says):
    with pytest.raises(error, match=says):
        read_config(write(HUB | changes))


def test_a_config_without_sizes_is_refused(write):
    with pytest.raises(ConfigError, match="names only n_embd"):
        read_config(write({"n_embd": 8}))


def test_a_model_too_large_for_the_memory_is_refused_with_one_that_fits(write):
    path = write(preset("gpt2-xl", vocab_size=50257).to_json())
    need = loading_memory(preset("gpt2-xl", vocab_size=50257))
    assert read_config(path, memory_bytes=need)
    with pytest.raises(LimitError, match=r"1,557,611,200 parameters.*12\.5 GB.*lends 4\.0 GB.*gpt2-medium"):
        read_config(path, memory_bytes=4_000_000_000)
    with pytest.raises(LimitError, match="Choose a smaller model"):
        read_config(path, memory_bytes=1_000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "the field steps is missing.*a whole number or null"),
        ({"steps": "3"}, "the field steps is '3'"),
        ({"steps": True}, "the field steps is True"),
        ({"steps": 1.5}, r"the field steps is 1\.5"),
    ],
)
def test_fields_of_a_wrong_type_are_named(content, says):
    with pytest.raises(UserError, match=says):
        fields_of(content, "state.json", {"steps": (int, type(None))})
    assert fields_of({"steps": None, "more": 1}, "x", {"steps": (int, type(None))}) == {"steps": None}
