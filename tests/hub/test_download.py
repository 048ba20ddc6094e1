"""Models from a Hub: announced, fetched, resumed, kept; and every fault that a Hub can have in a sentence."""

import json
import os
import time

import huggingface_hub
import pytest
import torch

from gpt2demo.errors import BusyError, ConfigError, FileError, LimitError, NotFoundError, UserError
from gpt2demo.hub import connection, download
from gpt2demo.hub.announcement import OFFICIAL_MODELS, announcement_from
from gpt2demo.hub.connection import Connection, Unreachable
from gpt2demo.hub.download import Hub
from gpt2demo.hub.source import open_model
from gpt2demo.model.config import GPT2Config
from tests.hub.stub_hub import COMMIT, StubHub, drip

REPO = "somebody/some-model"
CANARY = "hf_" + "CANARYcanary0123456789" * 2


@pytest.fixture
def shape(tokenizer):
    return GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=48, n_layer=4, n_head=2)


@pytest.fixture
def served(foreign, tmp_path, shape, tokenizer):
    folder = foreign.folder(tmp_path / "served", foreign.tensors(shape), shape, tokenizer)
    (folder / "README.md").write_text("# hello")
    return folder


@pytest.fixture(autouse=True)
def quick(only_this_machine, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "SHOW_SECONDS", 0.0)


@pytest.fixture
def stub(served):
    server = StubHub(served)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(stub, tmp_path):
    return Hub(tmp_path / "cache", endpoint=stub.endpoint, patience=2.0)


def fetched(hub, announcement):
    return list(hub.download(announcement))[-1].folder


def asked_for(stub, name):
    return [line for line in stub.seen if line.endswith(name)]


def when(path_ends, act):
    """Misbehaviour only for requests of one path."""

    def misbehave(handler):
        if path_ends not in handler.path:
            return False
        act(handler)
        return True

    return misbehave


# --- how it goes ---


def test_a_model_is_announced_with_its_size_before_anything_is_fetched(hub, stub, served, tmp_path):
    announcement = hub.announce(REPO)
    assert announcement.repo == REPO and announcement.revision == COMMIT and announcement.public
    assert [f.name for f in announcement.files] == ["config.json", "tokenizer.json", "model.safetensors"]
    assert announcement.size == sum((served / f.name).stat().st_size for f in announcement.files)
    assert announcement.notices == () and announcement.parameters is None
    assert stub.seen == [f"GET /api/models/{REPO}?blobs=true"]
    assert not list(tmp_path.glob("cache/**/*.safetensors"))


def test_only_listed_files_are_fetched_and_they_are_the_model(hub, stub, served, foreign, shape, tmp_path):
    announcement = hub.announce(REPO)
    steps = list(hub.download(announcement))
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert all(s.size == announcement.size and s.folder is None for s in steps[:-1])
    assert steps[-1].done == steps[-1].size and len(steps) > 3
    folder = steps[-1].folder
    names = ("config.json", "tokenizer.json", "model.safetensors")
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)
    assert all((folder / name).read_bytes() == (served / name).read_bytes() for name in names)
    found = open_model(folder, workshop=tmp_path)
    assert all(torch.equal(a, foreign.tensors(shape)[n]) for n, a in found.tensors().items())


def test_what_is_here_is_not_fetched_again(hub, stub):
    folder = fetched(hub, hub.announce(REPO))
    asked = len(stub.seen)
    (again,) = hub.download(hub.announce(REPO))
    assert again.folder == folder and again.done == again.size
    assert len(stub.seen) == asked + 1  # the announcement


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_version_can_be_named(hub, stub, revision):
    assert hub.announce(REPO, revision).revision == COMMIT
    assert stub.seen == [f"GET /api/models/{REPO}/revision/{revision}?blobs=true"]


def test_a_download_that_was_stopped_goes_on_where_it_was(hub, stub):
    announcement = hub.announce(REPO)
    steps = hub.download(announcement)
    for step in steps:
        if step.file == "model.safetensors" and step.done > announcement.size // 3:
            break
    steps.close()
    stub.headers_seen.clear()
    rest = list(hub.download(announcement))
    assert rest[0].done > announcement.size // 3 and rest[-1].folder is not None
    assert asked_for(stub, "config.json") == [f"GET /{REPO}/resolve/{COMMIT}/config.json"]
    (headers,) = stub.headers_seen
    assert int(headers["range"].removeprefix("bytes=").removesuffix("-")) > 1_000


