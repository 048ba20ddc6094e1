"""Bringing a model to the page: told while it comes, in hand when it is there, refused where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import huggingface_hub
import pytest

from gpt2demo.runs.exchange import Exchange
from gpt2demo.runs.identity import is_owner
from gpt2demo.ui.bring_part import OTHER, BringPart
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import models as words
from tests.hub.stub_hub import StubHub
from tests.ui.little_runs import ME, bare_files, blocks, forget_runs, make_page, make_services

NAME = "somebody/stories"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("bring"))


@pytest.fixture
def services(shared: Services) -> Iterator[Services]:
    yield shared
    forget_runs(shared)


@pytest.fixture
def hub(services: Services, tmp_path: Path) -> Iterator[StubHub]:
    bare_files(services, tmp_path / "on-the-hub")
    server = StubHub(tmp_path / "on-the-hub", repo=NAME)
    huggingface_hub.close_session()
    yield server
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


@pytest.fixture
def part(services: Services, hub: StubHub, tmp_path: Path) -> BringPart:
    exchange = Exchange(services.store, tmp_path / "cache", endpoint=hub.endpoint, patience=2.0)
    with blocks():
        return BringPart(make_page(replace(services, exchange=exchange)))


def state(said: str) -> str:
    """What the page is told about how far it is."""
    found = re.search(r'data-state="(\w+)"', said)
    return found[1] if found else ""


def text(html: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def visible(buttons: tuple[Any, ...]) -> list[str]:
    """Which of the three buttons a handler shows."""
    return [name for name, b in zip(("ask", "fetch", "stop"), buttons, strict=True) if b["visible"]]


def test_files_are_checked_then_in_hand_and_the_field_is_empty(
    part: BringPart, services: Services, tmp_path: Path
):
    files = [str(file) for file in bare_files(services, tmp_path / "files")]
    checking, done = part.take_files(ME, files)
    assert state(checking[2]) == "checking"
    ref, field, said = done
    assert ref == f"run:{services.store.list(ME)[0].id}" and field is None
    assert state(said) == "done" and words.CANNOT_GO_ON in text(said)


def test_refused_files_are_told_in_place_and_stay(part: BringPart, services: Services, tmp_path: Path):
    pickle = tmp_path / "<b>.bin"
    pickle.write_bytes(b"\x80\x04x")
    for files in ([str(pickle)], [], None):
        *_, (ref, field, said) = part.take_files(ME, files)
        assert state(said) == "refused" and "Not possible" in said
        assert "__type__" in str(ref) and "__type__" in str(field), "neither is touched"
        assert "<b>" not in said
    assert services.store.list(ME) == []


def test_the_size_is_told_before_there_is_a_button_to_fetch(part: BringPart):
    asking, told = part.look_up(OTHER, f" {NAME} ")
    assert state(asking[0]) == "asking" and visible(asking[1:]) == ["ask"]
    assert f"{NAME}: 0.0 MB" in text(told[0]) and state(told[0]) == "offered"
    assert visible(told[1:]) == ["ask", "fetch"]
    for choice, other, says in (("gpt2", "", "knows no model"), (OTHER, "", "no name"), (7, None, "no name")):
        *_, refused = part.look_up(choice, other)
        assert state(refused[0]) == "refused" and says in text(refused[0])
        assert visible(refused[1:]) == ["ask"]


def test_another_choice_forgets_the_offer(part: BringPart):
    field, said, *buttons = part.choose(OTHER)
    assert field["visible"] and said == "" and visible(tuple(buttons)) == ["ask"]
    assert not part.choose("gpt2")[0]["visible"]


def test_fetching_tells_how_far_it_is_and_ends_in_hand(part: BringPart, services: Services):
    steps = list(part.take_from_hub(ME, OTHER, NAME))
    states = [state(said) for _, said, *_ in steps]
    assert states[0] == "fetching" and states[-2:] == ["checking", "done"]
    assert 'role="progressbar"' in steps[0][1] and "MB are here" in text(steps[0][1])
    assert visible(steps[0][2:]) == ["stop"] and visible(steps[-2][2:]) == []
    assert steps[-1][0] == f"run:{services.store.list(ME)[0].id}"
    *_, offered = part.look_up(OTHER, NAME)
    assert words.HERE_ALREADY in text(offered[0])


def test_a_stopped_download_is_kept_and_the_hubs_faults_are_sentences(
    part: BringPart, services: Services, hub: StubHub
):
    with closing(part.take_from_hub(ME, OTHER, NAME)) as steps:
        next(steps)
    said, *buttons = part.stopped()
    assert words.STOPPED_FETCHING in text(said) and visible(tuple(buttons)) == ["ask", "fetch"]
    hub.misbehave = lambda handler: handler.answer(429) or True
    *_, (_, refused, *_) = part.take_from_hub(ME, OTHER, NAME)
    assert state(refused) == "refused" and "too many requests" in text(refused)
    assert services.store.list(ME) == []


def test_programs_ask_and_fetch_too(part: BringPart, services: Services):
    told = part.announce_model(NAME)
    assert told["repo"] == NAME and told["here"] == 0 and told["parameters"] is None
    *_, last = part.fetch_model(NAME)
    assert last["done"] == last["size"] == told["size"] and is_owner(last["owner"])
    assert services.store.owns(last["owner"], last["ref"].removeprefix("run:"))
    services.store.delete(last["owner"], last["ref"].removeprefix("run:"))
    with pytest.raises(gr.Error, match="knows no model"):
        list(part.fetch_model("somebody/else"))
