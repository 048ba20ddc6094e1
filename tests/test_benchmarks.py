"""The benchmarks run and print what they promise; how fast anything is, no test asks."""

import json

from gpt2demo.__main__ import parser
from gpt2demo.commands.shape import shape_of
from tests.benchmarks import kills, quantization, training_step, variants


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_quantization_says_what_each_precision_costs_and_saves(capsys):
    quantization.main(["--tokens", "3", "--rounds", "1", "--train", "1"])
    facts = last_line(capsys)
    sizes = [facts[precision]["bytes"] for precision in ("fp32", "bf16", "int8")]
    # in int8 the table that reads tokens and writes them is there twice, in two layouts
    assert sizes[1] == sizes[0] / 2 and sizes[2] < 0.33 * sizes[0]
    assert all(facts[precision]["tokens_per_second"] > 0 for precision in ("fp32", "bf16", "int8"))
    losses = [facts[precision]["validation_loss"] for precision in ("fp32", "bf16", "int8")]
    assert max(losses) - min(losses) < 0.01
    assert facts["few_bits"]["2"]["as it is"] > facts["few_bits"]["8"]["as it is"] + 1
    quantization.main(["--preset", "pico", "--vocab-size", "50", "--tokens", "2", "--rounds", "1"])
    assert last_line(capsys)["int8"]["validation_loss"] is None


def test_a_training_step_is_measured_with_each_knob(capsys):
    words = "--preset pico --vocab-size 50 --batch-size 1 --steps 1 --rounds 1"
    training_step.main(words.split())
    facts = last_line(capsys)["pico"]
    assert set(facts) == set(training_step.KNOBS)
    assert all(row["tokens_per_second"] > 0 and row["peak_bytes"] > 0 for row in facts.values())


def test_variants_are_trained_one_after_the_other(capsys, tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 100, encoding="utf-8")
    words = ["--text", str(tmp_path / "text.txt"), "--seconds", "3", "--preset", "pico", "--threads", "1"]
    variants.main([*words, "--only", "bigram table"])
    lines = capsys.readouterr().out.splitlines()
    (row,) = json.loads(lines[-1])["rows"]
    assert row["variant"] == "bigram table" and row["steps"] > 0 and row["validation loss"] > 0
    assert lines[2].startswith("| bigram table | ") and len(lines) == 4


def test_every_variant_of_the_table_is_one_that_can_be_built():
    for options in variants.VARIANTS.values():
        given = parser().parse_args(["train", "--preset", "nano", *options])
        assert shape_of(given, 65).vocab_size == 65


def test_kills_say_what_came_of_them(capsys):
    kills.main("--kills 2 --per-run 1 --steps 40".split())
    facts = last_line(capsys)
    assert facts["kills"] == facts["runs"] == 2 and facts["differences"] == []
    assert facts["steps compared"] == 2 * 41
