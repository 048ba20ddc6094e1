"""Every setting that cannot work is refused in sentences, before anything is allocated."""

import dataclasses
import json
import math
import re

import pytest

from gpt2demo.errors import ConfigError, LimitError, UserError
from gpt2demo.model.config import preset
from gpt2demo.training.config import TrainingConfig, check_fits, planned_memory, recipe

WHOLE = ["steps", "batch_size", "length", "seed", "threads", "milestones"]
REAL = ["learning_rate", "warmup", "final_learning_rate", "weight_decay", "gradient_clip", "beta2"]
REAL += ["snapshot_megabytes", "checkpoint_seconds"]
NOT_NUMBERS = [math.nan, math.inf, -math.inf, True, "12", [12], -1, 1e9, 10**400]


def refused(make_config, **changes):
    with pytest.raises(UserError) as caught:
        make_config(**changes)
    for sentence in (caught.value.got, caught.value.needed, caught.value.todo):
        assert sentence[0].isupper() or sentence.startswith(tuple(changes))
        assert sentence.endswith((".", "…")) and len(sentence) < 200
    return caught.value


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda v: str(v)[:8])
@pytest.mark.parametrize("name", [*WHOLE, *REAL, "minutes"])
def test_what_is_no_number_in_range_is_refused(make_config, name, value):
    if name == "seed" and value == 1e9:
        assert make_config(seed=value).seed == 10**9
        return
    error = refused(make_config, **{name: value})
    assert isinstance(error, LimitError) and error.got.startswith(f"{name} is ")


@pytest.mark.parametrize("name", [*WHOLE, *REAL])
def test_none_is_refused(make_config, name):
    with pytest.raises(UserError):
        dataclasses.replace(make_config(), **{name: None})


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_may_be_written_with_a_point_zero(make_config, name):
    config = make_config(**{name: 12.0})
    assert getattr(config, name) == 12 and type(getattr(config, name)) is int
    refused(make_config, **{name: 12.5})


@pytest.mark.parametrize("bad", ["sgd", "", "AdamW", "<b>" * 1000, 7, ["adamw"]])
def test_unknown_names_are_refused(make_config, bad):
    for field in ("optimizer", "decay", "batches"):
        with pytest.raises(ConfigError, match=f"^{field} is .* It must be .* or "):
            dataclasses.replace(make_config(), **{field: bad})


def test_a_run_has_one_budget(make_config):
    with pytest.raises(ConfigError, match="no budget"):
        dataclasses.replace(make_config(), steps=None)
    with pytest.raises(ConfigError, match="two budgets"):
        dataclasses.replace(make_config(), minutes=1.0)


def test_the_sample_prompt_is_a_short_text(make_config):
    assert make_config(sample_prompt="Es war " * 100).sample_prompt
    refused(make_config, sample_prompt="x" * 1001)
    refused(make_config, sample_prompt=5)


def test_settings_survive_json(make_config):
    config = make_config("muon", sample_prompt="„ä“", learning_rate=1 / 3, checkpoint_seconds=0.5)
    assert TrainingConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "foreign", [{"optimiser": "adamw"}, {"__class__": 1}, {"steps": None}, {"sample_prompt": None}]
)
def test_foreign_settings_are_refused(make_config, foreign):
    with pytest.raises(ConfigError):
        TrainingConfig.from_json(make_config().to_json() | foreign)
    for other in ([], {}, "adamw", 3, None):
        with pytest.raises(ConfigError, match="settings cannot be read"):
            TrainingConfig.from_json(other)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("size", ["nano", "mini", "gpt2-xl"])
def test_every_recipe_is_a_whole_one(optimizer, size):
    model = preset(size, vocab_size=100)
    config = recipe(optimizer, model)
    assert config.length == model.n_positions and config.steps
    assert recipe(optimizer, model, minutes=2.0, steps=None).steps is None
    assert recipe(optimizer, model, batch_size=3, seed=None) == dataclasses.replace(config, batch_size=3)


def test_recipes_refuse_unknown_optimisers_and_want_smaller_steps_for_wider_models():
    with pytest.raises(ConfigError, match="'lion'"):
        recipe("lion", preset("nano", vocab_size=100))
    rates = [recipe("muon", preset(size, vocab_size=100)).learning_rate for size in ("nano", "mini", "gpt2")]
    assert rates[0] > rates[1] > rates[2]


@pytest.mark.parametrize("gigabytes", [0.7, 1, 2, 7.7])
def test_what_does_not_fit_is_refused_with_the_largest_batch_that_does(gigabytes):
    model = preset("mini", vocab_size=8_000)
    config = recipe("muon", model, batch_size=512)
    memory = int(gigabytes * 1e9)
    with pytest.raises(LimitError, match=r"needs about [\d.]+ GB") as caught:
        check_fits(model, config, memory_bytes=memory)
    largest = int(re.search(r"largest batch that fits is (\d+)\.", str(caught.value)).group(1))
    check_fits(model, dataclasses.replace(config, batch_size=largest), memory_bytes=memory)
    with pytest.raises(LimitError):
        check_fits(model, dataclasses.replace(config, batch_size=largest + 1), memory_bytes=memory)


def test_a_model_that_never_fits_is_told_so():
    model = preset("gpt2-xl", vocab_size=50_257)
    with pytest.raises(LimitError, match="Choose a smaller model"):
        check_fits(model, recipe("adamw", model, batch_size=1), memory_bytes=10**9)


def test_what_needs_all_the_memory_there_is_fits(shape, make_config):
    need = planned_memory(shape, make_config()).peak
    check_fits(shape, make_config(), memory_bytes=need)
    with pytest.raises(LimitError):
        check_fits(shape, make_config(), memory_bytes=need - 1)


def test_the_longer_a_run_of_muon_the_smaller_its_steps(shape):
    rates = [recipe("muon", shape, steps=steps).learning_rate for steps in (1, 600, 2_025, 16_200, 10**6)]
    assert rates == pytest.approx([0.03, 0.03, 0.02, 0.015, 0.015], rel=1e-3)
    assert (
        recipe("muon", shape, minutes=0.05).learning_rate >= recipe("muon", shape, minutes=60).learning_rate
    )
    assert recipe("muon", shape, steps=10**6, learning_rate=0.04).learning_rate == 0.04
    assert len({recipe("adamw", shape, steps=steps).learning_rate for steps in (1, 10**6)}) == 1