def test_a_killed_download_is_taken_over_only_when_it_is_surely_dead(hub, stub, served):
    announcement = hub.announce(REPO)
    folder = hub._folder(announcement)
    folder.mkdir(parents=True)
    part = folder / "model.safetensors.12345678.part"
    part.write_bytes((served / "model.safetensors").read_bytes()[:5_000])
    fetched(hub, announcement)
    assert "range" not in stub.headers_seen[-1] and part.exists()
    (folder / "model.safetensors").unlink()
    os.utime(part, (time.time() - 1_000,) * 2)
    fetched(hub, announcement)
    assert stub.headers_seen[-1]["range"] == "bytes=5000-" and not part.exists()


def test_a_connection_that_breaks_off_is_taken_up_again(hub, stub, served):
    data = (served / "model.safetensors").read_bytes()

    def break_off(handler):
        begin = int(handler.headers.get("range", "bytes=0-")[6:-1])
        headers = {"Content-Length": str(len(data) - begin)}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        handler.start(206 if begin else 200, headers)
        handler.wfile.write(data[begin : begin + 10_000])
        handler.close_connection = True

    announcement = hub.announce(REPO)
    stub.misbehave = when("model.safetensors", break_off)
    folder = fetched(hub, announcement)
    assert (folder / "model.safetensors").read_bytes() == data
    assert len(asked_for(stub, "model.safetensors")) == -(-len(data) // 10_000)


def test_a_server_that_cannot_resume_starts_over(hub, stub, served):
    announcement = hub.announce(REPO)
    folder = hub._folder(announcement)
    folder.mkdir(parents=True)
    part = folder / "model.safetensors.12345678.part"
    part.write_bytes(b"x" * 5_000)
    os.utime(part, (0, 0))
    data = (served / "model.safetensors").read_bytes()
    stub.misbehave = when("model.safetensors", lambda handler: handler.answer(200, data))
    assert (fetched(hub, announcement) / "model.safetensors").read_bytes() == data


def test_without_a_network_the_copy_is_used_and_that_is_said(hub, stub, tmp_path):
    folder = fetched(hub, hub.announce(REPO))
    stub.shutdown()
    stub.server_close()
    huggingface_hub.close_session()
    announcement = hub.announce(REPO)
    assert announcement.notices == ("The Hub cannot be reached. The copy that was fetched before is used.",)
    assert fetched(hub, announcement) == folder
    with pytest.raises(Unreachable, match="cannot be reached"):
        hub.announce("somebody/else")
    with pytest.raises(Unreachable):
        hub.announce(REPO, "v2")
    (folder / "model.safetensors").unlink()
    with pytest.raises(Unreachable):
        hub.announce(REPO)


def test_the_librarys_offline_mode_is_obeyed(hub, stub, monkeypatch):
    fetched(hub, hub.announce(REPO))
    asked = len(stub.seen)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "copy" in hub.announce(REPO).notices[0]
    assert len(stub.seen) == asked


@pytest.mark.parametrize(
    "changes", [{"private": True}, {"gated": "manual"}, {"gated": True}, {"disabled": True}]
)
def test_what_is_not_everybodys_is_not_given_out_from_the_cache(hub, stub, changes):
    stub.changes = changes
    announcement = hub.announce(REPO)
    assert not announcement.public
    fetched(hub, announcement)
    stub.misbehave = when("/api/", lambda handler: handler.answer(503))
    with pytest.raises(Unreachable):
        hub.announce(REPO)


def test_a_record_in_the_cache_that_makes_no_sense_is_as_if_there_were_none(hub, stub, tmp_path):
    fetched(hub, hub.announce(REPO))
    (record,) = (tmp_path / "cache").glob("*/.*.json")
    stub.misbehave = when("/api/", lambda handler: handler.answer(503))
    assert hub.announce(REPO).notices
    for content in ("", "[]", "{}", '{"files": [{"name": 3}]}', '{"files": 3}'):
        record.write_text(content)
        with pytest.raises(Unreachable):
            hub.announce(REPO)


# --- what can go wrong ---


@pytest.mark.parametrize(
    ("status", "headers", "error", "says"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, NotFoundError, "knows no model called .*private"),
        (401, {}, NotFoundError, "knows no model called .*or it is private"),
        (403, {}, NotFoundError, "does not give .* away"),
        (403, {"X-Error-Code": "GatedRepo"}, NotFoundError, "is gated.*ask there"),
        (401, {"X-Error-Code": "GatedRepo"}, NotFoundError, "is gated"),
        (404, {"X-Error-Code": "RevisionNotFound"}, NotFoundError, "no such version"),
        (429, {"Retry-After": "90"}, BusyError, "too many requests.*in 90 seconds"),
        (429, {}, BusyError, "too many requests.*in five minutes"),
        (500, {}, Unreachable, "fault of its own .status 500"),
        (503, {}, Unreachable, "fault of its own .status 503"),
        (418, {}, FileError, "refuses .*418"),
    ],
)
@pytest.mark.parametrize("at", ["/api/", "/resolve/"])
def test_every_refusal_has_its_sentence(hub, stub, status, headers, error, says, at):
    announcement = hub.announce(REPO)
    stub.misbehave = when(at, lambda handler: handler.answer(status, b"<b>no</b>", headers))
    with pytest.raises(error, match=says) as caught:
        hub.announce("other/model") if at == "/api/" else fetched(hub, announcement)
    assert "http" not in str(caught.value).replace("https://huggingface.co/", "")


