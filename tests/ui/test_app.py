"""The frame of the page: which model a visitor finds in hand, what the header says, who may call what."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_type_hints

import gradio as gr
import pytest

from gpt2demo.runs.identity import is_owner
from gpt2demo.runs.models import ModelRef
from gpt2demo.ui.app import Header, build, chip
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import common as words
from tests.ui.little_runs import (
    ME,
    SOMEBODY,
    blocks,
    forget_runs,
    loops_closed,
    make_page,
    make_run,
    make_services,
)

NOBODYS = "x" * 16


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("app"))


@pytest.fixture
def services(shared: Services) -> Iterator[Services]:
    yield shared
    forget_runs(shared)


@pytest.fixture(scope="module")
def frame(shared: Services) -> Header:
    with blocks() as demo:
        return Header(make_page(shared), demo)


def visit(**query: str) -> Any:
    """A request for the page."""
    return SimpleNamespace(query_params=query)


def text(html: str) -> str:
    """What a piece of the page says."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_the_chip_says_what_is_in_hand(services: Services):
    run = make_run(services, title="Cats & Dogs")
    about = services.models.describe(ModelRef("run", run))
    size = f"{about.parameters:,} parameters"
    assert text(chip(about)) == (f"Cats &amp; Dogs {size} step 30 validation loss 1.61 trained on cats.txt")
    earlier = services.models.describe(ModelRef("run", run, 10))
    assert "step 10 validation loss 2.60" in text(chip(earlier))
    learning = replace(about, state="running", step=None, val_loss=None, parameters=124_400_000)
    assert text(chip(learning)) == (
        f"Cats &amp; Dogs 124 M parameters trained on cats.txt {words.TRAINING_MARK}"
    )


def test_a_new_visitor_gets_a_token_and_the_starter(frame: Header, services: Services):
    for stranger in ("", None, 7, "short", "../" * 9):
        owner, ref, choice, words_, steps, kept, shown = frame.arrive(stranger, "starter", visit())
        assert shown == {}
        assert is_owner(owner) and owner != stranger
        assert ref == kept == choice.value == "starter"
        assert "Starter" in words_ and [step for _, step in steps.choices] == [0, 10, 30]
        assert steps.value == 30 and steps.visible
    first, second = (frame.arrive("", "starter", visit())[0] for _ in range(2))
    assert first != second


def test_a_known_visitor_finds_the_model_of_last_time(frame: Header, services: Services):
    run = make_run(services)
    owner, ref, choice, *_ = frame.arrive(ME, f"run:{run}@10", visit())
    assert (owner, ref, choice.value) == (ME, f"run:{run}@10", f"run:{run}")


def test_a_link_wins_over_last_time_and_shows_the_run_of_somebody_else(frame: Header, services: Services):
    mine, theirs = make_run(services), make_run(services, SOMEBODY, "Theirs")
    _, ref, choice, words_, _, kept, _ = frame.arrive(ME, f"run:{mine}", visit(run=theirs))
    assert ref == kept == f"run:{theirs}" and "Theirs" in words_
    assert choice.choices == [
        (words.STARTER, "starter"), ("Cats", f"run:{mine}"), ("Theirs", f"run:{theirs}"),
    ]  # fmt: skip


@pytest.mark.parametrize("link", [NOBODYS, "../../etc/passwd", "<script>", "starter", "x" * 5000])
def test_an_unknown_link_says_so_and_falls_back(frame: Header, services: Services, link: str):
    run = make_run(services)
    with pytest.warns(UserWarning, match="The run of this link is not here"):
        assert frame.arrive(ME, "starter", visit(run=link))[1] == "starter"
    with pytest.warns(UserWarning, match="The run of this link is not here"):
        assert frame.arrive(ME, f"run:{run}", visit(run=link))[1] == f"run:{run}"


@pytest.mark.parametrize("kept", ["", None, 7, ["starter"], f"run:{NOBODYS}", "starter@7", "starter@-1"])
def test_what_was_in_hand_and_is_gone_gives_way_to_the_starter(frame: Header, kept: Any):
    assert frame.arrive(ME, kept, visit())[1] == "starter"


def test_describe_lists_own_runs_only(frame: Header, services: Services):
    mine = make_run(services, title="Mine")
    make_run(services, SOMEBODY, "Theirs")
    choice, *_, kept = frame.describe(ME, f"run:{mine}@10")
    assert [label for label, _ in choice.choices] == [words.STARTER, "Mine"]
    assert (choice.value, kept) == (f"run:{mine}", f"run:{mine}@10")
    for nobody in ("", None, 3, "nobody"):
        assert frame.describe(nobody, "starter")[0].choices == [(words.STARTER, "starter")]
    for wrong in (f"run:{NOBODYS}", "nonsense", None, 12):
        with pytest.raises(gr.Error):
            frame.describe(ME, wrong)


