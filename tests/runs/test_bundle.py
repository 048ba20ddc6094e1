"""A run moves to another machine and goes on there exactly; a turned bit is found; no bundle does harm."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt2demo.errors import ConfigError, FileError, LimitError, TextError, UserError
from gpt2demo.hub.manifest import MANIFEST, Manifest, read_manifest, sum_of
from gpt2demo.runs.export import export_to, export_zip
from gpt2demo.runs.imported import import_source
from gpt2demo.runs.store import RunStore
from gpt2demo.training.checkpoint import FILES
from gpt2demo.training.config import recipe
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.plan import Start
from gpt2demo.training.worker import Worker
from tests.runs.conftest import plan

STEPS, STOPPED, BEFORE = 30, 14, 10


def train(folder, *, until=None):
    worker = Worker(folder, lambda model, tokenizer, prompt, seed: "…")
    for record in worker.shift():
        if record.step == until:
            worker.terminate()
    return worker.outcome


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run that was left at two places, so that it has two checkpoints; and how it would have ended."""
    threads = torch.get_num_threads()
    store = RunStore(tmp_path_factory.mktemp("home") / "runs")
    folder = store.folder(store.create("a" * 32, plan()))
    train(folder, until=BEFORE - 2)  # it leaves two steps after it was asked to
    train(folder, until=STOPPED - 2)
    kept = folder.path.with_name("kept")
    shutil.copytree(folder.path, kept)
    train(folder)
    yield RunFolder(kept), folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def packed(home, tmp_path_factory):
    return export_zip(home[0], tmp_path_factory.mktemp("packed")).path


@pytest.fixture
def unpacked(packed, tmp_path):
    """The folder in the zip, to be damaged."""
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    return folder


def zipped(folder):
    path = folder.parent / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"a run/{file.relative_to(folder).as_posix()}")
    return path


def listed_anew(folder, *, format=1):
    """Writes the lists of a bundle as its author would: what follows is no accident."""
    for checkpoint in (folder / "checkpoints").iterdir():
        sums = {name: sum_of(checkpoint / name) for name in FILES}
        content = {name: {"bytes": sum.bytes, "sha256": sum.sha256} for name, sum in sums.items()}
        (checkpoint / MANIFEST).write_text(json.dumps(content))
    names = [
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST
    ]
    manifest = Manifest(format=format, files={name: sum_of(folder / name) for name in names})
    (folder / MANIFEST).write_text(manifest.to_json())
    return folder


def taken(source, tmp_path, **options):
    return import_source(source, tmp_path / "run", **options)


