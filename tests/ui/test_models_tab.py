"""The Models tab: what it lists, what its buttons do, and whom they refuse."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import huggingface_hub
import pytest

from gpt2demo.model.anatomy import count_parameters
from gpt2demo.runs.models import ModelRef
from gpt2demo.training.lock import hold
from gpt2demo.ui import models_tab
from gpt2demo.ui.models_about import about
from gpt2demo.ui.models_rows import duration, millions
from gpt2demo.ui.models_tab import ModelsTab
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import models as words
from tests.hub.stub_hub import StubHub
from tests.ui.little_runs import (
    ME,
    SOMEBODY,
    blocks,
    forget_runs,
    make_page,
    make_run,
    make_services,
    plan,
    said,
)

NOT_THERE = "This run does not exist, or it is not yours."


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """For tests that change nothing but runs of their own."""
    return make_services(tmp_path_factory.mktemp("models"))


@pytest.fixture
def services(shared: Services) -> Iterator[Services]:
    yield shared
    forget_runs(shared)


@pytest.fixture(scope="module")
def built(shared: Services, tmp_path_factory: pytest.TempPathFactory) -> ModelsTab:
    with pytest.MonkeyPatch.context() as patch, blocks():
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        return ModelsTab(make_page(shared))


@pytest.fixture
def tab(built: ModelsTab, services: Services) -> ModelsTab:
    return built


def rows(value: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(value)["rows"]
    return found


def refs(value: str) -> list[str]:
    return [row["ref"] for row in rows(value)]


def test_a_visitor_without_runs_finds_the_starter_in_hand(tab: ModelsTab):
    listing, panel, linked, compared = tab.refresh(ME, "starter", (), [])
    (starter,) = rows(listing)
    assert (starter["ref"], starter["group"], starter["in_hand"], starter["ready"]) == (
        "starter", "starter", True, True,
    )  # fmt: skip
    assert starter["facts"][0] == "stories.txt" and starter["loss"] == "1.610"
    assert "gpt2demo train --text stories.txt" in starter["command"] and "data-model" in panel
    assert linked == () and compared["value"] == ["starter"]


def test_own_runs_come_newest_first_with_everything_a_row_shows(tab: ModelsTab, services: Services):
    older, newer = make_run(services, title="Old <b>"), make_run(services, title="New", state="running")
    make_run(services, SOMEBODY)
    listing = tab.look(ME, f"run:{older}@10", ())
    assert refs(listing) == ["starter", f"run:{newer}", f"run:{older}"]
    row = rows(listing)[2]
    assert row["title"] == "Old <b>" and row["group"] == "own" and row["id"] == older
    assert (row["state_words"], row["loss"], row["loss_note"]) == ("finished", "1.610", words.LOSS_FINAL)
    assert row["bits"] == f"{1.61 / 0.6931472:.2f}"  # a character is a token here
    size = f"nano, {count_parameters(plan().model):,} parameters"
    assert row["facts"] == ["cats.txt", "one token per character", size, "30 steps", "3 s of training"]
    assert row["curve"].startswith("<svg") and row["curve_kind"] == "validation"
    assert row["in_hand"] and row["at_step"] == 10
    best = rows(listing)[1]  # nobody is at work on the one that says it is running
    assert best["state"] == "interrupted" and "unexpectedly" in best["message"]
    assert (best["loss"], best["loss_note"]) == ("1.600", words.LOSS_BEST)


def test_a_run_without_weights_says_so_and_cannot_be_taken(tab: ModelsTab, services: Services):
    run = services.store.create(ME, plan("New"))
    row = rows(tab.look(ME, "starter", ()))[1]
    assert not row["ready"] and row["curve"] == "" and row["loss"] == words.UNMEASURED
    with pytest.raises(gr.Error, match="no weights yet"):
        tab.take(said(ref=f"run:{run}"))
    with pytest.raises(gr.Error, match="no weights yet"):
        tab.pack(ME, "starter", (), said(ref=f"run:{run}", nonce="1"))


def test_a_damaged_run_is_listed_and_can_be_deleted(tab: ModelsTab, services: Services):
    run = make_run(services)
    (services.store.root / run / "run.json").write_text("{", encoding="utf-8")
    row = rows(tab.look(ME, "starter", ()))[1]
    assert row["state"] == "failed" and "damaged" in row["message"] and row["facts"] == []
    ref, listing = tab.remove(ME, "starter", (), said(ref=f"run:{run}"))
    assert refs(listing) == ["starter"]


def test_a_run_opened_through_a_link_stays_in_the_list(tab: ModelsTab, services: Services):
    theirs, mine = make_run(services, SOMEBODY, "Theirs"), make_run(services)
    linked = tab.remember(ME, f"run:{theirs}@10", ())
    assert linked == (theirs,)
    assert tab.remember(ME, f"run:{mine}", linked) == tab.remember(ME, "starter", linked) == linked
    row = rows(tab.look(ME, "starter", linked))[2]
    assert (row["group"], row["title"], row["in_hand"]) == ("linked", "Theirs", False)
    assert refs(tab.look(SOMEBODY, "starter", linked)).count(f"run:{theirs}") == 1
    services.store.delete(SOMEBODY, theirs)
    assert refs(tab.look(ME, "starter", linked)) == ["starter", f"run:{mine}"]


def test_take_gives_the_reference_that_the_page_will_hold(tab: ModelsTab, services: Services):
    run = make_run(services)
    assert tab.take(said(ref=f"run:{run}")) == f"run:{run}"
    assert tab.take(said(ref="starter@10")) == "starter@10"
    for wrong in ("", "run:nothing", "../../etc", None, 7, {}, "run:" + "x" * 16):
        with pytest.raises(gr.Error):
            tab.take(said(ref=wrong))
    with pytest.raises(gr.Error):
        tab.take(gr.EventData(None, None))


def test_rename_shows_the_title_in_one_line_and_refuses_what_is_too_long(tab: ModelsTab, services: Services):
    run = make_run(services)
    value, panel = tab.rename(ME, f"run:{run}", (), said(ref=f"run:{run}", title="  <i>Tales</i>\n two "))
    assert "&lt;i&gt;Tales&lt;/i&gt; two" in panel
    assert rows(value)[1]["title"] == "<i>Tales</i> two" and json.loads(value)["renamed"] == f"run:{run}"
    for wrong in ("", "x" * 81, None, 3):
        with pytest.raises(gr.Error):
            tab.rename(ME, "starter", (), said(ref=f"run:{run}", title=wrong))
    assert services.store.summary(run).title == "<i>Tales</i> two"


def test_delete_puts_the_starter_in_hand_and_takes_the_export_along(tab: ModelsTab, services: Services):
    run, other = make_run(services), make_run(services)
    tab.pack(ME, "starter", (), said(ref=f"run:{run}", nonce="1"))
    file = _delivered(tab, f"run:{run}")
    ref, listing = tab.remove(ME, f"run:{run}@10", (), said(ref=f"run:{run}"))
    assert ref == "starter" and refs(listing) == ["starter", f"run:{other}"]
    assert not file.exists() and not (services.store.root / run).exists()
    assert tab.remove(ME, "starter", (), said(ref=f"run:{other}"))[0] == "starter"


def test_delete_keeps_what_is_in_hand_when_another_goes(tab: ModelsTab, services: Services):
    run, other = make_run(services), make_run(services)
    assert tab.remove(ME, f"run:{other}@10", (), said(ref=f"run:{run}"))[0] == f"run:{other}@10"


def test_delete_is_refused_while_the_run_is_trained(tab: ModelsTab, services: Services):
    run = make_run(services, state="running")
    with hold(services.store.folder(run).lock):
        assert rows(tab.look(ME, "starter", ()))[1]["working"]
        with pytest.raises(gr.Error, match="Stop it first"):
            tab.remove(ME, "starter", (), said(ref=f"run:{run}"))
    assert services.store.owns(ME, run)


def test_nobody_else_can_rename_or_delete_and_all_hear_the_same(tab: ModelsTab, services: Services):
    run = make_run(services)
    for owner in (SOMEBODY, "", None, 7, "x", ["m"]):
        for model in (f"run:{run}", "run:" + "x" * 16):
            tries = (
                partial(tab.rename_model, owner, model, "Mine now"),
                partial(tab.delete_model, owner, model),
                partial(tab.rename, owner, "starter", (), said(ref=model, title="Mine now")),
                partial(tab.remove, owner, "starter", (), said(ref=model)),
            )
            for act in tries:
                with pytest.raises(gr.Error) as refused:
                    act()
                assert refused.value.message.startswith(NOT_THERE)
    assert services.store.summary(run).title == "Cats"


def test_the_starter_cannot_be_renamed_or_deleted(tab: ModelsTab):
    for act in (lambda: tab.rename_model(ME, "starter", "x"), lambda: tab.delete_model(ME, "starter")):
        with pytest.raises(gr.Error, match="The starter came with this page"):
            act()


def test_programs_list_rename_export_and_delete(tab: ModelsTab, services: Services):
    run = make_run(services)
    assert [row["ref"] for row in tab.list_models(ME)] == ["starter", f"run:{run}"]
    assert [row["ref"] for row in tab.list_models()] == ["starter"]
    assert tab.rename_model(ME, f"run:{run}", "Tales") == "The run is now called “Tales”."
    assert tab.export_model("starter").startswith("gradio_api/file=/")
    assert tab.delete_model(ME, f"run:{run}@30") == "The run “Tales” is deleted."
    for wrong in ("run:../..", "", 3, None):
        with pytest.raises(gr.Error):
            tab.export_model(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["starter", "run"])
def test_export_is_a_zip_of_one_folder_that_the_three_lines_name(
    tab: ModelsTab, services: Services, kind: str
):
    ref = "starter" if kind == "starter" else f"run:{make_run(services, title='Cats & Dogs')}"
    news = json.loads(tab.pack(ME, "starter", (), said(ref=ref, nonce="7")))["export"]
    file = _delivered(tab, ref)
    assert (news["ref"], news["nonce"], news["name"]) == (ref, "7", file.name)
    assert news["address"] == f"gradio_api/file={file}" and news["size"].endswith(" MB")
    folder = file.stem
    assert news["code"].count(f'from_pretrained("{folder}")') == 2 and len(news["code"].splitlines()) == 3
    with zipfile.ZipFile(file) as archive:
        inside = archive.namelist()
    assert {name.split("/")[0] for name in inside} == {folder}
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "run.json"}
    assert wanted <= {name.split("/")[1] for name in inside}


def test_an_export_that_others_refuse_says_so_and_promises_nothing(tab: ModelsTab, services: Services):
    ref = f"run:{make_run(services, variant={'norm': 'post'})}"
    news = json.loads(tab.pack(ME, "starter", (), said(ref=ref, nonce="7")))["export"]
    (notice,) = news["notices"]
    assert "cannot express this model" in notice and "transformers" not in news["code"]
    assert news["code"] == f"python -m gpt2demo import {news['name']} --out {news['name'][:-4]}"
    plain = json.loads(tab.pack(ME, "starter", (), said(ref="starter", nonce="8")))["export"]
    assert plain["notices"] == [] and "transformers" in plain["code"]


@pytest.fixture
def hub(tab: ModelsTab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubHub]:
    server = StubHub(tmp_path)
    server.user = "student"
    monkeypatch.setattr(tab.exchange, "endpoint", server.endpoint)
    huggingface_hub.close_session()
    yield server
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


def pushed(tab: ModelsTab, **wish: Any) -> list[dict[str, Any]]:
    """All that the list is told of a model on its way."""
    values = list(tab.push(ME, "starter", (), said(**({"ref": "starter", "nonce": "5"} | wish))))
    assert all("hf_secret" not in value for value in values)
    return [json.loads(value)["push"] for value in values]


def test_push_goes_to_the_visitors_account_and_ends_with_the_address(tab: ModelsTab, hub: StubHub):
    news = pushed(tab, name="cats", token="hf_secretsecret", private=True)
    assert {(n["ref"], n["nonce"]) for n in news} == {("starter", "5")}
    assert [bool(n["doing"]) for n in news] == [True] * len(news) and len(news) >= 4
    assert news[-1]["url"] == f"{hub.endpoint}/student/cats"
    assert hub.created[0]["visibility"] == "private" and "model.safetensors" in hub.committed
    pushed(tab, name="dogs", token="hf_secretsecret", private=False)
    assert hub.created[1]["visibility"] == "public"
    pushed(tab, name="birds", token="hf_secretsecret", private=0)
    assert hub.created[2]["visibility"] == "private", "in doubt nobody else sees it"


def test_push_is_refused_in_the_drawer_and_never_repeats_the_token(
    tab: ModelsTab, hub: StubHub, caplog: pytest.LogCaptureFixture
):
    for wish, says in (
        ({"name": "cats"}, "no access token"),
        ({"name": "a b", "token": "hf_secretsecret"}, "no name for a model"),
        ({"name": ["x"], "token": {"t": 1}}, "no access token"),
    ):
        assert says in pushed(tab, **wish)[-1]["failed"]
    hub.user = None
    assert (
        "does not accept your access token" in pushed(tab, name="c1", token="hf_secretsecret")[-1]["failed"]
    )
    assert "hf_secret" not in caplog.text and not hub.created
    with pytest.raises(gr.Error):
        list(tab.push(ME, "starter", (), said(ref="run:../x", name="cats", token="hf_secretsecret")))
    assert json.loads(tab.not_pushed(ME, "starter", ()))["push"]["failed"] == words.PUSHING["push_fault"]


def test_an_export_that_fails_is_told_to_the_list_anew_each_time(tab: ModelsTab):
    first, second = tab.not_packed(ME, "starter", ()), tab.not_packed(ME, "starter", ())
    assert json.loads(first)["export"] == {"failed": True} and first != second


def test_the_panel_names_every_part_and_how_it_was_made(services: Services):
    run = make_run(services, title="<script>1</script>")
    panel = about(services.models, ModelRef("run", run))
    assert "&lt;script&gt;" in panel and "<script" not in panel
    config = services.store.folder(run).config()
    text = re.sub(r"<[^>]+>", " ", panel)
    for part in (
        "token embeddings",
        "position embeddings",
        "attention",
        "MLP",
        "layer norms",
        "cats.txt",
        "AdamW",
    ):
        assert part in text
    assert f"{count_parameters(config):,}" in text and "gpt2demo train --text cats.txt" in text
    gone = about(services.models, ModelRef("run", "x" * 16))
    assert NOT_THERE in re.sub(r"&#x27;", "'", gone) and "gd-notice-error" in gone


def test_the_list_keeps_its_words_where_gradio_cannot_lose_them(tab: ModelsTab):
    """A bare update, such as gr.skip(), replaces the settings of a component in a tab never opened."""
    assert words.IN_THE_BROWSER["take"] in tab.list.js_on_load
    assert not hasattr(tab.list, "in_hand") and callable(tab.list.take)  # only events pass for events


def test_numbers_are_said_as_people_say_them():
    assert [millions(n) for n in (7_120, 511_488, 124_000_000)] == [
        "7,120 parameters", "0.51 M parameters", "124 M parameters",
    ]  # fmt: skip
    assert [duration(s) for s in (0.4, 89, 125, 7_300)] == ["0 s", "89 s", "2 min 05 s", "2 h 01 min"]


def test_build_gives_the_frame_what_it_needs(services: Services):
    with blocks() as demo:
        tab = models_tab.build(make_page(services))
    assert len(tab.refresh(ME, "starter", (), [])) == len(tab.outputs) and len(tab.inputs) == 4
    named = {fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"}
    assert named == {
        "models",
        "rename_model",
        "delete_model",
        "export_model",
        "announce_model",
        "fetch_model",
    }


def _delivered(tab: ModelsTab, ref: str) -> Path:
    """The zip file of a model, which gradio will serve and sweep away."""
    name = ModelRef.parse(ref).run_id or "starter"
    (file,) = (Path(tab.list.GRADIO_CACHE).resolve() / "exports" / name).glob("*.zip")
    assert str(file) in tab.list.temp_files
    return file
