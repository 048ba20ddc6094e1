"""Models by name: read strictly, loaded once, shared by all, and never the weights of another step."""

import shutil
import threading
from dataclasses import replace

import pytest
import torch

from gpt2demo.errors import BusyError, FileError, NotFoundError
from gpt2demo.runs.identity import new_owner
from gpt2demo.runs.models import ModelRef, ModelStore
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.loop import TrainStep

ID = "abcDEF0123_-xyzw"


@pytest.fixture
def run(store, owner, help):
    return store.create(owner, help.plan())


@pytest.fixture
def starter(store, owner, help, tmp_path):
    """A finished run, as it would come with the program."""
    path = tmp_path / "starter"
    shutil.copytree(store.folder(store.create(owner, help.plan("bpe"))).path, path)
    folder = RunFolder(path)
    folder.save_snapshot(help.give_weights(folder, 40, seed=1), 10)
    for step in range(0, 41, 10):
        folder.journal().add_steps([measured(step)])
    folder.journal().tell(state="done", final_val_loss=1.25)
    return path


@pytest.fixture
def models(store, starter):
    return ModelStore(store, starter)


def measured(step):
    return TrainStep(
        step=step,
        tokens=step,
        train_loss=2.0,
        val_loss=3.0 - step / 40,
        val_accuracy=0.5,
        learning_rate=0.1,
        gradient_norm=1.0,
        tokens_per_second=1.0,
        elapsed=1.0,
    )


@pytest.mark.parametrize("text", ["starter", "starter@0", "starter@100", f"run:{ID}", f"run:{ID}@100"])
def test_a_reference_is_read_as_it_is_written(text):
    assert str(ModelRef.parse(text)) == text
    assert ModelRef.parse(text) == ModelRef.parse(text) and hash(ModelRef.parse(text))


def test_the_parts_of_a_reference():
    assert ModelRef.parse(f"run:{ID}@12") == ModelRef("run", ID, 12)
    assert ModelRef.parse("starter") == ModelRef("starter")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "Starter",
            "starter@",
            "starter@-1",
            "starter@1.5",
            "starter@x",
            "starter@1 ",
            "starter\n",
            "starter@٣",
        ),
        *("run:", "run:short", f"run:{ID}x", f"run:{ID}@", f"run:{ID}@1@2", f" run:{ID}", f"run:{ID}\n", ID),
        *(
            "run:../../../../etc/",
            "run:aaaaaaaa/aaaaaaa",
            "hub:gpt2",
            "starter@" + "9" * 5_000,
            None,
            5,
            ["starter"],
        ),
    ],
)
def test_what_is_no_reference_is_not_found(text):
    with pytest.raises(NotFoundError) as caught:
        ModelRef.parse(text)
    assert caught.value.got and caught.value.needed and caught.value.todo and len(str(caught.value)) < 300


def test_the_starter_is_there_and_is_only_read(models, starter):
    before = sorted(starter.rglob("*"))
    loaded = models.get(ModelRef("starter"))
    assert (loaded.step, loaded.ref) == (40, ModelRef("starter", step=40))
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.tokenizer.kind == "bpe" and loaded.config == loaded.model.config
    assert (loaded.facts.title, loaded.facts.val_loss, loaded.facts.documents) == (
        "Starter",
        1.25,
        ("cats.txt",),
    )
    assert models.steps(ModelRef("starter")) == (10, 40)
    assert sorted(starter.rglob("*")) == before


def test_everybody_shares_one_model(models, run, store, help):
    help.give_weights(store.folder(run), 7)
    ref = ModelRef("run", run)
    loaded = models.get(ref)
    assert models.get(ref) is loaded is models.get(ModelRef("run", run, 7))
    assert loaded.ref == ModelRef("run", run, 7)
    with loaded.lock, loaded.lock, torch.no_grad():
        loaded.model(torch.zeros(1, 4, dtype=torch.int64))