def turn_a_bit(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 4
    path.write_bytes(data)


def checkpoints(folder):
    return sorted((folder / "checkpoints").iterdir())


def same_end(home, folder):
    """Whether a moved run became what the one at home became, to the last bit."""
    ours, theirs = home[1], folder
    weights = [load_file(f.path / "model.safetensors") for f in (ours, theirs)]
    losses = [[(s.step, s.train_loss, s.val_loss) for s in f.journal().steps()] for f in (ours, theirs)]
    return losses[0] == losses[1] and all(torch.equal(t, weights[1][n]) for n, t in weights[0].items())


def left_over(tmp_path):
    return [p.name for p in tmp_path.iterdir() if p.name not in ("unpacked",)]


# --- how it goes ---


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_moved_run_goes_on_exactly_where_it_was(home, packed, unpacked, tmp_path, as_folder):
    imported = taken(unpacked if as_folder else packed, tmp_path)
    folder = imported.folder
    assert imported.notices == () and left_over(tmp_path) == ["run"]
    status = folder.status()
    assert status.state == "paused" and status.checkpoint_step == STOPPED and status.steps_planned == STEPS
    was, now = home[0].facts(), folder.facts()
    assert now == was and folder.corpus() == home[0].corpus()
    assert folder.tokenizer().sha256 == home[0].tokenizer().sha256
    assert folder.snapshot_steps() == home[0].snapshot_steps()
    assert folder.journal().samples() == home[0].journal().samples()
    assert folder.journal().events() == home[0].journal().events()
    assert train(folder).step == STEPS
    assert same_end(home, folder)
    assert "exactly." in folder.journal().events()[len(home[0].journal().events())][1]


def test_a_run_moves_twice_and_a_finished_one_stays_finished(home, tmp_path):
    first = import_source(export_zip(home[1], tmp_path / "one").path, tmp_path / "first").folder
    assert first.status().state == "done" and first.status().final_val_loss == home[1].status().final_val_loss
    second = import_source(export_zip(first, tmp_path / "two").path, tmp_path / "second").folder
    assert same_end(home, second) and second.status() == first.status()


@pytest.mark.parametrize(
    "variant", [{}, {"architecture": "lstm"}, {"architecture": "bigram"}, {"n_experts": 3}, {"norm": "post"}]
)
def test_runs_of_every_kind_move(tmp_path, variant):
    made = plan(steps=8)
    model = replace(made.model, **variant)
    training = recipe("muon", model, steps=8, batch_size=4, threads=1, seed=5)
    store = RunStore(tmp_path / "runs")
    folder = store.folder(store.create("a" * 32, replace(made, model=model, training=training)))
    train(folder, until=2)
    moved = import_source(export_zip(folder, tmp_path / "out").path, tmp_path / "moved").folder
    assert moved.status().checkpoint_step == folder.newest_step() < 8
    assert train(folder).step == train(moved).step == 8
    assert same_end((None, folder), moved)


def test_a_fine_tuning_moves_with_the_weights_that_it_began_with(home, tmp_path):
    model, _ = home[1].load_model()
    start = Start(model=model, name="runs/cats", title="Cats, step 30", preset="nano", step=30)
    folder = RunFolder.create(tmp_path / "fine", replace(plan(), start=start))
    train(folder, until=4)
    moved = import_source(export_zip(folder, tmp_path / "packed").path, tmp_path / "moved").folder
    assert moved.facts() == folder.facts() and moved.facts().started_from == "Cats, step 30"
    shutil.rmtree(moved.path / "checkpoints")  # it begins again, and not with random numbers
    first, again = folder.first_model(seed=0).state_dict(), moved.first_model(seed=1).state_dict()
    assert all(torch.equal(first[name], model.state_dict()[name]) for name in first)
    assert all(torch.equal(first[name], again[name]) for name in first)
    train(folder)
    train(moved)
    ours, theirs = (load_file(run.path / "model.safetensors") for run in (folder, moved))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_moved_run_belongs_to_who_moved_it(packed, tmp_path, home):
    store = RunStore(tmp_path / "elsewhere")
    id = store.adopt("b" * 32, "new", lambda path: import_source(packed, path), needed=1_000_000)
    assert store.summary(id).title == "Cats" and store.summary(id).state == "paused"
    assert store.owns("b" * 32, id) and not store.owns("a" * 32, id)
    assert train(store.folder(id)).step == STEPS and same_end(home, store.folder(id))
    assert sorted(p.name for p in store.root.iterdir() if p.is_dir()) == [".unfinished", id]
    assert not any((store.root / ".unfinished").iterdir())


def test_an_import_that_fails_leaves_no_run(unpacked, tmp_path):
    store = RunStore(tmp_path / "elsewhere")
    turn_a_bit(unpacked / "run.json")
    with pytest.raises(FileError, match="run.json"):
        store.adopt("b" * 32, "new", lambda path: import_source(unpacked, path), needed=1)
    assert store.list("b" * 32) == [] and not any((store.root / ".unfinished").iterdir())
    with pytest.raises(FileError):
        taken(unpacked, tmp_path)
    assert sorted(left_over(tmp_path)) == ["elsewhere"]


def test_a_folder_that_is_taken_is_left_alone(packed, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    with pytest.raises(ConfigError, match="run exists and is not empty"):
        taken(packed, tmp_path)
    assert (tmp_path / "run" / "precious").read_text() == "x"


# --- accidents ---


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("packing", ["folder", "zip", "in the zip"])
def test_a_turned_bit_in_the_newest_checkpoint_is_named_and_the_one_before_is_used(
    home, unpacked, tmp_path, file, packing
):
    newest = checkpoints(unpacked)[-1]
    assert newest.name == f"step-{STOPPED:06d}" and len(checkpoints(unpacked)) == 2
    data = (newest / file).read_bytes()
    if packing != "in the zip":
        turn_a_bit(newest / file)
    source = unpacked if packing == "folder" else zipped(unpacked)
    if packing == "in the zip":
        turn_a_bit(source, at=source.read_bytes().index(data) + len(data) // 2)
    imported = taken(source, tmp_path)
    name = f"checkpoints/step-{STOPPED:06d}/{file}"
    assert imported.notices == (f"{name} is damaged: the checkpoint of step {BEFORE} is used instead.",)
    assert imported.folder.status().checkpoint_step == BEFORE
    assert train(imported.folder).step == STEPS and same_end(home, imported.folder)
    assert not any("did not repeat" in text for _, text in imported.folder.journal().events())


def test_without_any_whole_checkpoint_training_begins_again_and_that_is_said(home, unpacked, tmp_path):
    for checkpoint in checkpoints(unpacked):
        turn_a_bit(checkpoint / "optimizer.safetensors")
    imported = taken(unpacked, tmp_path)
    assert len(imported.notices) == 2 and "begin again from the first step" in imported.notices[0]
    assert imported.folder.status().checkpoint_step is None
    assert train(imported.folder).step == STEPS and same_end(home, imported.folder)


def test_a_damaged_snapshot_is_left_out_and_named(unpacked, tmp_path):
    snapshots = sorted((unpacked / "snapshots").iterdir())
    turn_a_bit(snapshots[1])
    imported = taken(unpacked, tmp_path)
    assert imported.notices[0].startswith(f"snapshots/{snapshots[1].name} is damaged")
    assert len(imported.folder.snapshot_steps()) == len(snapshots)  # with the newest weights


@pytest.mark.parametrize(
    "name", ["run.json", "config.json", "tokenizer.json", "corpus.json", "run.sqlite", "model.safetensors"]
)
@pytest.mark.parametrize("missing", [False, True])
def test_any_other_damage_names_the_file(unpacked, tmp_path, name, missing):
    if missing and name == "run.json":
        return  # then it is no bundle: see below
    if missing:
        (unpacked / name).unlink()
    else:
        turn_a_bit(unpacked / name)
    with pytest.raises(FileError, match=f"^{name} is missing or damaged"):
        taken(zipped(unpacked), tmp_path)
    assert left_over(tmp_path) == []


def test_what_is_written_anew_may_be_damaged(unpacked, tmp_path):
    turn_a_bit(unpacked / "README.md")
    (unpacked / "tokenizer_config.json").unlink()
    assert (taken(unpacked, tmp_path).folder.path / "tokenizer_config.json").is_file()


def test_without_its_list_a_bundle_is_a_model_like_any_other(unpacked, tmp_path):
    (unpacked / MANIFEST).unlink()
    imported = taken(zipped(unpacked), tmp_path)
    assert imported.folder.facts().settings is None and imported.folder.facts().preset == "imported"


def test_a_newer_bundle_is_named_and_its_model_can_be_used_but_not_trained(home, unpacked, tmp_path):
    imported = taken(zipped(listed_anew(unpacked, format=7)), tmp_path)
    assert "of format 7, and this version of the program knows up to 1" in imported.notices[0]
    model, _ = imported.folder.load_model()
    assert torch.equal(model.wte.weight, home[0].load_model()[0].wte.weight)
    with pytest.raises(UserError, match="trained elsewhere"):
        train(imported.folder)
    turn_a_bit(unpacked / "model.safetensors")
    with pytest.raises(FileError, match="model.safetensors is missing or damaged"):
        import_source(unpacked, tmp_path / "other")


# --- attacks ---


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(program="evil"), "made by 'evil'"),
        (lambda m: m.update(format=0), "format 0"),
        (lambda m: m.update(format="1"), "field format is '1'"),
        (lambda m: m.update(files=[]), r"field files is \[\]"),
        (lambda m: m["files"].update({"run.json": 3}), "no size and no SHA-256"),
        (lambda m: m["files"]["run.json"].update(sha256=3), "field sha256 is 3"),
        (lambda m: m["files"]["run.json"].update(bytes=-1), "run.json is missing or damaged"),
        (lambda m: m["files"].pop("config.json"), "config.json is not on the bundle's list"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(unpacked, tmp_path, change, says):
    content = json.loads((unpacked / MANIFEST).read_text())
    change(content)
    (unpacked / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(FileError, match=says):
        taken(unpacked, tmp_path)


def test_a_list_cannot_make_this_program_read_elsewhere(unpacked, tmp_path, monkeypatch):
    content = json.loads((unpacked / MANIFEST).read_text())
    for name in ("../../secret", "/dev/zero", "snapshots/../../secret", "C:\\x", "a\0b"):
        content["files"][name] = {"bytes": 1, "sha256": "x"}
    (unpacked / MANIFEST).write_text(json.dumps(content))
    opened = []

    def watched(path):
        opened.append(path.as_posix())
        return sum_of(path) if ".." not in path.parts and "zero" not in path.name else None

    monkeypatch.setattr("gpt2demo.hub.manifest.sum_of", watched)
    taken(unpacked, tmp_path)
    assert opened and not any("secret" in path or "zero" in path for path in opened)


def test_what_does_not_belong_into_a_bundle_stays_outside(unpacked, tmp_path):
    for name in ("evil.py", "snapshots/x.safetensors", "checkpoints/step-000014/evil.pkl", "worker.lock"):
        (unpacked / name).write_text("x")
    folder = taken(zipped(unpacked), tmp_path).folder.path
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert not any("evil" in name or "snapshots/x" in name or "lock" in name for name in names)


def test_a_bundle_too_large_is_refused_before_it_is_unpacked(packed, tmp_path):
    with pytest.raises(LimitError, match="when it is unpacked"):
        taken(packed, tmp_path, max_bytes=10_000)
    with pytest.raises(LimitError, match="lends 0.0 GB"):
        taken(packed, tmp_path, memory_bytes=1_000)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"title": 3}, "field title is 3"),
        ({"created": "x"}, "field created"),
        ({"created": -5}, "created is -5"),
        ({"created": True}, "field created is True"),
        ({"preset": "evil"}, "preset is 'evil'"),
        ({"tokenizer": "bpe"}, "tokenizer is 'bpe'"),
        ({"documents": "cats.txt"}, "field documents"),
        ({"documents": ["dogs.txt"]}, "other texts than its run.json says"),
        ({"characters": -1}, "characters is -1"),
        ({"tokens": 1.5}, "field tokens is 1.5"),
        ({"training": 3}, "field training is 3"),
        ({"training": {}}, "settings cannot be read"),
        ({"command": "rm -rf ~"}, "another command than one of this program"),
        ({"command": "python -m gpt2demo train '"}, "another command"),
        ({"command": "python -m gpt2demo train\nrm -rf ~"}, "another command"),
        ({"command": "python -m gpt2demo " + "x" * 30_000}, "another command"),
    ],
)
def test_a_run_json_that_no_run_has_is_refused(unpacked, tmp_path, change, says):
    content = json.loads((unpacked / "run.json").read_text())
    (unpacked / "run.json").write_text(json.dumps(content | change))
    with pytest.raises(UserError, match=says):
        taken(listed_anew(unpacked), tmp_path)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimizer": "sgd"}, "optimizer"),
        ({"batch_size": "x"}, "batch_size"),
        ({"learning_rate": None}, "learning_rate"),
        ({"length": 1_000}, "length is 1000"),
        ({"evil": 1}, "settings cannot be read"),
        ({"sample_prompt": "Zoo"}, "Z"),
    ],
)
def test_settings_that_no_run_has_are_refused(unpacked, tmp_path, change, says):
    content = json.loads((unpacked / "run.json").read_text())
    content["training"] |= change
    (unpacked / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=says):
        taken(listed_anew(unpacked), tmp_path)


