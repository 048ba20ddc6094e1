"""What a size is made of: OpenAI's numbers, formulas beside counts, and the command that prints them."""

import json
import re

import pytest

from gpt2demo.__main__ import main
from gpt2demo.commands.anatomy import counted_by_part
from gpt2demo.model.anatomy import flops_per_token, lstm_width, parameters_by_part
from gpt2demo.model.config import PRESETS, preset


def facts(capsys, words):
    assert main(["anatomy", *words.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines, json.loads(lines[-1])


@pytest.mark.parametrize(
    ("name", "tied", "untied"),
    [
        ("gpt2", 124_439_808, 163_037_184),
        ("gpt2-medium", 354_823_168, 406_286_336),
        ("gpt2-large", 774_030_080, 838_359_040),
        ("gpt2-xl", 1_557_611_200, 1_638_022_400),
    ],
)
def test_openais_sizes_have_the_parameters_that_the_field_knows(name, tied, untied, capsys):
    lines, said = facts(capsys, f"--preset {name}")
    assert (said["parameters"]["tied"], said["parameters"]["untied"]) == (tied, untied)
    rows = {line.split()[1]: line.split()[-2:] for line in lines if line.startswith("all, ")}
    assert rows == {"tied": [f"{tied:,}"] * 2, "untied": [f"{untied:,}"] * 2}


@pytest.mark.parametrize("name", PRESETS)
def test_formulas_and_counts_agree_part_by_part(name):
    model = preset(name, vocab_size=1_000)
    assert counted_by_part(model) == parameters_by_part(model)


def test_every_part_stands_beside_its_formula(capsys):
    lines, said = facts(capsys, "--preset nano --vocab-size 65")
    d, d_ff, L, V, n = 128, 512, 4, 65, 64
    for part, formula, value in (
        ("token embeddings", "V·d", V * d),
        ("position embeddings", "n·d", n * d),
        ("attention", "L·(4·d² + 4·d)", L * (4 * d * d + 4 * d)),
        ("MLP", "L·(2·d·d_ff + d_ff + d)", L * (2 * d * d_ff + d_ff + d)),
        ("layer norms", "(2·L + 1)·2·d", (2 * L + 1) * 2 * d),
    ):
        row = next(line for line in lines if line.startswith(part))
        assert formula in row and row.split()[-2:] == [f"{value:,}"] * 2
        assert said["parameters"]["counted"][part] == value


@pytest.mark.parametrize(
    "words",
    [
        "--n-experts 4 --lm-head-bias --no-tie-word-embeddings",
        "--no-bias --norm post --positions rotary --n-inner 100",
        "--architecture lstm",
        "--architecture bigram",
    ],
)
def test_the_letters_of_every_variant_come_to_what_is_counted(words, capsys):
    lines, said = facts(capsys, f"--preset nano --vocab-size 65 {words}")
    model = preset("nano", vocab_size=65, **said["variants"])
    letters = {"d_ff": model.mlp_width, "d": 128, "L": 4, "V": 65, "n": 64, "E": model.n_experts}
    letters["w"] = lstm_width(model)
    counted = said["parameters"]["counted"]
    for part, count in counted.items():
        row = next(line for line in lines if line.startswith(part))
        formula = row[22:49].strip()
        sums = re.sub(r"d_ff|[dLVnEw]", lambda m: str(letters[m[0]]), formula)
        assert eval(sums.replace("·", "*").replace("²", "**2")) == count, formula


def test_operations_are_split_into_what_grows_with_the_text_and_with_its_square(capsys):
    _, short = facts(capsys, "--length 256")
    _, long = facts(capsys, "--length 1024")
    assert short["flops_per_token"]["matrices"] == long["flops_per_token"]["matrices"]
    assert 3.9 < long["flops_per_token"]["attention"] / short["flops_per_token"]["attention"] < 4
    total = sum(long["flops_per_token"].values())
    assert total == pytest.approx(flops_per_token(preset("gpt2", vocab_size=50_257), 1_024), abs=1)


def test_memory_is_printed_and_measured_when_asked(capsys):
    words = "--preset pico --vocab-size 50 --length 32 --batch-size 2"
    lines, plain = facts(capsys, words)
    _, half = facts(capsys, words + " --precision bf16")
    assert "measured" not in plain and plain["memory"]["activations"] > half["memory"]["activations"]
    lines, said = facts(capsys, words + " --measure")
    assert said["measured"]["allocated"] == pytest.approx(said["memory"]["peak"], rel=0.1)
    assert any(line.startswith("measured peak") and line.endswith(" MB") for line in lines)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--vocab-size 0", "vocab_size is 0"),
        ("--length 5000", "length is 5000"),
        ("--batch-size 0", "batch_size is 0"),
        ("--preset gpt2-xl --batch-size 500 --measure", "needs about"),
    ],
)
def test_mistakes_are_told_in_sentences(words, says, capsys):
    assert main(["anatomy", *words.split()]) == 2
    assert says in capsys.readouterr().err
