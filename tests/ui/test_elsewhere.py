"""Models from elsewhere, and what came before GPT-2: every tab shows them, or says in a sentence why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpt2demo.runs.models import ModelRef
from gpt2demo.ui.app import chip
from gpt2demo.ui.attention_tab import AttentionTab
from gpt2demo.ui.embeddings_tab import EmbeddingsTab
from gpt2demo.ui.generate_tab import GenerateTab
from gpt2demo.ui.models_about import about
from gpt2demo.ui.models_rows import Shelf
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import attention as attention_words
from gpt2demo.ui.text import embeddings as embeddings_words
from gpt2demo.ui.text import train as train_words
from gpt2demo.ui.train_live_part import LivePart
from tests.ui.little_runs import ME, blocks, bring_run, forget_runs, make_page, make_run, make_services, said


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    made = make_services(tmp_path_factory.mktemp("elsewhere"))
    yield made
    forget_runs(made)


@pytest.fixture(scope="module")
def models(services: Services, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """References by what the model is."""
    variants: dict[str, dict[str, Any]] = {
        "lstm": {"architecture": "lstm"},
        "bigram": {"architecture": "bigram"},
        "rotary": {"positions": "rotary", "norm": "post"},
        "none": {"positions": "none"},
    }
    made = {name: make_run(services, title=name, variant=how) for name, how in variants.items()}
    made["foreign"] = bring_run(services, tmp_path_factory.mktemp("files"))
    return {name: f"run:{run}" for name, run in made.items()}


EVERY = ("foreign", "lstm", "bigram", "rotary", "none")


def on_page(services: Services, build: Callable[[Any], Any]) -> Any:
    with blocks():
        return build(make_page(services))


def shown(tab: Any, values: tuple[Any, ...], component: Any) -> str:
    """What stands in a component after a refresh."""
    return str(values[tab.outputs.index(component)])


@pytest.fixture(scope="module")
def attention(services: Services) -> AttentionTab:
    tab: AttentionTab = on_page(services, AttentionTab)
    return tab


@pytest.fixture(scope="module")
def embeddings(services: Services) -> EmbeddingsTab:
    tab: EmbeddingsTab = on_page(services, EmbeddingsTab)
    return tab


@pytest.mark.parametrize("name", EVERY)
def test_attention_is_drawn_or_the_note_says_why_not(attention: AttentionTab, models: Any, name: str):
    values = attention.refresh(models[name], "", {})
    note, grid = shown(attention, values, attention.note), shown(attention, values, attention.grid)
    assert "expects" in shown(attention, values, attention.next)
    if name in attention_words.NO_ATTENTION:
        assert attention_words.NO_ATTENTION[name] in note and grid == ""
    else:
        assert note == "" and '"tri"' in grid


@pytest.mark.parametrize("name", EVERY)
def test_the_map_of_places_is_drawn_or_its_words_say_why_not(
    embeddings: EmbeddingsTab, models: Any, name: str
):
    values = embeddings.refresh(models[name], {}, "kind", False, True)
    places = shown(embeddings, values, embeddings.places)
    assert shown(embeddings, values, embeddings.map)
    if name == "foreign":
        assert "diagonal" in places and shown(embeddings, values, embeddings.positions)
        assert "never occur" not in shown(embeddings, values, embeddings.caption)
    else:
        assert embeddings_words.WHY_NO_POSITIONS[name] in places
        assert shown(embeddings, values, embeddings.positions) == ""
        assert embeddings.redraw_positions(models[name], {}, "kind", False, True) == ""


@pytest.mark.parametrize("name", EVERY)
def test_it_writes(services: Services, models: Any, name: str):
    tab: GenerateTab = on_page(services, GenerateTab)
    drawn = tab.refresh(models[name], "", [], None, frozenset(), 0.8, 0, 1.0, 0, 1, 9, 7)
    assert len(drawn[4].drafts[0].steps) == 9


@pytest.mark.parametrize("name", EVERY)
def test_the_train_tab_shows_it_and_its_heads_or_why_there_are_none(
    services: Services, models: Any, name: str
):
    live: LivePart = on_page(services, LivePart)
    whose, actions, _, heads, note, _, _ = live.refresh(ME, models[name], "", [])
    elsewhere = train_words.ELSEWHERE_NOTE in whose
    assert elsewhere == ("gd-whose-elsewhere" in whose) == (name == "foreign")
    if name in attention_words.NO_ATTENTION:
        assert heads == "" and "Only a GPT-2 has attention" in note
    else:
        assert heads and "At step" in note
    news, *_ = live.finished(models[name], [], "steps", said(run="x", state="done"))
    assert (news == "") == (name == "foreign")


def test_the_header_and_the_list_say_where_it_comes_from(services: Services, models: Any):
    ref = ModelRef.parse(models["foreign"])
    words = re.sub(r"<[^>]+>", " ", chip(services.models.describe(ref)))
    assert "trained elsewhere" in words and "step" not in words and "trained on" not in words
    rows = {r["title"]: r for r in Shelf(models=services.models, owner=ME, in_hand=ref, linked=()).rows()}
    foreign = rows["Uploaded model"]
    assert foreign["facts"][0] == "trained elsewhere" and foreign["facts"][2].endswith(" parameters")
    assert "imported" not in " ".join(foreign["facts"]) and foreign["state_words"] == "brought in"
    assert foreign["ready"] and foreign["curve"] == ""
    assert rows["rotary"]["facts"][-1] == "post-LN · rotary" and rows["lstm"]["facts"][-1] == "LSTM"


@pytest.mark.parametrize("name", EVERY)
def test_the_panel_says_what_it_is_built_of(services: Services, models: Any, name: str):
    panel = re.sub(r"<[^>]+>", "\n", about(services.models, ModelRef.parse(models[name])))
    assert "gd-notice-error" not in panel
    assert ("trained elsewhere" in panel) == ("known here what it read" in panel) == (name == "foreign")
    expected = {
        "foreign": "pre-LN",
        "lstm": "LSTM",
        "bigram": "bigram table",
        "rotary": "post-LN (not as GPT-2)",
        "none": "no positions (not as GPT-2)",
    }
    assert f"\n{expected[name]}\n" in panel
    assert ("heads in each layer" in panel) == (name not in ("lstm", "bigram"))
