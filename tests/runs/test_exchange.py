"""Models come in and go out within limits: told as they move, stopped without a loss, or refused"""

import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest

from gpt2demo.errors import BusyError, ConfigError, FileError, LimitError, UserError
from gpt2demo.runs import exchange as doors
from gpt2demo.runs.exchange import Exchange
from gpt2demo.runs.export import export_zip
from gpt2demo.runs.quotas import Quotas
from gpt2demo.runs.store import RunStore
from gpt2demo.training.folder import RunFolder
from tests.hub.stub_hub import StubHub

STARTER = Path(__file__).parents[2] / "assets" / "starter"
BARE = ("config.json", "model.safetensors", "tokenizer.json")
NAME = "somebody/starter"


@pytest.fixture
def stub():
    server = StubHub(STARTER, repo=NAME)
    server.user = "student"
    huggingface_hub.close_session()
    yield server
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


@pytest.fixture
def exchange(store, stub, tmp_path):
    return Exchange(store, tmp_path / "cache", endpoint=stub.endpoint, patience=2.0)


def bare(folder):
    """The starter's model alone, as another program would store it."""
    folder.mkdir(parents=True)
    return [Path(shutil.copy(STARTER / name, folder)) for name in BARE]


def fetched(exchange, owner, name=NAME):
    """Fetches a model to the end. → all the steps"""
    return list(exchange.fetch(owner, name))


def left_behind(store):
    """What lies in the workshop."""
    return [path.name for path in store.unfinished.iterdir()]


# -- files ---------------------------------------------------------------------------------------------------


def test_loose_files_become_a_run_of_the_one_who_brought_them(exchange, store, owner, tmp_path):
    arrived = exchange.take_in(owner, bare(tmp_path / "files"))
    assert (arrived.title, arrived.trainable) == ("Uploaded model", False)
    assert store.owns(owner, arrived.run) and store.summary(arrived.run).preset == "imported"
    command = store.folder(arrived.run).facts().command
    assert command == f"python -m gpt2demo import FOLDER --out {arrived.run}"
    assert left_behind(store) == []


def test_an_export_comes_back_as_the_run_that_it_was(exchange, store, owner, tmp_path):
    packed = export_zip(RunFolder(STARTER, read_only=True), tmp_path / "out").path
    arrived = exchange.take_in(owner, [packed])
    assert (arrived.title, arrived.trainable) == ("Starter", True)
    summary = store.summary(arrived.run)
    assert summary.step == 6_500 and summary.documents == ("little_stories_long.txt",)


def test_a_zip_is_called_by_its_name(exchange, store, owner, tmp_path):
    bare(tmp_path / "files")
    packed = shutil.make_archive(str(tmp_path / "My GPT"), "zip", tmp_path / "files")
    arrived = exchange.take_in(owner, [Path(packed)])
    assert arrived.title == "My GPT" and "'My GPT.zip'" in store.folder(arrived.run).facts().command


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "There is no file"),
        (("model.safetensors",), "holds weights only"),
        (("config.json",), "no model.safetensors"),
        (("config.json", "tokenizer.json"), "no model.safetensors"),
        (("config.json", "model.safetensors"), "vocab"),
        (("config.json", "pytorch_model.bin", "tokenizer.json"), "Python pickles"),
        (tuple(f"{i}.json" for i in range(13)), "These are 13 files"),
    ],
)
def test_what_is_no_model_is_refused_and_leaves_nothing(exchange, store, owner, tmp_path, names, says):
    files = []
    for name in names:
        files.append(tmp_path / name)
        source = STARTER / name
        files[-1].write_bytes(source.read_bytes() if source.is_file() else b"\x80\x04x")
    with pytest.raises(UserError, match=says):
        exchange.take_in(owner, files)
    assert store.list(owner) == [] and left_behind(store) == []


def test_only_browsers_own_models_and_only_so_many(store, owner, tmp_path):
    small = replace(Quotas(), runs_per_owner=1)
    exchange = Exchange(RunStore(store.root, quotas=small), tmp_path / "cache")
    files = bare(tmp_path / "files")
    for nobody in ("", "short", None, 7):
        with pytest.raises(ConfigError, match="whose run"):
            exchange.take_in(nobody, files)
    exchange.take_in(owner, files)
    with pytest.raises(LimitError, match="You have 1 runs"):
        exchange.take_in(owner, files)


def test_a_model_larger_than_allowed_stays_outside(store, owner, tmp_path):
    exchange = Exchange(store, tmp_path / "cache", max_bytes=1_000_000)
    bare(tmp_path / "files")
    packed = shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "files")
    with pytest.raises(LimitError, match="1.9 MB when it is unpacked"):
        exchange.take_in(owner, [Path(packed)])


def test_a_model_that_memory_cannot_hold_stays_outside(store, owner, tmp_path):
    exchange = Exchange(RunStore(store.root, memory_bytes=1_000_000), tmp_path / "cache")
    with pytest.raises(LimitError, match="470,528 parameters"):
        exchange.take_in(owner, bare(tmp_path / "files"))


# -- the Hub -------------------------------------------------------------------------------------------------