def test_the_newest_weights_are_read_again_when_they_change(models, run, store, help):
    folder, ref = store.folder(run), ModelRef("run", run)
    with pytest.raises(NotFoundError, match="no weights yet"):
        models.get(ref)
    assert models.describe(ref).step is None and models.steps(ref) == ()
    help.give_weights(folder, 1, seed=1)
    first = models.get(ref)
    help.give_weights(folder, 5, seed=5)
    second = models.get(ref)
    assert (first.step, second.step, models.steps(ref)) == (1, 5, (5,))
    assert not torch.equal(first.model.wte.weight, second.model.wte.weight)
    help.give_weights(folder, 5, seed=6)  # the same step, trained again with another end
    third = models.get(ref)
    assert third.step == 5 and not torch.equal(second.model.wte.weight, third.model.wte.weight)
    assert models.get(replace(ref, step=1)) is first  # its file is gone, but somebody may still look at it
    assert models.describe(replace(ref, step=1)).step == 1


def test_weights_that_are_replaced_before_they_are_read_are_no_mistake(models, run, store, help, monkeypatch):
    folder, ref = store.folder(run), ModelRef("run", run)
    help.give_weights(folder, 1)
    resolve = models._resolve

    def slowly(*details):
        found = resolve(*details)
        if folder.newest_step() == 1:
            help.give_weights(folder, 5)
        return found

    monkeypatch.setattr(models, "_resolve", slowly)
    assert models.get(ref).step == 5


def test_an_earlier_step_is_what_was_kept_of_it(models, run, store, help):
    folder = store.folder(run)
    early = help.give_weights(folder, 3, seed=3)
    folder.save_snapshot(early, 3)
    help.give_weights(folder, 9, seed=9)
    loaded = models.get(ModelRef("run", run, 3))
    assert loaded.step == 3 and torch.allclose(loaded.model.wte.weight, early.wte.weight, atol=1e-4)
    for look in (models.get, models.describe):
        with pytest.raises(NotFoundError, match=r"step 4 were not kept.*3, 9"):
            look(ModelRef("run", run, 4))


def test_many_at_once_load_once(models, run, store, help, monkeypatch):
    help.give_weights(store.folder(run), 7)
    loads, load = [], RunFolder.load_model
    monkeypatch.setattr(
        RunFolder, "load_model", lambda self, step=None: (loads.append(step), load(self, step))[1]
    )
    barrier, found = threading.Barrier(8), []

    def look():
        barrier.wait()
        found.append(models.get(ModelRef("run", run)))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [7] and len(set(map(id, found))) == 1 and len(found) == 8
    assert models._loading._locks == {}


def test_weights_that_change_while_they_are_read_are_read_again(models, run, store, help, monkeypatch):
    folder = store.folder(run)
    help.give_weights(folder, 1, seed=1)
    load, replaced = RunFolder.load_model, iter([2, 3])

    def meddle(self, step=None):
        for newer in replaced:
            newest = help.give_weights(folder, newer, seed=newer)
            if newer == 3:
                break
            return newest, step  # as if it had read the new file under the old step's name
        return load(self, step)

    monkeypatch.setattr(RunFolder, "load_model", meddle)
    loaded = models.get(ModelRef("run", run))
    assert loaded.step == 3
    assert torch.equal(loaded.model.wte.weight, load(folder)[0].wte.weight)


def test_weights_that_never_rest_are_refused_politely(models, run, store, help, monkeypatch):
    folder = store.folder(run)
    help.give_weights(folder, 1)
    load, seeds = RunFolder.load_model, iter(range(2, 100))

    def meddle(self, step=None):
        result = load(self, step)
        help.give_weights(folder, next(seeds))
        return result

    monkeypatch.setattr(RunFolder, "load_model", meddle)
    with pytest.raises(BusyError):
        models.get(ModelRef("run", run))


