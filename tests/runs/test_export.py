"""A run taken home: other libraries load it, this program continues it, and nothing private comes along."""

import sqlite3
import zipfile
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt2demo.errors import NotFoundError
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import generate
from gpt2demo.hub.manifest import read_manifest
from gpt2demo.model.baselines import make_model
from gpt2demo.runs.export import export_zip
from gpt2demo.runs.imported import import_source
from gpt2demo.runs.live import view
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.worker import Worker

PARTS = ("weights", "optimizer", "state", "MANIFEST")


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
    exported = export_zip(folder, tmp_path / "out")
    packed = exported.path
    assert exported.notices == ()
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
        *("run.json", "corpus.json", "run.sqlite", "README.md", "MANIFEST.json"),
        *(f"snapshots/{path.name}" for path in folder.snapshots.iterdir()),
        *(f"checkpoints/step-{step:06d}/{name}.safetensors" for step in (0, newest) for name in PARTS[:2]),
        *(f"checkpoints/step-{step:06d}/{name}.json" for step in (0, newest) for name in PARTS[2:]),
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

    card = ModelCard.load(home / "README.md")
    assert card.data.library_name == "transformers" and card.data.license is None
    assert "Cats & dogs".replace("&", "&amp;") in card.text and f"after {newest} training steps" in card.text
    assert folder.facts().command in card.text and "cats\\.txt" in card.text

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
        packed = export_zip(folder, tmp_path).path
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
    for step in (8, 9, 20, 100):
        (folder.path / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
        (folder.path / "checkpoints" / f"step-{step:06d}" / "state.json").write_text("{}")
    gone = folder.path / "checkpoints" / "step-000100" / "weights.safetensors"
    gone.symlink_to("/nowhere")  # seen when the folder was listed, and gone when it is opened
    with zipfile.ZipFile(export_zip(folder, tmp_path).path) as archive:
        top = f"cats-{id[:6].strip('-_')}/checkpoints"
        assert [name for name in archive.namelist() if "checkpoints" in name] == [
            f"{top}/step-000020/state.json",
            f"{top}/step-000009/state.json",
        ]


def test_without_weights_there_is_nothing_to_take_home(store, owner, help, tmp_path):
    id = store.create(owner, help.plan())
    with pytest.raises(NotFoundError, match="no weights yet"):
        export_zip(store.folder(id), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def unpacked(packed, where):
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(where)
    return where / packed.stem


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_stock_transformers_writes_the_same_sixty_four_tokens(store, owner, help, tmp_path, kind):
    plan = help.plan(kind)
    shape = replace(plan.model, n_positions=96)
    folder = store.folder(store.create(owner, replace(plan, model=shape)))
    model = make_model(shape, seed=4).eval()
    luck = torch.Generator().manual_seed(8)
    with torch.no_grad():  # so that what it writes is not the same token over and over
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=luck)
        model.wpe.weight *= 5
    folder.save_model(model, 7)
    home = unpacked(export_zip(folder, tmp_path / "out").path, tmp_path)

    text = "the cat sat on the log"
    ids = folder.tokenizer().encode(text)
    ours, _ = folder.load_model()
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=64)
    expected = ids + [step.id for step in generate(ours, ids, sampling)]
    theirs = AutoModelForCausalLM.from_pretrained(home)
    tokenizer = AutoTokenizer.from_pretrained(home)
    inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    assert inputs["input_ids"].tolist() == [ids]
    written = theirs.generate(
        input_ids=inputs["input_ids"], max_new_tokens=64, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    assert written[0].tolist() == expected and len(expected) == len(ids) + 64
    assert len(set(expected[len(ids) :])) > 3
    assert tokenizer.decode(ids) == folder.tokenizer().decode(ids).removeprefix(" ")


def test_everything_in_an_export_is_on_its_list(store, owner, help, tmp_path):
    folder = store.folder(store.create(owner, help.plan()))
    train(folder, until=4)
    home = unpacked(export_zip(folder, tmp_path / "out").path, tmp_path)
    manifest = read_manifest(home / "MANIFEST.json")
    names = {p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file()}
    assert names == {*manifest.files, "MANIFEST.json"}
    assert manifest.damaged(home) == () and not manifest.is_newer


@pytest.mark.parametrize(
    "variant",
    [
        {"norm": "post"},
        {"positions": "rotary"},
        {"n_experts": 2},
        {"architecture": "lstm"},
        {"lm_head_bias": True},
    ],
)
def test_what_gpt2s_format_cannot_express_says_so_and_is_refused_by_others(
    store, owner, help, tmp_path, variant
):
    plan = help.plan()
    folder = store.folder(store.create(owner, replace(plan, model=replace(plan.model, **variant))))
    folder.save_model(make_model(folder.config(), seed=1), 3)
    exported = export_zip(folder, tmp_path / "out")
    (notice,) = exported.notices
    assert "GPT-2's format cannot express this model" in notice and next(iter(variant)) in notice
    home = unpacked(exported.path, tmp_path)
    assert "`transformers` refuses it" in (home / "README.md").read_text()
    with pytest.raises(ValueError, match="gpt2demo"):
        AutoModelForCausalLM.from_pretrained(home)
    imported = import_source(exported.path, tmp_path / "back").folder
    assert imported.config() == folder.config()
    assert torch.equal(imported.load_model()[0].wte.weight, folder.load_model()[0].wte.weight)


@pytest.mark.parametrize("variant", [{"bias": False}, {"positions": "sinusoidal"}, {"activation": "relu"}])
def test_what_gpt2s_format_can_express_loads_elsewhere(store, owner, help, tmp_path, variant):
    plan = help.plan()
    folder = store.folder(store.create(owner, replace(plan, model=replace(plan.model, **variant))))
    folder.save_model(make_model(folder.config(), seed=1), 3)
    exported = export_zip(folder, tmp_path / "out")
    assert exported.notices == ()
    theirs = AutoModelForCausalLM.from_pretrained(unpacked(exported.path, tmp_path))
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        assert (theirs(ids).logits - folder.load_model()[0](ids)).abs().max() < 1e-4


def test_nothing_private_is_on_the_card(store, owner, help, tmp_path):
    id = store.create(owner, help.plan())
    help.give_weights(store.folder(id), 3)
    (store.root / id / "worker.log").write_text("private")
    home = unpacked(export_zip(store.folder(id), tmp_path / "out").path, tmp_path)
    everything = b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())
    for secret in (owner, str(tmp_path), "private"):
        assert secret.encode() not in everything