def test_a_silent_hub_is_not_waited_for(stub, tmp_path):
    hub = Hub(tmp_path / "cache", endpoint=stub.endpoint, patience=0.2)
    stub.misbehave = lambda handler: bool(time.sleep(1.5)) or True
    began = time.monotonic()
    with pytest.raises(Unreachable, match="silent or very slow"):
        hub.announce(REPO)
    assert time.monotonic() - began < 1.4


def test_a_hub_that_drips_is_not_waited_for(stub, tmp_path, monkeypatch):
    hub = Hub(tmp_path / "cache", endpoint=stub.endpoint, patience=0.2)
    announcement = hub.announce(REPO)
    stub.misbehave = lambda handler: drip(handler, b" " * 500, seconds=0.05) or True
    with pytest.raises(Unreachable, match="silent or very slow"):
        hub.announce("somebody/else")
    began = time.monotonic()
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    stub.misbehave = when(".safetensors", lambda handler: drip(handler, b"x" * 500, seconds=0.05))
    with pytest.raises(Unreachable, match="less than 1 kB per second"):
        list(zip(range(100), hub.download(announcement), strict=False))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "place",
    [
        *(
            "http://169.254.169.254/latest/meta-data",
            "https://evil.example/x",
            "file:///etc/passwd",
            "//evil.example",
        ),
        *("http://localhost:1/x", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/", "http://127.0.0.1:1/"),
        "https://cdn.huggingface.co.evil.example/x",
    ],
)
@pytest.mark.parametrize("at", ["/api/", "/resolve/"])
def test_no_redirection_leads_elsewhere(hub, stub, place, at):
    announcement = hub.announce(REPO)
    stub.misbehave = when(at, lambda handler: handler.answer(302, b"", {"Location": place}))
    asked = len(stub.seen)
    with pytest.raises(FileError, match="sends .* to another server"):
        hub.announce("other/model") if at == "/api/" else fetched(hub, announcement)
    assert len(stub.seen) == asked + 1


def test_redirections_within_the_hub_are_followed_but_not_in_circles(hub, stub):
    def renamed(handler):
        if not handler.path.startswith("/api/models/old-name"):
            return False
        handler.answer(307, b"", {"Location": f"/api/models/{REPO}?blobs=true"})
        return True

    stub.misbehave = renamed
    assert hub.announce("old-name").size > 0
    stub.misbehave = lambda handler: handler.answer(302, b"", {"Location": handler.path}) or True
    with pytest.raises(FileError, match="round in circles"):
        hub.announce(REPO)


