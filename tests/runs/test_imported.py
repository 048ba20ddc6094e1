"""A model from elsewhere becomes a run folder that everything here can use, and that says what it is not."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import FileError, NotFoundError
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.export import export_zip
from gpt2demo.runs.imported import import_source
from gpt2demo.runs.live import view
from gpt2demo.runs.models import ModelRef, ModelStore
from gpt2demo.runs.store import RunStore
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training.files import read_json, write_json
from gpt2demo.training.worker import Worker

TEXT = "the cat sat on the mat, and the dog sat on the log.\n"
IDS = torch.tensor([[3, 1, 4, 1, 5]])


@pytest.fixture
def theirs(tmp_path):
    """A model that another program saved. → its folder, and the model"""
    tokenizer = train_tokenizer("char", [TEXT])
    torch.manual_seed(0)
    sizes = {"vocab_size": tokenizer.vocab_size, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(TheirConfig(**sizes, initializer_range=0.5)).eval()
    model.save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs" / "tokenizer.json")
    return tmp_path / "theirs", model


def test_it_is_the_model_that_it_was(theirs, tmp_path):
    folder = import_source(theirs[0], tmp_path / "run").folder
    model, step = folder.load_model()
    with torch.no_grad():
        assert step == 0 and (model(IDS) - theirs[1](IDS).logits).abs().max() < 1e-4
    assert folder.tokenizer().decode(folder.tokenizer().encode(TEXT)) == TEXT
    assert folder.snapshot_steps() == (0,) and folder.newest_step() == 0
    assert GPT2LMHeadModel.from_pretrained(folder.path).config.n_layer == 2


def test_it_says_where_it_came_from_and_that_it_was_not_trained_here(theirs, tmp_path):
    folder = import_source(theirs[0], tmp_path / "run", title="Their\nmodel", name="hub:x/y z").folder
    facts, status = folder.facts(), folder.status()
    assert facts.title == "Their model" and facts.preset == "imported" and facts.settings is None
    assert facts.command == "python -m gpt2demo import 'hub:x/y z' --out run"
    assert facts.documents == () and facts.characters == facts.tokens == 0 and facts.tokenizer == "char"
    assert status.state == "done" and status.message == "It was trained elsewhere."
    with pytest.raises(NotFoundError, match="Their model was trained elsewhere"):
        _ = facts.training
    with pytest.raises(NotFoundError, match="text that this model learnt from is not here"):
        folder.corpus()
    assert view(folder)["steps"] == [] and view(folder)["status"]["state"] == "done"


def test_training_it_is_refused_in_a_sentence_and_changes_nothing_of_it(theirs, tmp_path):
    folder = import_source(theirs[0], tmp_path / "run").folder
    weights = (folder.path / "model.safetensors").read_bytes()
    with pytest.raises(NotFoundError, match="trained elsewhere"):
        list(Worker(folder, lambda *_: "").shift())
    assert (folder.path / "model.safetensors").read_bytes() == weights
    assert folder.status().state == "done"


def test_a_page_can_take_it_in_hand(theirs, tmp_path):
    store = RunStore(tmp_path / "runs")
    id = store.adopt("a" * 32, "new", lambda path: import_source(theirs[0], path, title="Theirs"), needed=1)
    summary = store.summary(id)
    assert summary.title == "Theirs" and summary.state == "done" and summary.optimizer == ""
    models = ModelStore(store, tmp_path / "none")
    loaded = models.get(ModelRef("run", id))
    assert loaded.step == 0 and loaded.facts.documents == () and loaded.facts.val_loss is None
    assert loaded.facts.measured is None and loaded.config.vocab_size == loaded.tokenizer.vocab_size


def test_half_precision_becomes_full(theirs, tmp_path):
    path = theirs[0] / "model.safetensors"
    save_file({name: t.half() for name, t in load_file(path).items()}, path)
    folder = import_source(theirs[0], tmp_path / "run").folder
    assert {t.dtype for t in load_file(folder.path / "model.safetensors").values()} == {torch.float32}


def test_an_imported_model_moves_on_like_any_other(theirs, tmp_path):
    first = import_source(theirs[0], tmp_path / "first", title="Theirs").folder
    packed = export_zip(first, tmp_path / "out")
    second = import_source(packed.path, tmp_path / "second").folder
    assert second.facts() == first.facts() and not (second.path / "corpus.json").exists()
    assert second.status().state == "done"
    assert torch.equal(second.load_model()[0](IDS), first.load_model()[0](IDS))


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_cannot_be_imported_leaves_nothing_behind(theirs, tmp_path, damage):
    (theirs[0] / damage).write_bytes(b"\0" * 40)
    with pytest.raises(FileError):
        import_source(theirs[0], tmp_path / "new" / "run")
    assert list((tmp_path / "new").iterdir()) == []


def test_nan_is_found_before_a_folder_is_made(theirs, tmp_path):
    path = theirs[0] / "model.safetensors"
    save_file({name: t * torch.nan for name, t in load_file(path).items()}, path)
    with pytest.raises(FileError, match="NaN"):
        import_source(theirs[0], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_was_left_out_is_noted_in_the_diary(theirs, tmp_path):
    content = json.loads((theirs[0] / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    (theirs[0] / "tokenizer.json").write_text(json.dumps(content))
    imported = import_source(theirs[0], tmp_path / "run")
    assert "normalizer" in imported.notices[0]
    assert [text for _, text in imported.folder.journal().events()] == list(imported.notices)


def test_a_run_json_without_the_word_training_is_no_imported_model(theirs, tmp_path):
    folder = import_source(theirs[0], tmp_path / "run").folder
    data = read_json(folder.path / "run.json")
    write_json(folder.path / "run.json", {k: v for k, v in data.items() if k != "training"})
    with pytest.raises(FileError, match="lacks something"):
        folder.facts()


def test_it_is_read_as_the_configuration_that_it_is(theirs, tmp_path):
    folder = import_source(theirs[0], tmp_path / "run").folder
    assert folder.config() == GPT2Config(
        vocab_size=folder.tokenizer().vocab_size, n_positions=16, n_embd=8, n_layer=2, n_head=2
    )