def test_the_newest_step_follows_the_run_and_others_stay(frame: Header, services: Services):
    run = make_run(services)
    assert frame.at_step(f"run:{run}", 30) == f"run:{run}"
    assert frame.at_step(f"run:{run}@10", 30) == f"run:{run}"
    assert frame.at_step(f"run:{run}", 10) == f"run:{run}@10"
    assert frame.at_step("starter@10", 0) == "starter@0"
    for wrong in ("x", 1.5, -3, [10], True):
        with pytest.raises(gr.Error):
            frame.at_step("starter", wrong)  # type: ignore[arg-type]


def test_the_clock_changes_the_header_only_when_something_changed(frame: Header, services: Services):
    run = make_run(services)
    now = chip(services.models.describe(ModelRef("run", run)))
    unchanged = {"__type__": "update"}
    assert frame.tick(ME, f"run:{run}", now) == (unchanged,) * 3
    services.store.rename(ME, run, "Tales")
    choice, words_, _ = frame.tick(ME, f"run:{run}", now)
    assert "Tales" in words_ and ("Tales", f"run:{run}") in choice.choices
    services.store.delete(ME, run)
    assert frame.tick(ME, f"run:{run}", now) == (unchanged,) * 3
    assert frame.tick(ME, "nonsense", now) == (unchanged,) * 3


def test_a_tab_is_asked_once_for_each_model_and_step_and_only_when_it_is_open(
    frame: Header, services: Services, monkeypatch: pytest.MonkeyPatch
):
    run = make_run(services)
    asked: list[tuple[Any, ...]] = []
    (models_tab,) = (tab for key, _, tab in frame.tabs if key == "models")
    counted = replace(models_tab, refresh=lambda *values: asked.append(values) or ("a", "b", "c"))
    monkeypatch.setattr(frame, "_tab", lambda key: counted)
    show, only_if_open = frame._show("models"), frame._show("models", only_if_active=True)
    shown, *rest = show("starter", "models", {}, ME, "starter", ())
    assert rest == ["a", "b", "c"] and asked == [(ME, "starter", ())]
    skipped = {"__type__": "update"}
    assert show("starter", "models", shown) == only_if_open(f"run:{run}", "train", shown) == skipped
    shown = only_if_open(f"run:{run}@10", "models", shown)[0]
    assert only_if_open(f"run:{run}@10", "models", shown) == skipped
    assert show(f"run:{run}", "models", shown) != skipped and len(asked) == 3
    first = frame._show("train")
    assert first("starter", "train", None) == skipped, "nobody knows yet who has come"
    assert first("starter", "train", {}) != skipped and len(asked) == 4


@pytest.fixture(scope="module")
def whole(shared: Services) -> gr.Blocks:
    with loops_closed():
        return build(shared)


def test_every_event_is_private_or_explains_itself(whole: gr.Blocks):
    public = [fn for fn in whole.fns.values() if fn.api_visibility != "private"]
    names = [fn.api_name for fn in public]
    assert {"models", "export_model", "rename_model", "delete_model"} <= set(names)
    assert len(set(names)) == len(names), "two endpoints have one name"
    for fn in public:
        assert isinstance(fn.api_name, str) and fn.api_visibility == "public" and fn.fn is not None
        assert inspect.getdoc(fn.fn), f"{fn.api_name} has no docstring"
        given = {name for name in inspect.signature(fn.fn).parameters if name not in ("self", "request")}
        hints = get_type_hints(fn.fn)
        assert given | {"return"} <= set(hints), f"{fn.api_name} lacks types: {given - set(hints)}"


def test_no_endpoint_is_called_by_its_number(whole: gr.Blocks):
    """A public endpoint that nobody named would be called after its Python function."""
    for fn in whole.fns.values():
        assert fn.api_visibility == "private" or not str(fn.api_name).startswith(("lambda", "_"))


def test_ids_of_elements_are_unique(whole: gr.Blocks):
    ids = [block.elem_id for block in whole.blocks.values() if getattr(block, "elem_id", None)]
    assert {name for name in ids if ids.count(name) > 1} == set()
    assert {"tabs", "model", "chip", "steps", "mode", "models-list", "models-about"} <= set(ids)


def test_a_browser_gets_no_part_of_an_endpoint_to_draw_and_one_place_for_hidden_progress(whole: gr.Blocks):
    config = whole.get_config_file()
    kinds = {part["id"]: part["type"] for part in config["components"]}
    drawn: list[str] = []
    parts = [config["layout"]]
    for part in parts:
        parts += part.get("children", [])
        drawn.append(kinds.get(part["id"], "page"))
    assert "api" not in drawn and drawn.count("html") == list(kinds.values()).count("html") > 50
    endpoints = [part for part in config["components"] if part["type"] == "api"]
    assert len(endpoints) > 50 and not any(part["props"]["visible"] for part in endpoints)
    hidden = [event for event in config["dependencies"] if event["show_progress"] == "hidden"]
    (places,) = {tuple(event["show_progress_on"]) for event in hidden}
    assert len(places) == 1 and kinds[places[0]] == "state" and len(hidden) > 100
    others = [event for event in config["dependencies"] if event not in hidden]
    assert others and all(event["show_progress_on"] != list(places) for event in others)