def test_the_official_hub_may_send_to_its_own_storage_only():
    official = Connection()
    for place in (
        "https://cdn-lfs.huggingface.co/x",
        "https://cas-bridge.xethub.hf.co/x",
        "https://huggingface.co/x",
    ):
        official._check_place(place, "x")
    for place in (
        "http://cdn-lfs.hf.co/x",
        "https://hf.co.evil.example",
        "https://evilhf.co",
        "https://a.hf.co:8443/",
    ):
        with pytest.raises(FileError):
            official._check_place(place, "x")
    with pytest.raises(FileError):
        Connection(endpoint="http://127.0.0.1:5")._check_place("https://cdn.hf.co/x", "x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:100] + b"\0" + data[101:],
        lambda data: data + b"\0",
        lambda data: b"\x1f\x8b" + data[2:],
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_is_not_the_announced_one_is_refused_and_not_kept(hub, stub, served, damage, name):
    announcement = hub.announce(REPO)
    data = damage((served / name).read_bytes())
    stub.misbehave = when(name, lambda handler: handler.answer(200, data))
    with pytest.raises(FileError, match="arrived damaged|larger than the Hub announced"):
        fetched(hub, announcement)
    stub.misbehave = None
    assert (fetched(hub, announcement) / name).read_bytes() == (served / name).read_bytes()


def test_an_impossible_model_is_refused_before_its_weights_are_fetched(hub, stub, served):
    (served / "config.json").write_text(json.dumps(GPT2Config().to_json() | {"n_layer": 99}))
    with pytest.raises(LimitError, match="n_layer is 99"):
        fetched(hub, hub.announce(REPO))
    assert asked_for(stub, "model.safetensors") == []


def test_a_model_too_large_for_the_memory_is_refused_before_its_weights_are_fetched(stub, tmp_path):
    hub = Hub(tmp_path / "cache", endpoint=stub.endpoint, memory_bytes=1_000)
    with pytest.raises(LimitError, match="lends 0.0 GB"):
        fetched(hub, hub.announce(REPO))
    assert asked_for(stub, "model.safetensors") == []


def test_five_gigabytes_are_refused_before_anything_is_fetched(hub, stub):
    siblings = stub.description()["siblings"]
    for entry in siblings:
        if entry["rfilename"] == "model.safetensors":
            entry["size"] = 5_000_000_000
    stub.changes = {"siblings": siblings}
    with pytest.raises(LimitError, match=r"has 5\.00 GB.*At most 0\.60 GB.*gpt2"):
        hub.announce(REPO)


@pytest.mark.parametrize(
    ("remove", "add", "says"),
    [
        ("model.safetensors", "pytorch_model.bin", "Python pickles.*convert"),
        ("model.safetensors", "model.safetensors.index.json", "several pieces"),
        ("model.safetensors", "x.gguf", "GGUF"),
        ("model.safetensors", "x.txt", "no model.safetensors"),
        ("config.json", "x.txt", "no config.json"),
        ("tokenizer.json", "vocab.json", "no tokenizer.json"),
    ],
)
def test_a_model_that_is_not_complete_is_refused_with_what_is_missing(hub, stub, served, remove, add, says):
    (served / remove).rename(served / add)
    with pytest.raises(FileError, match=says):
        hub.announce(REPO)


def test_the_older_tokenizer_files_are_fetched_together(hub, stub, served):
    (served / "tokenizer.json").rename(served / "vocab.json")
    (served / "merges.txt").write_text("#version: 0.2\n")
    names = [f.name for f in hub.announce(REPO).files]
    assert names == ["config.json", "vocab.json", "merges.txt", "model.safetensors"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[]", b"null", b"{}", b'{"sha": 3, "siblings": []}', b"[" * 100_000, b"\xff"),
        b'{"sha": "../../x", "siblings": []}',
        json.dumps({"sha": COMMIT, "siblings": [3, {}, {"rfilename": ["x"]}]}).encode(),
        json.dumps({"sha": COMMIT, "siblings": [{"rfilename": "../model.safetensors", "size": 3}]}).encode(),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(hub, stub, body):
    stub.misbehave = lambda handler: handler.answer(200, body) or True
    with pytest.raises(FileError):
        hub.announce(REPO)


@pytest.mark.parametrize("size", [None, -1, 0, 1.5, "9", True, 10**30])
def test_sizes_that_make_no_sense_are_refused(size):
    names = ("config.json", "tokenizer.json", "model.safetensors")
    files = [{"rfilename": name, "size": 10} for name in names]
    assert announcement_from(REPO, {"sha": COMMIT, "siblings": files}).size == 30
    for entry in files[:1] if size == 10**30 else files:
        changed = [e | {"size": size} if e is entry else e for e in files]
        with pytest.raises(FileError, match="must"):
            announcement_from(REPO, {"sha": COMMIT, "siblings": changed})


def test_an_endless_answer_is_cut_off(hub, stub, monkeypatch):
    monkeypatch.setattr(connection, "MAX_ANSWER_BYTES", 1_000)
    stub.misbehave = lambda handler: handler.answer(200, b" " * 5_000) or True
    with pytest.raises(FileError, match="larger than 1,000 bytes"):
        hub.announce(REPO)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a/b/c",
            "../x",
            "a/../b",
            "a b",
            "a/b?c",
            "a#b",
            "datasets/a/b",
            "http://x/y",
            "a\n",
            "é/x",
            "a--b",
        ),
        *("a..b", ".x", "x.git", "-x", "a\0b", "x" * 200, "@x", "%2e%2e", "a/b@main", None, 3, ["gpt2"]),
    ],
)
def test_a_name_that_is_none_is_refused_without_asking_anybody(hub, stub, name):
    with pytest.raises(ConfigError, match="no name of a model"):
        hub.announce(name)
    assert stub.seen == []