def test_a_command_to_be_copied_can_only_start_this_program(unpacked, tmp_path):
    content = json.loads((unpacked / "run.json").read_text())
    content |= {
        "command": "python -m gpt2demo train --title $(evil) ; evil `evil` > x",
        "title": "<b>\n" + "y" * 90,
    }
    (unpacked / "run.json").write_text(json.dumps(content))
    facts = taken(listed_anew(unpacked), tmp_path).folder.facts()
    assert facts.command == "python -m gpt2demo train --title '$(evil)' ';' evil '`evil`' '>' x"
    assert facts.title.startswith("<b> yy") and len(facts.title) == 80


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(documents=3), "field documents"),
        (lambda d: d.update(documents=[3]), "no list of texts"),
        (lambda d: d.update(documents=d["documents"] * 60), "no list of texts"),
        (lambda d: d["documents"][0].update(text=3), "field text is 3"),
        (lambda d: d["documents"][0].update(text=""), "is empty"),
        (lambda d: d["documents"][0].update(text="a\0" + "b" * 400), "no upload of this program keeps"),
        (lambda d: d["documents"][0].update(text="a\r\nb" * 400), "no upload of this program keeps"),
        (lambda d: d["documents"][0].update(name="../x"), "no upload of this program keeps"),
        (lambda d: d["documents"][0].update(notices="x"), "field notices"),
    ],
)
def test_a_text_that_no_upload_has_is_refused(unpacked, tmp_path, change, says):
    content = json.loads((unpacked / "corpus.json").read_text())
    change(content)
    (unpacked / "corpus.json").write_text(json.dumps(content))
    with pytest.raises((FileError, TextError), match=says):
        taken(listed_anew(unpacked), tmp_path)


