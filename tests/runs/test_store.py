"""Runs are made whole or not at all, belong to somebody, and find room or are refused."""

import collections
import threading
import time

import pytest

from gpt2demo.errors import BusyError, ConfigError, LimitError, NotFoundError, TextError
from gpt2demo.runs import store as store_module
from gpt2demo.runs.identity import new_owner
from gpt2demo.runs.quotas import Quotas
from gpt2demo.runs.store import RunStore
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.lock import hold


def three_sentences(error):
    return all((error.value.got, error.value.needed, error.value.todo))


def test_a_new_run_is_whole_and_waits(store, owner, help):
    id = store.create(owner, help.plan())
    folder = store.folder(id)
    facts = folder.facts()
    assert folder.status().state == "waiting"
    assert (facts.title, facts.preset, facts.tokenizer, facts.documents) == (
        "Cats",
        "nano",
        "char",
        ("cats.txt",),
    )
    assert facts.tokens == facts.characters == len(folder.corpus().text)
    assert facts.command.endswith(f"--out {id}")
    assert list((store.root / ".unfinished").iterdir()) == []


def test_the_summary_says_what_there_is(store, owner, help):
    id = store.create(owner, help.plan("bpe"))
    summary = store.summary(id)
    assert summary.id == id and summary.state == "waiting" and summary.step == 0
    assert summary.tokenizer == "bpe" and summary.documents == ("cats.txt",) and summary.parameters > 5_000
    assert summary.val_loss is None and summary.snapshot_steps == () and summary.position is None
    assert abs(summary.created - time.time()) < 60


def test_an_empty_title_becomes_the_name_of_the_text(store, owner, help):
    id = store.create(owner, help.plan(title=""))
    assert store.summary(id).title == "cats"


def test_runs_are_listed_newest_first_and_survive_a_restart(store, owner, help):
    ids = [store.create(owner, help.plan(title=f"Run {i}")) for i in range(3)]
    again = RunStore(store.root)
    assert [run.id for run in again.list(owner)] == ids[::-1]
    assert again.list(new_owner()) == [] == again.list("") == again.list(None)


def test_each_owner_may_change_only_what_is_theirs(store, help):
    owners = [new_owner() for _ in range(3)]
    ids = [store.create(owner, help.plan()) for owner in owners]
    messages = set()
    for i, owner in enumerate([*owners, new_owner(), "", None]):
        for j, id in enumerate([*ids, "a" * 16, "../../x"]):
            mine = i == j < len(ids)
            assert store.owns(owner, id) is mine
            if mine:
                store.check_owner(owner, id)
                store.rename(owner, id, "Mine")
                continue
            for attempt in (store.check_owner, store.delete):
                with pytest.raises(NotFoundError) as caught:
                    attempt(owner, id)
                messages.add(str(caught.value))
            with pytest.raises(NotFoundError):
                store.rename(owner, id, "Stolen")
    assert len(messages) == 1  # nobody learns which ids exist
    assert [store.summary(id).title for id in ids] == ["Mine"] * 3  # but all may watch who have the id


def test_the_token_of_an_owner_is_not_on_the_disk(store, owner, help):
    store.create(owner, help.plan())
    for file in store.root.rglob("*"):
        assert not file.is_file() or owner.encode() not in file.read_bytes()


def test_a_run_that_cannot_be_finished_leaves_nothing(store, owner, help, monkeypatch):
    def fail(path, plan):
        path.mkdir(parents=True)
        (path / "run.json").write_text("half")
        assert store.list(owner) == []
        raise OSError("disk full")

    monkeypatch.setattr(RunFolder, "create", fail)
    with pytest.raises(OSError):
        store.create(owner, help.plan())
    assert store.list(owner) == [] == store.index.everything()
    assert sorted(path.name for path in store.root.iterdir() if path.is_dir()) == [".unfinished"]
    assert list((store.root / ".unfinished").iterdir()) == []


def test_what_a_crash_left_half_made_is_swept_away(store, owner, help, monkeypatch):
    id = store.create(owner, help.plan())
    (store.root / ".unfinished" / id).mkdir()
    store.folder(id).path.rename(store.root / ".unfinished" / id / id)
    with pytest.raises(NotFoundError):
        store.summary(id)
    assert store.list(owner) == []
    RunStore(store.root)  # it may be somebody's work in progress
    assert store.index.get(id) is not None
    monkeypatch.setattr(store_module, "ABANDONED", -60)
    again = RunStore(store.root)
    assert again.index.everything() == [] and list((store.root / ".unfinished").iterdir()) == []


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, owner, help):
    store = RunStore(tmp_path, memory_bytes=100_000)
    with pytest.raises(LimitError, match="memory"):
        store.create(owner, help.plan())
    store = RunStore(tmp_path)
    with pytest.raises(TextError, match="tokens") as caught:
        store.create(owner, help.plan(text="too short"))
    assert three_sentences(caught)
    with pytest.raises(ConfigError):
        store.create("", help.plan())
    with pytest.raises(LimitError):
        store.create(owner, help.plan(title="x" * 81))
    assert store.index.everything() == []


