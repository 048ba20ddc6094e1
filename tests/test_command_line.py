"""The command line does what the README says, and tells mistakes in sentences."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gpt2demo.__main__ import main, parser
from gpt2demo.commands.models import load_model
from gpt2demo.commands.train import SAMPLE_TOKENS, new_run, write_sample
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.lock import hold

TEXT = "The fox sat by the sea. The owl sang to the fox, and the sea was still.\n" * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of ten steps, made by the command itself."""
    folder = tmp_path_factory.mktemp("command")
    (folder / "fox.txt").write_text(TEXT, encoding="utf-8")
    words = (
        f"train --text {folder / 'fox.txt'} --preset nano --context 16 --steps 10 --batch-size 4 --threads 1"
    )
    finished = subprocess.run(
        [sys.executable, "-m", "gpt2demo", *words.split(), "--seed", "3", "--out", str(folder / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(finished.stdout.splitlines()[-1])
    names = {"run", "step", "tokens", "train_loss", "val_loss", "seconds", "tokens_per_second", "parameters"}
    assert names <= set(result)
    assert result["step"] == 10 and result["tokens"] == 10 * 4 * 16 and result["state"] == "done"
    assert 0 < result["val_loss"] < 4
    return folder / "run"


def test_the_same_command_gives_the_same_weights(run, tmp_path, capsys):
    text = run.parent / "fox.txt"
    words = f"train --text {text} --preset nano --context 16 --steps 10 --batch-size 4 --threads 1 --seed 3"
    assert main([*words.split(), "--out", str(tmp_path / "again")]) == 0
    first, again = (load_file(path / "model.safetensors") for path in (run, tmp_path / "again"))
    assert all(torch.equal(first[name], again[name]) for name in first)


SMALL = "--preset nano --context 16 --steps 1 --batch-size 1 --threads 1"


def repeated(folder: Path, path: Path) -> bool:
    """Runs the command that a run says would make it again, somewhere else; tells whether it did."""
    words = shlex.split(json.loads((folder / "run.json").read_text())["command"])
    assert main([*words[3:-1], str(path)]) == 0
    first, again = ((run / "tokenizer.json").read_bytes() for run in (folder, path))
    weights, same = (load_file(run / "model.safetensors") for run in (folder, path))
    return first == again and all(torch.equal(weights[name], same[name]) for name in weights)


@pytest.mark.parametrize("frequency", [1, 40])
def test_a_run_on_words_writes_words_and_can_be_made_again(frequency, tmp_path, capfd):
    text, folder = tmp_path / "fox.txt", tmp_path / "words"
    words = f"train --text {text} --tokenizer word --min-frequency {frequency} --batches padded {SMALL}"
    text.write_text(TEXT.replace("\n", " rare.\n\n", 1).replace("still.\n", "still.\n\n"), encoding="utf-8")
    assert main([*words.split(), "--vocab-size", "9000", "--out", str(folder)]) == 0
    known = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert ("rare" in known) == (frequency == 1) and ("owl" in known) and len(known) < 20
    command = json.loads((folder / "run.json").read_text())["command"]
    assert f"--min-frequency {frequency} " in command and "--batches padded" in command
    assert repeated(folder, tmp_path / "again")
    capfd.readouterr()
    assert main(["generate", "--model", str(folder), "--prompt", "The fox", "--max-new-tokens", "9"]) == 0
    written = capfd.readouterr().out.removesuffix("\n")
    model, tokenizer, _ = load_model(str(folder), None)
    assert written.startswith("The fox") and len(tokenizer.encode(written)) == 2 + 9
    sample = "The fox" + write_sample(model, tokenizer, "The fox", seed=0)
    assert len(tokenizer.encode(sample)) == 2 + SAMPLE_TOKENS


def test_gpt2s_tokenizer_is_read_from_its_folder(run, tmp_path, capfd):
    tokenizer = train_tokenizer("bpe", ["nothing of that text, nothing at all"], 300)
    (tmp_path / "my files").mkdir()
    (tmp_path / "my files" / "vocab.json").write_text(
        json.dumps({t: i for i, t in enumerate(tokenizer.vocabulary)})
    )
    (tmp_path / "my files" / "merges.txt").write_text(
        "\n".join(map(" ".join, tokenizer.merges)), encoding="utf-8"
    )
    words = f"train --text {run.parent / 'fox.txt'} --tokenizer gpt2 {SMALL} --out {tmp_path / 'run'}"
    assert main([*words.split(), "--tokenizer-files", str(tmp_path / "my files")]) == 0
    assert Tokenizer.load(tmp_path / "run" / "tokenizer.json").sha256 == tokenizer.sha256
    assert repeated(tmp_path / "run", tmp_path / "again")


VARIANTS = {
    "architecture": "lstm", "norm": "post", "activation": "relu", "positions": "rotary", "attention": "local",
    "attention_window": 3, "global_tokens": 2, "n_experts": 3, "n_inner": 40, "n_layer": 1, "n_head": 1,
    "n_embd": 32, "bias": False, "tie_word_embeddings": False, "lm_head_bias": True, "init": "xavier",
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_is_an_option_that_the_run_remembers(name, run, tmp_path, capsys):
    value, option = VARIANTS[name], name.replace("_", "-")
    switch = f"--{option}" if value else f"--no-{option}"
    chosen = [switch] if isinstance(value, bool) else [f"--{option}", str(value)]
    words = f"train --text {run.parent / 'fox.txt'} {SMALL} --out {tmp_path / 'run'}"
    folder = new_run(parser().parse_args([*words.split(), *chosen]))
    assert getattr(folder.config(), name) == value
    words = shlex.split(folder.facts().command)
    assert words[words.index(chosen[0]) :][: len(chosen)] == chosen
    again = new_run(parser().parse_args([*words[3:-1], str(tmp_path / "again")]))
    assert again.config() == folder.config() and again.facts().training == folder.facts().training


def test_how_a_run_learns_is_chosen_and_remembered(run, tmp_path):
    how = "--optimizer adam --decay wsd --warmup 0.1 --final-learning-rate 0.2 --weight-decay 0.05"
    how += " --gradient-clip 0.5 --beta2 0.9 --accumulation 2 --evaluate-every 3 --patience 4"
    words = f"train --text {run.parent / 'fox.txt'} {SMALL} {how} --out {tmp_path / 'run'}"
    folder = new_run(parser().parse_args(words.split()))
    training = folder.facts().training
    assert (training.optimizer, training.decay, training.rows, training.patience) == ("adam", "wsd", 2, 4)
    again = shlex.split(folder.facts().command)[3:-1]
    assert new_run(parser().parse_args([*again, str(tmp_path / "again")])).facts().training == training


def test_a_model_goes_on_learning_from_another_text(run, tmp_path, capsys):
    (tmp_path / "owl.txt").write_text("the owl sang to the sea. " * 60, encoding="utf-8")
    words = f"train --from {run} --from-step 0 --text {tmp_path / 'owl.txt'} --context 8 --batch-size 2"
    assert main([*words.split(), "--steps", "6", "--threads", "1", "--out", str(tmp_path / "fine")]) == 0
    before, fine = RunFolder(run), RunFolder(tmp_path / "fine")
    old, _ = before.load_model(0)
    first, _ = fine.load_model(0)
    assert all(
        torch.allclose(a, b, atol=1e-3) for a, b in zip(old.parameters(), first.parameters(), strict=True)
    )
    assert (tmp_path / "fine" / "tokenizer.json").read_bytes() == (run / "tokenizer.json").read_bytes()
    assert fine.config() == before.config() and fine.facts().started_from.endswith(", step 0")
    losses = [record.train_loss for record in fine.journal().steps()]
    assert losses[-1] < losses[0]
    assert repeated(fine.path, tmp_path / "again")


def test_fine_tuning_keeps_shape_and_tokens(run, tmp_path, capsys):
    base = f"train --from {run} --text {run.parent / 'fox.txt'} --steps 1 --out {tmp_path / 'fine'}"
    for more in ("--n-layer 2", "--tokenizer bpe", "--preset mini", "--no-bias"):
        assert main([*base.split(), *more.split()]) == 2
        assert "keeps its shape and its tokenizer" in capsys.readouterr().err
    (tmp_path / "signs.txt").write_text("§§ signs that it never saw §§ " * 40, encoding="utf-8")
    assert main(base.replace(str(run.parent / "fox.txt"), str(tmp_path / "signs.txt")).split()) == 2
    assert "§" in capsys.readouterr().err
    assert not (tmp_path / "fine").exists()


def test_a_run_with_every_knob_can_be_made_again(run, tmp_path):
    knobs = "--precision bf16 --gradient-checkpointing --quantization-aware"
    words = f"train --text {run.parent / 'fox.txt'} {SMALL} {knobs} --out {tmp_path / 'knobs'}"
    assert main(words.split()) == 0
    training = RunFolder(tmp_path / "knobs").facts().training
    assert (training.precision, training.gradient_checkpointing, training.quantization_aware) == (
        "bf16",
        True,
        True,
    )
    command = RunFolder(tmp_path / "knobs").facts().command
    assert knobs in command
    assert repeated(tmp_path / "knobs", tmp_path / "again")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_generate_writes_in_every_precision(run, precision, capfd):
    words = ["generate", "--model", str(run), "--max-new-tokens", "2", "--json", "--temperature", "0"]
    records = []
    for more in ([], ["--precision", precision]):
        assert main([*words, *more]) == 0
        records.append([json.loads(line) for line in capfd.readouterr().out.splitlines()])
    usual, asked = (lines[0]["top"][0]["logit"] for lines in records)
    assert asked == pytest.approx(usual, rel=0.1)
    assert (asked == usual) == (precision == "fp32")


def test_generate_prints_the_prompt_and_its_continuation(run, capfdbinary):
    words = ["generate", "--model", str(run), "--prompt", "The fox", "--max-new-tokens", "20", "--seed", "1"]
    assert main(words) == 0
    first = capfdbinary.readouterr().out.decode()
    assert first.startswith("The fox") and len(first) == len("The fox") + 20 + 1
    main(words)
    assert capfdbinary.readouterr().out.decode() == first
    main([*words[:-1], "2"])
    assert capfdbinary.readouterr().out.decode() != first


def test_generate_as_json_holds_the_whole_step(run, capfd):
    options = ["--max-new-tokens", "3", "--temperature", "0", "--top-k", "5", "--json"]
    assert main(["generate", "--model", str(run), *options]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert all(line["rank"] == 1 and len(line["top"]) >= 5 and line["bytes"] for line in lines)


def test_inspect_saves_the_arrays(run, tmp_path, capsys):
    out = tmp_path / "seen.npz"
    assert main(["inspect", "--model", str(run), "--text", "The fox", "--out", str(out)]) == 0
    with np.load(out) as arrays:
        assert arrays["tokens"].shape == (7,)
        assert arrays["attention"].shape == (4, 4, 7, 7)
        assert arrays["residual"].shape == (5, 7, 128)
        assert np.allclose(arrays["attention"].sum(-1), 1, atol=1e-5)


def test_heads_prints_every_head(run, capsys):
    assert main(["heads", "--model", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 16 + 1
    assert set(json.loads(lines[-1])["best"]) == {"previous", "first", "duplicate", "induction"}


def test_an_earlier_step_can_be_asked_for(run, capfd):
    words = ["generate", "--model", str(run), "--max-new-tokens", "5", "--step"]
    assert main([*words, "0"]) == 0
    assert main([*words, "7777"]) == 2
    assert "step 7777 were not kept" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train", "no text to begin with"),
        ("train --text missing.txt --out x", "cannot be read"),
        ("train /nowhere/at/all", "no run in all"),
        ("generate --model /nowhere", "no run in nowhere"),
        ("generate --model RUN --temperature 9", "temperature is 9"),
        ("generate --model RUN --top-k 0", "top"),
        ("generate --model RUN --prompt Z", "Z"),
        ("inspect --model RUN --text é --out x.npz", "é"),
        ("train --text FOX --steps 0 --out y", "steps is 0"),
        ("train RUN --slower", "did not diverge"),
        ("train nowhere --slower", "no run in nowhere"),
        ("train --text FOX --slower --out y", "no run"),
        ("train --text FOX --context 5000 --out y", "n_positions is 5000"),
        ("train --text FOX --out RUN", "not empty"),
        ("train --text FOX --precision fp16 --out y", "precision is 'fp16', but this machine has no GPU"),
        ("train --text FOX --tokenizer gpt2 --out y", "--tokenizer-files FOLDER"),
        ("train --text FOX --tokenizer gpt2 --tokenizer-files nowhere --out y", "no tokenizer in 'nowhere'"),
        ("train --text FOX --tokenizer word --min-frequency 0 --out y", "minimum frequency is 0"),
        (
            "train --text FOX --batches padded --context 1024 --tokenizer word --steps 1 --out y",
            "1 padded row",
        ),
    ],
)
def test_mistakes_are_told_in_sentences(run, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    places = {"RUN": str(run), "FOX": str(run.parent / "fox.txt")}
    assert main([places.get(word, word) for word in words.split()]) == 2
    told = capsys.readouterr().err
    assert says in told and "Traceback" not in told
    assert not any(tmp_path.iterdir()), "a refused command leaves nothing behind"


def test_a_run_that_diverged_is_trained_slower(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    again = RunFolder(tmp_path / "run")
    shutil.rmtree(again.path / "checkpoints")
    again.journal().tell(state="failed", diverged_at=7)
    assert main(["train", str(again.path), "--slower"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == 10
    usual, slower = (folder.journal().steps() for folder in (RunFolder(run), again))
    assert [r.learning_rate for r in slower] == pytest.approx([r.learning_rate / 10 for r in usual])
    assert len(slower) == 11 and slower[9].train_loss > usual[9].train_loss


def test_a_run_that_is_trained_elsewhere_is_left_alone(run, capsys):
    journal = RunFolder(run).journal()
    journal.tell(wanted="stop")  # meant for whoever trains it
    with hold(RunFolder(run).lock):
        assert main(["train", str(run)]) == 2
    assert "is being trained already" in capsys.readouterr().err
    assert journal.status().wanted == "stop"


def test_help_reads_well(capsys):
    for words in (["--help"], ["train", "--help"], ["generate", "--help"], ["inspect", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
    assert "--minutes" in capsys.readouterr().out


def test_read_says_how_surprising_a_text_is_and_what_was_copied(run, tmp_path, capsys):
    file = tmp_path / "read.txt"
    file.write_text("The fox sat by the sea. The sea and the owl.", encoding="utf-8")
    assert main(["read", str(run), "--text-file", str(file)]) == 0
    head, own, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-3:] == ["bits/char", "right", "copied"] and own.startswith("this text")
    assert lines[0].startswith("training") and lines[0].endswith("100.0%") and lines[1].startswith("held-out")
    assert lines[2].startswith("copied, ") and "'The fox sat by the sea. The " in lines[2]
    assert main(["read", str(run), "--text-file", str(file), "--json", "--least", "8", "--step", "10"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["characters"] == 44 and said["step"] == 10 and 0 < said["copied"] <= 1
    assert said["compared"]["held_out"]["tokens"] > 100 and len(said["by_token"]) == said["tokens"]
    numbers = f"{said['bits_per_character']:.3f}"
    assert numbers in own
    (run.parent / "bare").mkdir(exist_ok=True)
    bare = shutil.copytree(run, run.parent / "bare" / "run", dirs_exist_ok=True)
    (bare / "corpus.json").unlink()
    assert main(["read", str(bare), "--text-file", str(file)]) == 0
    assert "held-out      is not here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (b"", "", "empty|no text"),
        (b"\xe4", "", "UTF-8|encoding|not text"),
        (b"The sea. " * 120_000, "", "1,080,000 characters"),
        (b"x" * (50 * 2**20), "", "At most 12 MB"),
        (None, "", "cannot be read"),
        (b"The sea was still.", "--least 3", "length of a passage is 3"),
        (b"The sea was still.", "--step 7", "step 7"),
    ],
    ids=["empty", "odd-byte", "1MB", "50MB", "missing", "least", "step"],
)
def test_read_refuses_in_sentences(run, tmp_path, capsys, content, more, said):
    file = tmp_path / "read.txt"
    if content is not None:
        file.write_bytes(content)
    assert main(["read", str(run), "--text-file", str(file), *more.split()]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert main(["read", str(tmp_path), "--text-file", str(file)]) == 2
    assert "no run" in capsys.readouterr().err


def test_precision_measures_what_fewer_bits_cost_on_held_out_text_and_on_yours(run, tmp_path, capsys):
    assert main(["precision", "--model", str(run), "--json"]) == 0
    bf16, int8 = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (bf16["precision"], int8["precision"]) == ("bf16", "int8") and bf16["loss"] == int8["loss"]
    assert int8["weights_then"] < int8["weights"] and bf16["tokens"] > 9
    own = tmp_path / "own.txt"
    own.write_text("The fox", encoding="utf-8")
    assert main(["precision", "--model", str(run), "--text-file", str(own)]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 2 and "nats per token on 7," in said
    own.write_text("x" * 20_001, encoding="utf-8")
    assert main(["precision", "--model", str(run), "--text-file", str(own)]) == 2
