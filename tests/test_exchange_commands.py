"""The commands that take models out and bring them in, as a person types them."""

import functools
import json
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2demo.__main__ import main
from gpt2demo.commands import exchange
from gpt2demo.hub.download import Hub
from gpt2demo.training.folder import RunFolder
from tests.hub.stub_hub import StubHub

STARTER = Path(__file__).parents[1] / "assets" / "starter"
PROMPT = "Once upon a time"


def written(model, capfd):
    """What a model writes greedily."""
    words = [
        "generate",
        "--model",
        str(model),
        "--prompt",
        PROMPT,
        "--temperature",
        "0",
        "--max-new-tokens",
        "12",
    ]
    assert main(words) == 0
    return capfd.readouterr().out


def answer(capfd):
    out, err = capfd.readouterr()
    return json.loads(out.splitlines()[-1]), err


def test_the_starter_goes_out_as_a_folder_and_comes_back_as_a_run(tmp_path, capfd):
    assert main(["export", "starter", "--out", str(tmp_path / "out")]) == 0
    assert answer(capfd)[0]["out"] == str(tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    inputs = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    ids = theirs.generate(input_ids=inputs, max_new_tokens=12, do_sample=False, pad_token_id=0)
    assert tokenizer.decode(ids[0]) == written("starter", capfd).removesuffix("\n")

    assert main(["import", str(tmp_path / "out"), "--out", str(tmp_path / "run")]) == 0
    facts, _ = answer(capfd)
    assert facts["title"] == "Starter" and facts["trainable"] and facts["parameters"] == 470_528
    assert written(tmp_path / "run", capfd) == written("starter", capfd)
    assert len(RunFolder(tmp_path / "run").journal().steps()) > 6_000


def test_a_zip_goes_out_and_comes_back(tmp_path, capfd):
    assert main(["export", "starter", "--out", str(tmp_path / "a.zip")]) == 0
    assert zipfile.is_zipfile(tmp_path / "a.zip")
    assert main(["import", str(tmp_path / "a.zip"), "--out", str(tmp_path / "run")]) == 0
    capfd.readouterr()
    assert written(tmp_path / "run", capfd) == written("starter", capfd)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "run"]


def test_every_command_takes_an_imported_model_like_a_run(tmp_path, capfd):
    source = tmp_path / "bare"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (source / name).write_bytes((STARTER / name).read_bytes())
    run = str(tmp_path / "run")
    assert main(["import", str(source), "--out", run, "--title", "Bare"]) == 0
    facts, _ = answer(capfd)
    assert facts["title"] == "Bare" and not facts["trainable"]
    assert written(run, capfd) == written("starter", capfd)
    assert main(["heads", "--model", run]) == 0
    assert main(["inspect", "--model", run, "--text", PROMPT, "--out", str(tmp_path / "seen.npz")]) == 0
    assert main(["export", run, "--out", str(tmp_path / "again")]) == 0
    capfd.readouterr()
    assert main(["train", run]) == 2
    assert "Bare was trained elsewhere" in capfd.readouterr().err


@pytest.fixture
def stub(monkeypatch):
    server = StubHub(STARTER, repo="somebody/starter")
    monkeypatch.setattr(exchange, "Hub", functools.partial(Hub, endpoint=server.endpoint, patience=2.0))
    huggingface_hub.close_session()
    yield server
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


def test_a_model_on_the_hub_is_announced_with_its_size_and_becomes_a_run(stub, tmp_path, capfd):
    words = ["import", "hub:somebody/starter", "--cache", str(tmp_path / "cache"), "--out"]
    assert main([*words, str(tmp_path / "run")]) == 0
    facts, err = answer(capfd)
    assert "somebody/starter: 1.9 MB" in err and facts["title"] == "starter" and not facts["trainable"]
    command = RunFolder(tmp_path / "run").facts().command
    assert command == "python -m gpt2demo import hub:somebody/starter --out run"
    assert written(tmp_path / "run", capfd) == written("starter", capfd)
    stub.misbehave = lambda handler: handler.answer(503) or True
    assert main([*words, str(tmp_path / "again")]) == 0
    assert "The copy that was fetched before is used." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("export nowhere --out x", "no run in nowhere"),
        ("export starter --out TAKEN", "taken exists and is not empty"),
        ("import nowhere --out x", "There is no nowhere"),
        ("import TAKEN --out x", "no model.safetensors"),
        ("import starter.bin --out x", "Python pickle"),
        ("import hub:a/b/c --out x", "no name of a model"),
        ("import hub:../x --out x", "no name of a model"),
        ("import hub:somebody/else --cache CACHE --out x", "knows no model called somebody/else"),
        ("import hub:somebody/starter --revision a/b --out x", "The version is"),
        ("import TAKEN --out TAKEN", "taken exists and is not empty"),
    ],
)
def test_mistakes_are_told_in_sentences_and_leave_nothing_behind(
    stub, tmp_path, monkeypatch, capfd, words, says
):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("x")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "starter.bin").write_bytes(b"\x80\x04" + b"x" * 50)
    monkeypatch.chdir(tmp_path / "here")
    places = {"TAKEN": str(tmp_path / "taken"), "CACHE": str(tmp_path / "cache")}
    assert main([places.get(word, word) for word in words.split()]) == 2
    err = capfd.readouterr().err
    assert says in err and "Traceback" not in err
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["starter.bin"]
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["notes.txt"]


def test_help_reads_well(capsys):
    for command in ("export", "import"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "gpt2, gpt2-medium, gpt2-large, gpt2-xl" in out and "transformers loads it" in out