@pytest.mark.parametrize(
    "revision", ["", "a/b", "..", ".", "a b", "refs/pr/1", "x" * 65, "a?b", "é", "a\n", "%2e"]
)
def test_a_version_that_is_none_is_refused_without_asking_anybody(hub, stub, revision):
    with pytest.raises(ConfigError, match="The version is"):
        hub.announce(REPO, revision)
    assert stub.seen == []


def test_a_public_server_fetches_only_the_four(stub, tmp_path):
    hub = Hub(tmp_path, endpoint=stub.endpoint, only_official=True)
    with pytest.raises(LimitError, match="not one of OpenAI's four.*gpt2-xl"):
        hub.announce(REPO)
    assert stub.seen == []
    stub.repo = OFFICIAL_MODELS["gpt2"]
    announcement = hub.announce("gpt2")
    assert announcement.repo == "openai-community/gpt2" and announcement.parameters == 124_439_808


def test_the_visitors_token_goes_to_the_hub_and_nowhere_else(stub, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(0)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "theHOSTSown" * 3)
    anonymous = Hub(tmp_path / "one", endpoint=stub.endpoint)
    fetched(anonymous, anonymous.announce(REPO))
    assert all("authorization" not in {k.lower() for k in h} for h in stub.headers_seen)
    stub.headers_seen.clear()
    hub = Hub(tmp_path / "two", endpoint=stub.endpoint, token=CANARY, patience=0.5)
    announcement = hub.announce(REPO)
    steps = list(hub.download(announcement))
    assert all(h["authorization"] == f"Bearer {CANARY}" for h in stub.headers_seen)
    said = [repr(hub), repr(vars(hub)), repr(announcement), repr(steps)]
    for misbehave in (
        lambda handler: handler.answer(500) or True,
        lambda handler: handler.answer(401) or True,
        lambda handler: handler.answer(302, b"", {"Location": "https://evil.example/"}) or True,
        lambda handler: bool(time.sleep(1)) or True,
    ):
        stub.misbehave = misbehave
        with pytest.raises(UserError) as caught:
            hub.announce("other/model")
        error = caught.value
        said += [str(error), repr(error), repr(vars(error)), repr(error.__cause__)]
    kept = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    out, err = capfd.readouterr()
    assert CANARY not in "".join([*said, caplog.text, out, err]) and CANARY.encode() not in kept
    assert Connection(endpoint=stub.endpoint, token=CANARY)._headers("https://cdn.hf.co/x", 0).keys() == {
        "user-agent",
        "accept-encoding",
    }