def test_an_owner_may_keep_so_many_runs(tmp_path, owner, help):
    store = RunStore(tmp_path, quotas=Quotas(runs_per_owner=2))
    first = store.create(owner, help.plan())
    store.create(owner, help.plan())
    with pytest.raises(LimitError, match="You have 2 runs") as caught:
        store.create(owner, help.plan())
    assert three_sentences(caught)
    store.create(new_owner(), help.plan())
    store.delete(owner, first)
    store.create(owner, help.plan())


def test_two_clicks_at_once_cannot_pass_the_quota_together(tmp_path, owner, help):
    store = RunStore(tmp_path, quotas=Quotas(runs_per_owner=3))
    plan, results = help.plan(), []

    def click():
        try:
            results.append(store.create(owner, plan))
        except LimitError:
            results.append(None)

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) == 3 == len(store.list(owner))


def create_large(store, owner, help):
    """Makes a run that fills 16 MB. → its id"""
    id = store.create(owner, help.plan())
    (store.root / id / "checkpoints").mkdir()
    (store.root / id / "checkpoints" / "big").write_bytes(bytes(16_000_000))
    return id


def test_all_runs_together_may_fill_so_much(tmp_path, owner, help):
    store = RunStore(tmp_path, quotas=Quotas(bytes_in_all=25_000_000))
    id = create_large(store, owner, help)
    with pytest.raises(LimitError, match="may need 0.0 GB of disk") as caught:
        store.create(owner, help.plan())
    assert three_sentences(caught)
    store.delete(owner, id)
    store.create(owner, help.plan())


def test_the_runs_of_one_owner_may_fill_so_much(tmp_path, owner, help):
    store = RunStore(tmp_path, quotas=Quotas(bytes_per_owner=25_000_000))
    id = create_large(store, owner, help)
    with pytest.raises(LimitError, match="and your runs fill 0.0 GB") as caught:
        store.create(owner, help.plan())
    assert three_sentences(caught)
    with pytest.raises(LimitError, match="your runs"):
        store.check_room(owner, 10_000_000)
    other = new_owner()
    store.create(other, help.plan())
    store.check_room(other, 10_000_000)
    store.delete(owner, id)
    store.create(owner, help.plan())


def test_a_run_may_ask_for_so_many_minutes(tmp_path, owner, help):
    store = RunStore(tmp_path, quotas=Quotas(minutes_per_run=10))
    store.create(owner, help.plan(steps=None, minutes=10.0))
    with pytest.raises(LimitError, match="asks for 10.5 minutes. On this server .* at most 10.") as caught:
        store.create(owner, help.plan(steps=None, minutes=10.5))
    assert three_sentences(caught) and len(store.list(owner)) == 1


def test_runs_in_the_queue_count_with_what_they_may_come_to_need(store, owner, help):
    id = store.create(owner, help.plan())
    at_rest = store.bytes_used()
    store.index.enqueue(id)
    assert store.bytes_used() == store.index.get(id).reserved > at_rest > 0


def test_a_full_disk_refuses_runs(store, owner, help, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 900_000_000))
    with pytest.raises(LimitError, match="disk of this server is nearly full: 0.9 GB") as caught:
        store.create(owner, help.plan())
    assert three_sentences(caught)


def test_a_run_is_deleted_for_good_but_not_under_its_worker(store, owner, help):
    id = store.create(owner, help.plan())
    folder = store.folder(id)
    with hold(folder.lock), pytest.raises(BusyError) as caught:
        store.delete(owner, id)
    assert three_sentences(caught)
    store.index.enqueue(id)
    store.index.claim(id)
    with pytest.raises(BusyError):
        store.delete(owner, id)
    store.index.set(id, place=None, started=0)
    store.delete(owner, id)
    assert not folder.path.exists() and list((store.root / ".unfinished").iterdir()) == []
    for gone in (store.summary, store.folder, store.view):
        with pytest.raises(NotFoundError):
            gone(id)


def test_a_new_title_is_everywhere(store, owner, help):
    id = store.create(owner, help.plan())
    store.rename(owner, id, " Dogs &\n <b>cats</b> ")
    assert store.summary(id).title == store.folder(id).facts().title == "Dogs & <b>cats</b>"
    with pytest.raises(LimitError):
        store.rename(owner, id, "x" * 81)


@pytest.mark.parametrize("name", ["run.json", "config.json", "run.sqlite"])
def test_a_damaged_run_hides_no_other(store, owner, help, name):
    good, bad = (store.create(owner, help.plan()) for _ in range(2))
    (store.root / bad / name).write_bytes(b"\x00 rubbish \xff" * 100)
    for side in ("run.sqlite-wal", "run.sqlite-shm"):
        (store.root / bad / side).unlink(missing_ok=True)
    broken, whole = store.list(owner)
    assert (broken.id, broken.state, broken.message) == (bad, "failed", "The files of this run are damaged.")
    assert (whole.id, whole.state) == (good, "waiting")
    store.delete(owner, bad)
