"""A push goes into the visitor's own account with the visitor's own token, and tells nobody's secrets."""

import json
import logging
import traceback

import pytest

from gpt2demo.errors import BusyError, ConfigError, FileError, UserError
from gpt2demo.hub.connection import Unreachable
from gpt2demo.hub.push import push
from gpt2demo.model.config import GPT2Config
from tests.hub.stub_hub import StubHub

PUSHED = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
CANARY = "hf_oauth_" + "CANARYcanary0123456789" * 2
HOST = "hf_" + "theHOSTStoken" * 3


@pytest.fixture(autouse=True)
def guarded(only_this_machine, monkeypatch):
    """The host has a token, which must never be used."""
    monkeypatch.setenv("HF_TOKEN", HOST)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", HOST)


@pytest.fixture
def exported(foreign, tmp_path, tokenizer):
    config = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    folder = foreign.folder(tmp_path / "exported", foreign.tensors(config), config, tokenizer)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "README.md").write_text("---\ntags:\n- gpt2\n---\n# Sea")
    (folder / "corpus.json").write_text('{"documents": ["my diary"]}')
    (folder / "run.sqlite").write_bytes(b"diary")
    return folder


@pytest.fixture
def stub(tmp_path):
    (tmp_path / "there").mkdir()
    server = StubHub(tmp_path / "there", repo="ada/sea-stories")
    server.user = "ada"
    yield server
    server.shutdown()
    server.server_close()


def pushed(folder, stub, name="sea-stories", **options):
    return list(push(folder, name, **{"token": CANARY, "endpoint": stub.endpoint, "patience": 2.0} | options))


def failing(path, status):
    def misbehave(handler):
        if path not in handler.path:
            return False
        handler.answer(status, json.dumps({"error": f"no {CANARY}"}).encode())
        return True

    return misbehave


def test_the_model_and_its_card_arrive_and_the_text_stays_at_home(exported, stub):
    steps = pushed(exported, stub)
    assert steps[-1].url == f"{stub.endpoint}/ada/sea-stories" and all(s.url is None for s in steps[:-1])
    assert [s.doing.split()[0] for s in steps] == ["Asking", "Making", "Sending", "ada/sea-stories"]
    assert stub.committed == {name: (exported / name).read_bytes() for name in PUSHED}
    assert stub.created == [{"name": "sea-stories", "organization": "ada", "visibility": "private"}]


def test_every_request_carries_the_visitors_token_and_no_other(exported, stub):
    pushed(exported, stub)
    assert len(stub.headers_seen) >= 4
    assert {h.get("authorization") for h in stub.headers_seen} == {f"Bearer {CANARY}"}


def test_a_public_model_is_public_only_when_that_is_asked_for(exported, stub):
    pushed(exported, stub, private=False)
    assert stub.created[0]["visibility"] == "public"


@pytest.mark.parametrize("token", [None, "", " ", False, True, "short", "with\nnewline-x", "é" * 20])
def test_without_a_token_nothing_is_asked(exported, stub, token):
    with pytest.raises(ConfigError, match="no access token.*never as this server"):
        pushed(exported, stub, token=token)
    assert stub.seen == []


@pytest.mark.parametrize(
    "name", ["", "x", "../x", "a/b", "a b", "-a", "a--b", "a..b", "x.git", "é" * 3, "x" * 97, None]
)
def test_a_name_that_is_none_is_refused_without_asking(exported, stub, name):
    with pytest.raises(ConfigError, match="no name for a model"):
        pushed(exported, stub, name=name)
    assert stub.seen == []


def test_a_folder_that_is_no_export_is_refused_without_asking(exported, stub):
    (exported / "model.safetensors").unlink()
    with pytest.raises(FileError, match="no model.safetensors"):
        pushed(exported, stub)
    assert stub.seen == []


@pytest.mark.parametrize("name", [None, 3, "../ada", "ada/evil", "x" * 200])
def test_an_account_without_a_proper_name_is_refused(exported, stub, name):
    stub.misbehave = lambda handler: (
        "whoami" in handler.path and (handler.answer(200, json.dumps({"name": name}).encode()) or True)
    )
    with pytest.raises(FileError, match="does not say whose"):
        pushed(exported, stub)
    assert stub.created == []


@pytest.mark.parametrize(
    ("path", "status", "error", "says"),
    [
        ("whoami", 401, ConfigError, "does not accept your access token"),
        ("whoami", 500, Unreachable, "fault of its own"),
        ("whoami", 429, BusyError, "too many requests"),
        ("repos/create", 401, ConfigError, "does not let you write"),
        ("repos/create", 403, ConfigError, "does not let you write"),
        ("repos/create", 429, BusyError, "too many requests"),
        ("repos/create", 500, Unreachable, "fault of its own"),
        ("repos/create", 418, FileError, "refuses ada/sea-stories"),
        ("/commit/", 403, ConfigError, "does not let you write"),
        ("/commit/", 500, Unreachable, "fault of its own"),
        ("/commit/", 413, FileError, "refuses"),
        ("validate-yaml", 200, Unreachable, None),
    ],
)
def test_every_refusal_has_its_sentence(exported, stub, path, status, error, says):
    if says is None:  # an answer that the library cannot read
        stub.misbehave = lambda handler: path in handler.path and (handler.answer(200, b"<html>") or True)
        says = "broke off"
    else:
        stub.misbehave = failing(path, status)
    with pytest.raises(error, match=says):
        pushed(exported, stub)
    assert stub.committed == {}


def test_a_repository_that_holds_something_is_left_alone_unless_that_is_asked_for(exported, stub):
    (stub.folder / "model.safetensors").write_bytes(b"precious")
    create = failing("repos/create", 409)
    stub.misbehave = create
    with pytest.raises(ConfigError, match="have a repository called ada/sea-stories already.*replaced"):
        pushed(exported, stub)
    assert stub.committed == {}
    pushed(exported, stub, replace=True)
    assert stub.committed


def test_an_empty_repository_from_a_push_that_broke_off_is_used(exported, stub):
    (stub.folder / ".gitattributes").write_text("x")
    stub.misbehave = failing("repos/create", 409)
    pushed(exported, stub)
    assert set(stub.committed) == PUSHED


def test_no_network_is_said(exported, stub):
    stub.shutdown()
    stub.server_close()
    with pytest.raises(Unreachable, match="cannot be reached"):
        pushed(exported, stub)


def everything_of(error):
    """All that a log or a debugger would show of an exception, and of those behind it."""
    parts = ["".join(traceback.format_exception(error))]
    while error is not None:
        parts += [str(error), repr(error), repr(error.args), repr(vars(error))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(parts)


def test_the_token_is_in_no_log_no_exception_and_no_record(exported, stub, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("huggingface_hub").setLevel(logging.DEBUG)
    said = repr(pushed(exported, stub))
    for path in ("whoami", "repos/create", "preupload", "/commit/"):
        stub.misbehave = failing(path, 400)
        with pytest.raises(UserError) as caught:
            pushed(exported, stub)
        said += everything_of(caught.value)
    steps = push(exported, "sea-stories", token=CANARY, endpoint=stub.endpoint)
    said += repr(next(steps)) + repr(steps)
    steps.close()
    out, err = capfd.readouterr()
    assert caplog.records, "the library was heard"
    for secret in (CANARY, HOST):
        assert secret not in said + caplog.text + out + err
        assert all(secret.encode() not in content for content in stub.committed.values())
