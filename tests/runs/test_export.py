"""A run taken home: other libraries load it, this program continues it, and nothing private comes along."""

import sqlite3
import zipfile
from contextlib import closing

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2demo.errors import NotFoundError
from gpt2demo.runs.export import export_zip
from gpt2demo.runs.live import view
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.worker import Worker


def train(folder, *, until=None):
    worker = Worker(folder, lambda model, tokenizer, prompt, seed: "…")
    for record in worker.shift():
        if record.step == until:
            worker.terminate()
    return worker.outcome


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_a_run_taken_home_loads_elsewhere_and_goes_on_here(store, owner, help, tmp_path, kind):
    id = store.create(owner, help.plan(kind, title="Cats & dogs: ../é"))
    folder = store.folder(id)
    assert train(folder, until=12).state == "interrupted"
    (folder.path / "checkpoints" / "step-000099.tmp").mkdir()
    (folder.path / "worker.log").write_text("private")
    packed = export_zip(folder, tmp_path / "out")
    assert (
        packed.parent == tmp_path / "out" and packed.name.startswith("cats-dogs-") and packed.suffix == ".zip"
    )
    assert sorted((tmp_path / "out").iterdir()) == [packed]

    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        names = {name.split("/", 1)[1] for name in archive.namelist()}
        assert {name.split("/", 1)[0] for name in archive.namelist()} == {packed.stem}
        archive.extractall(tmp_path)
    newest = folder.newest_step()
    assert names == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("run.json", "corpus.json", "run.sqlite"),
        *(f"snapshots/{path.name}" for path in folder.snapshots.iterdir()),
        *(f"checkpoints/step-{newest:06d}/{name}.safetensors" for name in ("weights", "optimizer")),
        *(f"checkpoints/step-{newest:06d}/{name}.json" for name in ("state", "MANIFEST")),
    }

    home = tmp_path / packed.stem
    theirs = AutoModelForCausalLM.from_pretrained(home)
    tokenizer = AutoTokenizer.from_pretrained(home)
    text = "the cat sat on the log"
    ids = folder.tokenizer().encode(text)
    assert tokenizer(text)["input_ids"] == ids and tokenizer.decode(ids) == text
    ours, _ = folder.load_model()
    with torch.no_grad():
        expected = ours(torch.tensor([ids[:16]]))
        assert (theirs(torch.tensor([ids[:16]])).logits - expected).abs().max() < 1e-4

    read_only = RunFolder(home, read_only=True)
    assert view(read_only)["steps"] == view(folder)["steps"] != []
    assert train(RunFolder(home)).step == 30
    assert train(folder).step == 30
    assert [s.train_loss for s in RunFolder(home).journal().steps()] == [
        s.train_loss for s in folder.journal().steps()
    ]


def test_a_run_can_be_taken_home_while_it_is_trained(store, owner, help, tmp_path):
    id = store.create(owner, help.plan())
    folder = store.folder(id)
    help.give_weights(folder, 1)
    with closing(sqlite3.connect(folder.path / "run.sqlite")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO events (time, text) VALUES (0, 'not yet')")
        packed = export_zip(folder, tmp_path)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    with closing(sqlite3.connect(tmp_path / packed.stem / "run.sqlite")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_a_checkpoint_that_is_just_being_replaced_is_passed_over(store, owner, help, tmp_path):
    id = store.create(owner, help.plan())
    folder = store.folder(id)
    help.give_weights(folder, 20)
    for step in (9, 20, 100):
        (folder.path / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
        (folder.path / "checkpoints" / f"step-{step:06d}" / "state.json").write_text("{}")
    gone = folder.path / "checkpoints" / "step-000100" / "weights.safetensors"
    gone.symlink_to("/nowhere")  # seen when the folder was listed, and gone when it is opened
    with zipfile.ZipFile(export_zip(folder, tmp_path)) as archive:
        assert [name for name in archive.namelist() if "checkpoints" in name] == [
            f"cats-{id[:6].strip('-_')}/checkpoints/step-000020/state.json"
        ]


def test_without_weights_there_is_nothing_to_take_home(store, owner, help, tmp_path):
    id = store.create(owner, help.plan())
    with pytest.raises(NotFoundError, match="no weights yet"):
        export_zip(store.folder(id), tmp_path / "out")
    assert not (tmp_path / "out").exists()