def in_tensors(change):
    def act(path: Path) -> None:
        tensors = change(load_file(path))
        save_file(tensors, path, metadata={"format": "pt", "step": str(STOPPED)})

    return act


def in_json(**change):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | change))


def first(tensors):
    return next(name for name in sorted(tensors) if tensors[name].dim() > 0)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("weights.safetensors", in_tensors(lambda t: t | {first(t): t[first(t)] * torch.nan}), "NaN"),
        ("weights.safetensors", in_tensors(lambda t: dict(list(t.items())[1:])), "are missing"),
        (
            "weights.safetensors",
            in_tensors(lambda t: {n.removeprefix("transformer."): v for n, v in t.items()}),
            "another form",
        ),
        ("weights.safetensors", lambda p: save_file(load_file(p), p), "another step or in another form"),
        ("optimizer.safetensors", in_tensors(lambda t: t | {first(t): t[first(t)] * torch.inf}), "NaN"),
        ("optimizer.safetensors", in_tensors(lambda t: t | {first(t): t[first(t)].half()}), "32-bit"),
        ("optimizer.safetensors", in_tensors(lambda t: t | {first(t): torch.ones(3)}), "memory does not fit"),
        ("optimizer.safetensors", in_tensors(lambda t: t | {"0.999.step": torch.ones(())}), "does not fit"),
        ("optimizer.safetensors", in_tensors(lambda t: t | {"evil": torch.ones(())}), "does not fit"),
        (
            "optimizer.safetensors",
            in_tensors(lambda t: {n: v for n, v in t.items() if n != "0.0.exp_avg"}),
            "does not fit",
        ),
        ("state.json", in_json(step=STOPPED + 1), "step is 15"),
        ("state.json", in_json(step="14"), "field step"),
        ("state.json", in_json(tokens=-1), "tokens is -1"),
        ("state.json", in_json(elapsed=None), "field elapsed"),
        ("state.json", in_json(speed=1e300), "speed is"),
        ("state.json", in_json(fingerprint=["x"]), "field fingerprint"),
        ("state.json", in_json(fingerprint={"torch": "x" * 2_000}), "fingerprint .* too long"),
        ("state.json", lambda p: p.write_text('{"step": NaN}'), "says NaN"),
    ],
)
def test_a_checkpoint_that_no_worker_wrote_is_refused(unpacked, tmp_path, file, change, says):
    change(checkpoints(unpacked)[-1] / file)
    with pytest.raises(UserError, match=says):
        taken(listed_anew(unpacked), tmp_path)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("name", ["model.safetensors", "snapshots/step-000000.safetensors"])