def test_while_a_worker_saves_all_the_time_no_step_gets_the_weights_of_another(models, run, store, help):
    folder, stop = store.folder(run), threading.Event()
    right = {step: help.give_weights(folder, step, seed=step).wte.weight[0, 0].item() for step in range(8)}

    def train():
        step = 0
        while not stop.is_set():
            step = (step + 1) % 8
            help.give_weights(folder, step, seed=step)
            stop.wait(0.02)

    worker = threading.Thread(target=train)
    worker.start()
    seen = set()
    try:
        for _ in range(60):
            try:
                loaded = models.get(ModelRef("run", run))
            except BusyError:
                continue
            assert loaded.model.wte.weight[0, 0].item() == right[loaded.step]
            seen.add(loaded.step)
    finally:
        stop.set()
        worker.join()
    assert len(seen) > 1


def test_the_models_used_longest_ago_are_forgotten(store, starter, help):
    refs = []
    for _ in range(3):
        id = store.create(new_owner(), help.plan())
        help.give_weights(store.folder(id), 1)
        refs.append(ModelRef("run", id))
    size = ModelStore(store, starter).get(refs[0]).memory
    assert size == 4 * sum(
        p.numel() for p in RunFolder(store.root / refs[0].run_id).load_model()[0].parameters()
    )
    models = ModelStore(store, starter, capacity_bytes=2 * size)
    first, second = models.get(refs[0]), models.get(refs[1])
    assert models.get(refs[0]) is first  # now the second is the one used longest ago
    models.get(refs[2])
    assert models.get(refs[0]) is first and models.get(refs[1]) is not second
    tiny = ModelStore(store, starter, capacity_bytes=0)
    assert tiny.get(refs[0]) is tiny.get(refs[0])  # the last one is always kept


def test_what_the_page_says_about_a_model(models, run, store, owner, help):
    folder = store.folder(run)
    help.give_weights(folder, 15)
    folder.journal().add_steps([measured(step) for step in (0, 10, 20)])
    folder.journal().tell(state="paused")
    store.rename(owner, run, "My cats")
    told = models.describe(ModelRef("run", run))
    assert (told.kind, told.title, told.state, told.step) == ("run", "My cats", "paused", 15)
    assert told.val_loss is None and told.measured == (10, 2.75) and told.documents == ("cats.txt",)
    assert told.parameters > 5_000
    help.give_weights(folder, 20)
    assert models.describe(ModelRef("run", run)).val_loss == 2.5
    starter = models.describe(ModelRef("starter", step=10))
    assert (starter.title, starter.state, starter.step, starter.val_loss) == ("Starter", "done", 10, 2.75)


def test_a_run_that_was_stopped_tells_its_loss_too(models, run, store, help):
    folder = store.folder(run)
    help.give_weights(folder, 21)  # the last record was written before the last update
    folder.journal().add_steps([measured(step) for step in (0, 10, 20)])
    folder.journal().tell(state="stopped", checkpoint_step=21, final_val_loss=2.25)
    told = models.describe(ModelRef("run", run))
    assert (told.val_loss, told.measured) == (2.25, (21, 2.25))


def test_models_that_are_not_there(models, run, store, owner, help):
    help.give_weights(store.folder(run), 1)
    models.get(ModelRef("run", run))
    store.delete(owner, run)
    for ref in (
        ModelRef("run", run),
        ModelRef("run", "../../etc"),
        ModelRef("run", None),
        ModelRef("hub", "x"),
    ):
        for look in (models.get, models.describe, models.steps):
            with pytest.raises(NotFoundError):
                look(ref)
    models.starter.joinpath("run.json").unlink()
    with pytest.raises(NotFoundError):
        models.get(ModelRef("starter"))


def test_damaged_weights_are_no_model(models, run, store):
    (store.folder(run).path / "model.safetensors").write_bytes(b"rubbish" * 100)
    with pytest.raises(FileError):
        models.get(ModelRef("run", run))
