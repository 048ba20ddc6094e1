"""A run folder is complete, is read back as it was, and opens in the libraries that everybody else uses."""

import dataclasses
import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2demo.errors import ConfigError, FileError, LimitError, NotFoundError, TextError
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training import folder as folder_module
from gpt2demo.training.files import read_json, read_tensors, write_bytes, write_json
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.lock import hold


def changed(model, amount=0.1):
    """A fresh model is nearly linear and full of zeros; larger weights make every part count."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += amount * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.fixture
def run(make_run, make_config):
    return make_run("my run", make_config(sample_prompt="the cat"))


def test_a_new_run_is_complete(run, corpus, tokenizer, shape, make_config, data):
    facts = run.facts()
    assert facts.title == "Tales" and facts.documents == ("tales.txt",) and facts.tokenizer == "char"
    assert facts.training == make_config(sample_prompt="the cat")
    assert facts.characters == len(corpus.text) and facts.tokens == len(data.train) + len(data.validation)
    assert run.config() == shape and run.corpus() == corpus
    assert run.tokenizer().sha256 == tokenizer.sha256
    assert run.status().state == "waiting" and run.status().wanted == "run"
    assert run.newest_step() is None and run.snapshot_steps() == ()
    with pytest.raises(NotFoundError, match=r"no weights yet.*Wait a moment"):
        run.load_model()
    words = shlex.split(facts.command)
    assert words[:4] == ["python", "-m", "gpt2demo", "train"] and words[-2:] == ["--out", "my run"]
    assert words[words.index("--steps") + 1] == "24" and "--minutes" not in words


def test_a_folder_that_is_not_empty_is_left_alone(run, make_run, make_config, fast):
    before = {p.name: p.read_bytes() for p in run.path.iterdir()}
    with pytest.raises(ConfigError, match="exists and is not empty"):
        make_run("my run", make_config())
    assert {p.name: p.read_bytes() for p in run.path.iterdir()} == before
    (fast / "file").write_text("x")
    with pytest.raises(ConfigError):
        make_run("file", make_config())
    (fast / "empty").mkdir()
    make_run("empty", make_config())


def test_a_text_that_is_too_short_leaves_no_folder(fast, make_run, make_config):
    short = Corpus((document_from_text("a.txt", "the cat sat on the mat"),))
    with pytest.raises(TextError):
        make_run("new", make_config(), corpus=short)
    assert not (fast / "new").exists()


def test_what_is_no_run_is_said_to_be_none_and_is_left_alone(fast):
    with pytest.raises(NotFoundError, match="no run in nowhere"):
        RunFolder(fast / "nowhere").facts()
    (fast / "other").mkdir()
    with pytest.raises(NotFoundError):
        RunFolder(fast / "other").facts()
    assert list((fast / "other").iterdir()) == []


def test_a_run_from_before_there_were_padded_batches_is_packed(run):
    data = read_json(run.path / "run.json")
    del data["training"]["batches"]
    write_json(run.path / "run.json", data)
    assert run.facts().training.batches == "packed"


def test_a_padded_run_says_so_everywhere(make_run, make_config, corpus, tokenizer):
    run = make_run("padded", make_config(batches="padded"))
    facts = run.facts()
    words = shlex.split(facts.command)
    assert facts.training.batches == "padded" and words[words.index("--batches") + 1] == "padded"
    assert facts.tokens == len(corpus.text.strip("\n")) + 2  # one document with its beginning and its end
    assert "--batches" not in make_run("packed", make_config()).facts().command


def test_the_command_names_the_tokenizer(make_run, make_config, corpus, shape):
    def command(name, tokenizer, **settings):
        model = dataclasses.replace(shape, vocab_size=tokenizer.vocab_size)
        run = make_run(name, make_config(), model=model, tokenizer=tokenizer, **settings)
        words = shlex.split(run.facts().command)
        return words[words.index("--tokenizer") : words.index("--preset")]

    word = train_tokenizer("word", corpus.texts, 12)
    assert command("w", word) == ["--tokenizer", "word", "--vocab-size", "12"]
    small = train_tokenizer("bpe", ["the cat sat"], 300)  # no pair occurs twice but "at"
    assert small.vocab_size < 260 and command("b", small)[-1] == "260"  # the least that can be asked for
    gpt2 = ("--tokenizer", "gpt2", "--tokenizer-files", "a folder")
    assert command("g", word, tokenizer_options=gpt2) == list(gpt2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("documents"),
        lambda d: d.pop("training"),
        lambda d: d.pop("title"),
        lambda d: d.update(extra=1),
        lambda d: d.update(documents=3),
        lambda d: d["training"].update(optimizer="sgd"),
        lambda d: d["training"].update(evil=1),
    ],
)
def test_a_foreign_run_json_is_refused_with_a_sentence(run, damage):
    data = read_json(run.path / "run.json")
    damage(data)
    write_json(run.path / "run.json", data)
    with pytest.raises((FileError, ConfigError)):
        run.facts()


@pytest.mark.parametrize(
    "data", [{}, {"documents": [1]}, {"documents": [{"name": "a"}]}, {"documents": [{"notices": [], "b": 1}]}]
)
def test_a_foreign_corpus_json_is_refused_with_a_sentence(run, data):
    write_json(run.path / "corpus.json", data)
    with pytest.raises(FileError, match=r"corpus\.json of my run"):
        run.corpus()


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' + b"9" * 5000]
)
def test_damaged_json_is_refused_with_a_sentence(fast, content):
    (fast / "x.json").write_bytes(content)
    with pytest.raises(FileError, match="x.json"):
        read_json(fast / "x.json")
    with pytest.raises(FileError, match="cannot be read"):
        read_json(fast / "missing.json")


def test_half_a_character_from_a_browser_does_not_stop_a_run(make_run, make_config):
    run = make_run("halves", make_config(), title="a\ud800b")
    assert run.facts().title == "a?b"


def test_a_prompt_that_the_model_could_not_read_is_refused_at_once(make_run, make_config, fast):
    with pytest.raises(TextError, match="'Z'"):
        make_run("prompt", make_config(sample_prompt="the Zoo"))
    assert not (fast / "prompt").exists()


def test_a_plan_that_cannot_be_carried_out_is_none(make_run, make_config, shape):
    with pytest.raises(LimitError, match="reads at most 16"):
        make_run("long", make_config(length=17))
    with pytest.raises(ConfigError, match="model size is 'tiny'"):
        make_run("tiny", make_config(), preset="tiny")
    with pytest.raises(ValueError, match="its tokenizer"):
        make_run("foreign", make_config(), model=dataclasses.replace(shape, vocab_size=7))


def test_a_file_is_replaced_as_a_whole_or_not_at_all(fast, monkeypatch):
    path = fast / "file"
    write_bytes(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space"):
                write_bytes(path, b"new")
        assert path.read_bytes() == b"old"
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and [p.name for p in fast.iterdir()] == ["file"]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_the_folder_opens_in_stock_transformers(kind, make_run, corpus, shape, make_config, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tokenizer = train_tokenizer(kind, corpus.texts, 300)
    model_shape = dataclasses.replace(shape, vocab_size=tokenizer.vocab_size)
    run = make_run("run", make_config(), model=model_shape, tokenizer=tokenizer)
    run.save_model(changed(GPT2(model_shape)), 5)
    ours, _ = run.load_model()
    theirs = AutoModelForCausalLM.from_pretrained(run.path, local_files_only=True).eval()
    text = "the dog ate the sea, a cat sang\nto the fish."
    ids = tokenizer.encode(text)
    foreign = AutoTokenizer.from_pretrained(run.path, local_files_only=True)
    assert foreign(text, add_special_tokens=False)["input_ids"] == ids
    assert foreign.decode(ids, clean_up_tokenization_spaces=False) == tokenizer.decode(ids)
    if kind == "word":  # others pad with the right token, and end where a document ends
        padded = foreign(["the dog", "the"], padding=True)["input_ids"]
        assert padded == [tokenizer.encode("the dog", specials=True), [2, *tokenizer.encode("the"), 3, 0]]
        assert (foreign.unk_token_id, foreign.bos_token_id, foreign.eos_token_id) == (1, 2, 3)
    assert foreign.model_max_length == 16
    window = torch.tensor([ids[:16]])
    assert (ours(window) - theirs(window).logits).abs().max() < 1e-5
    assert (run.path / "model.safetensors").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_same_weights_give_the_same_file(run, shape):
    model = GPT2(shape)
    files = []
    for _ in range(8):  # the library alone would write the facts in another order each time
        run.save_model(model, 5)
        files.append((run.path / "model.safetensors").read_bytes())
    assert len(set(files)) == 1
    header = int.from_bytes(files[0][:8], "little")
    assert header % 8 == 0 and json.loads(files[0][8 : 8 + header])["__metadata__"]["step"] == "5"


@torch.no_grad()
def test_models_of_all_kept_steps_are_found_by_step(run, shape):
    models = {step: changed(GPT2(shape, seed=step)) for step in (0, 7, 40)}
    run.save_snapshot(models[0], 0)
    run.save_snapshot(models[7], 7)
    assert run.snapshot_steps() == (0, 7) and run.newest_step() is None
    run.save_model(models[40], 40)
    assert run.snapshot_steps() == (0, 7, 40) and run.newest_step() == 40
    for step, wanted in models.items():
        model, found = run.load_model(step)
        assert found == step and not model.training
        assert not any(p.requires_grad for p in model.parameters())
        for a, b in zip(model.parameters(), wanted.parameters(), strict=True):
            assert torch.equal(a, b if step == 40 else b.half().float())
    assert run.load_model()[1] == 40
    with pytest.raises(NotFoundError, match=r"step 8 were not kept.*steps 0, 7, 40\."):
        run.load_model(8)
    assert {t.dtype for t in load_file(run.snapshots / "step-000007.safetensors").values()} == {torch.float16}


def test_newer_weights_that_arrive_while_loading_are_not_shown_under_an_old_step(run, shape, monkeypatch):
    older, newer = GPT2(shape, seed=1), GPT2(shape, seed=2)
    run.save_model(older, 10)

    def slow_read(path):
        if run.newest_step() == 10:
            run.save_model(newer, 20)
        return read_tensors(path)

    monkeypatch.setattr(folder_module, "read_tensors", slow_read)
    model, step = run.load_model()
    assert step == 20 and torch.equal(model.wte.weight, newer.wte.weight)


@pytest.mark.parametrize("damage", [b"", b"1234567", b"\xff" * 64, b"\x80\x02}q\x00."])
def test_damaged_weights_are_refused_with_a_sentence(run, shape, damage):
    run.save_model(GPT2(shape), 3)
    (run.path / "model.safetensors").write_bytes(damage)
    for ask in (run.newest_step, run.load_model, run.snapshot_steps):
        with pytest.raises(FileError, match=r"model\.safetensors cannot be read"):
            ask()


def test_weights_of_another_shape_are_refused(run, shape):
    run.save_model(GPT2(dataclasses.replace(shape, n_embd=16)), 3)
    with pytest.raises(FileError, match="shape"):
        run.load_model()


def test_a_run_whose_worker_vanished_was_interrupted(run):
    for state in ("starting", "running"):
        run.journal().tell(state=state)
        assert run.status().state == "interrupted" and "last checkpoint" in run.status().message
        assert run.journal().status().state == state  # asking writes nothing
        with hold(run.lock):
            assert run.status().state == state
    for state in ("waiting", "paused", "stopped", "done", "failed", "interrupted"):
        run.journal().tell(state=state)
        assert run.status().state == state


def test_a_run_that_ends_while_it_is_asked_about_was_not_interrupted(run, monkeypatch):
    run.journal().tell(state="running")

    def ended_just_now(_):
        run.journal().tell(state="done", message="Finished.")
        return False

    monkeypatch.setattr(folder_module, "is_held", ended_just_now)
    assert run.status().state == "done" and run.status().message == "Finished."


def test_a_shipped_run_is_read_without_leaving_a_trace(run, shape, fast):
    run.save_model(GPT2(shape), 40)
    run.journal().tell(state="running")
    shipped = Path(shutil.copytree(run.path, fast / "shipped"))
    before = {p.name: p.read_bytes() for p in shipped.iterdir()}
    reader = RunFolder(shipped, read_only=True)
    assert reader.status().state == "running"  # a finished file says what it says
    assert reader.load_model()[1] == 40 and reader.facts() == run.facts()
    assert reader.corpus() == run.corpus() and reader.journal().steps() == []
    assert {p.name: p.read_bytes() for p in shipped.iterdir()} == before


def test_run_json_is_readable_by_people(make_run, make_config):
    run = make_run("run", make_config(), title="Es grünt 你")
    text = (run.path / "run.json").read_text(encoding="utf-8")
    assert "Es grünt 你" in text and json.loads(text)["preset"] == "nano"