def test_weights_that_no_run_has_are_refused(unpacked, tmp_path, name):
    tensors = load_file(unpacked / name)
    save_file(
        tensors | {"transformer.ln_f.bias": torch.full((16,), torch.nan)},
        unpacked / name,
        metadata={"step": "0"},
    )
    with pytest.raises(FileError, match="ln_f.bias .* NaN"):
        taken(listed_anew(unpacked), tmp_path)


def test_a_snapshot_of_another_step_than_its_name_says_is_refused(unpacked, tmp_path):
    path = unpacked / "snapshots" / "step-000002.safetensors"
    save_file(load_file(path), path, metadata={"step": "3"})
    with pytest.raises(FileError, match="step-000002.safetensors holds the weights of another step"):
        taken(listed_anew(unpacked), tmp_path)


def test_the_manifest_comes_back_as_it_was_written(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    manifest = Manifest(
        format=1, files={"a.txt": sum_of(tmp_path / "a.txt"), "b.txt": sum_of(tmp_path / "a.txt")}
    )
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert read_manifest(tmp_path / MANIFEST) == manifest
    assert manifest.damaged(tmp_path) == ("b.txt",)
    assert manifest.files["a.txt"].sha256.startswith("ba7816bf") and manifest.files["a.txt"].bytes == 3


@pytest.mark.parametrize("out", ["export.zip", "export"])
def test_an_export_gets_the_name_that_was_asked_for(home, tmp_path, out):
    exported = export_to(home[0], tmp_path / "new" / out)
    assert exported.path == tmp_path / "new" / out and exported.notices == ()
    assert [p.name for p in (tmp_path / "new").iterdir()] == [out]
    assert import_source(exported.path, tmp_path / "run").folder.facts() == home[0].facts()
    with pytest.raises(ConfigError, match="exists and is not empty"):
        export_to(home[0], tmp_path / "new" / out)