def test_it_is_told_how_large_a_model_is_and_what_of_it_is_here(exchange, owner):
    offer = exchange.announce(NAME)
    assert offer.announcement.size > 1_890_000 and offer.here == 0
    steps = fetched(exchange, owner)
    assert exchange.announce(NAME).here == offer.announcement.size
    assert [step.arrived for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert steps[-1].done == steps[-1].size == offer.announcement.size


def test_what_arrives_is_a_run_and_says_what_was_left_out(exchange, store, stub, owner):
    arrived = fetched(exchange, owner)[-1].arrived
    assert (arrived.title, arrived.trainable) == ("starter", False)
    assert f"import hub:{NAME}" in store.folder(arrived.run).facts().command
    stub.misbehave = lambda handler: handler.answer(503) or True
    again = fetched(exchange, owner)[-1].arrived
    assert again.run != arrived.run and "fetched before is used" in again.notices[0]


def test_one_of_the_official_four_must_fit_into_memory_before_a_byte_comes(store, stub, tmp_path):
    stub.repo = "openai-community/gpt2-xl"
    store = RunStore(store.root, memory_bytes=2_000_000_000)
    exchange = Exchange(store, tmp_path / "cache", endpoint=stub.endpoint, patience=2.0)
    with pytest.raises(LimitError, match="1,557,611,200 parameters.*GB"):
        exchange.announce("gpt2-xl")


def test_a_download_that_is_stopped_goes_on_where_it_was(exchange, store, stub, owner):
    data = (STARTER / "model.safetensors").read_bytes()

    def slowly(handler):
        if not handler.path.endswith("model.safetensors"):
            return False
        handler.start(200, {"Content-Length": str(len(data))})
        for at in range(0, len(data), 100_000):
            handler.wfile.write(data[at : at + 100_000])
            time.sleep(0.05)
        return True

    stub.misbehave = slowly
    with closing(exchange.fetch(owner, NAME)) as steps:
        next(step for step in steps if step.done > 500_000)
    here = exchange.announce(NAME).here
    assert here > 500_000 and store.list(owner) == []
    stub.misbehave = None
    assert fetched(exchange, owner)[0].done >= here and len(store.list(owner)) == 1
    ranges = [name for headers in stub.headers_seen for name in headers if name.lower() == "range"]
    assert ranges, "the rest was asked for, and not the whole once more"


def test_a_full_house_is_told_before_anything_is_fetched(store, stub, owner, tmp_path):
    full = RunStore(store.root, quotas=replace(Quotas(), bytes_in_all=2_000_000))
    exchange = Exchange(full, tmp_path / "cache", endpoint=stub.endpoint, patience=2.0)
    with pytest.raises(LimitError, match="All runs together may fill"):
        fetched(exchange, owner)
    crowded = RunStore(store.root, quotas=replace(Quotas(), runs_per_owner=0))
    exchange = Exchange(crowded, tmp_path / "cache", endpoint=stub.endpoint, patience=2.0)
    with pytest.raises(LimitError, match="You have 0 runs"):
        fetched(exchange, owner)
    assert not any("/resolve/" in request for request in stub.seen)


def test_a_model_moves_once_at_a_time_and_few_move_at_once(exchange, owner, monkeypatch):
    with closing(exchange.fetch(owner, NAME)) as steps:
        next(steps)
        with pytest.raises(BusyError, match="on its way already"):
            fetched(exchange, owner)
        monkeypatch.setattr(doors, "TRANSFERS", 1)
        with pytest.raises(BusyError, match="1 models are on their way"):
            list(
                exchange.push(
                    RunFolder(STARTER, read_only=True), "x", token="", private=True, overwrite=False
                )
            )
    assert fetched(exchange, owner)[-1].arrived


def test_models_fetched_longest_ago_make_room(store, stub, owner, tmp_path):
    exchange = Exchange(store, tmp_path / "cache", endpoint=stub.endpoint, cache_bytes=2_500_000)
    fetched(exchange, owner)
    stub.repo = "somebody/else"
    fetched(exchange, owner, "somebody/else")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["somebody--else"]
    fetched(exchange, owner, "somebody/else")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["somebody--else"]


# -- out -----------------------------------------------------------------------------------------------------


def test_a_run_goes_to_the_visitors_account_and_only_the_model_of_it(exchange, store, stub):
    starter = RunFolder(STARTER, read_only=True)
    steps = list(exchange.push(starter, "mine", token="hf_secretsecret", private=True, overwrite=False))
    assert steps[-1].url == f"{stub.endpoint}/student/mine" and stub.created[0]["visibility"] == "private"
    assert set(stub.committed) == {*BARE, "README.md", "tokenizer_config.json"}
    assert left_behind(store) == []


def test_without_a_token_nothing_is_sent_and_no_sentence_holds_one(exchange, stub):
    for token in ("", "two words of it", None, "ü" * 20):
        with pytest.raises(ConfigError) as refused:
            list(
                exchange.push(
                    RunFolder(STARTER, read_only=True), "mine", token=token, private=True, overwrite=False
                )
            )
        assert "no access token" in str(refused.value) and (not token or token not in str(refused.value))
    stub.user = None
    with pytest.raises((ConfigError, FileError)) as refused:
        list(
            exchange.push(
                RunFolder(STARTER, read_only=True),
                "m1",
                token="hf_secretsecret",
                private=True,
                overwrite=False,
            )
        )
    assert "hf_secret" not in str(refused.value) and not stub.committed
