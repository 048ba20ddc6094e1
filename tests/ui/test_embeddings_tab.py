"""The Embeddings tab: one map for all steps, the right neighbours, and searches that cannot break it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import pytest

from gpt2demo.inspection.embeddings import neighbours, token_embeddings
from gpt2demo.runs.models import ModelRef
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.ui import embeddings_tab
from gpt2demo.ui.embeddings_parts import NEIGHBOURS, telling_token
from gpt2demo.ui.embeddings_tab import EmbeddingsTab
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import embeddings as words
from tests.ui.little_runs import blocks, make_page, make_run, make_services, one_thread, said

NOW = ("kind", False, True)  # colour, three dimensions, centred


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="module")
def tab(services: Services) -> EmbeddingsTab:
    with blocks():
        return EmbeddingsTab(make_page(services))


def opened(
    tab: EmbeddingsTab, ref: str = "starter", seen: dict[str, Any] | None = None, now: Any = NOW
) -> Any:
    values = tab.refresh(ref, seen or {}, *now)
    return dict(zip(tab.outputs, values, strict=True))


def figure_of(value: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value)["figure"]
    return found


def numbers(packed: Any) -> np.ndarray:
    if isinstance(packed, dict):
        return np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"])
    return np.array(packed)


def test_it_opens_with_a_map_a_token_and_the_places(tab: EmbeddingsTab, services: Services):
    values = opened(tab)
    seen = values[tab.seen]
    loaded = services.models.get(ModelRef.parse("starter"))
    assert seen["found"] == [seen["token"]]
    drawn = np.concatenate([numbers(trace["customdata"]) for trace in figure_of(values[tab.map])["data"]])
    assert set(drawn.tolist()) == set(range(loaded.config.vocab_size))
    assert "16 numbers" in values[tab.intro]
    assert "% of all differences" in values[tab.caption] and "step 30" in values[tab.caption]
    assert figure_of(values[tab.positions])["data"][0]["type"] == "heatmap"
    assert values[tab.card].count("<tr>") >= NEIGHBOURS


def test_neighbours_are_those_of_the_original_space(tab: EmbeddingsTab, services: Services):
    loaded = services.models.get(ModelRef.parse("starter"))
    token = loaded.tokenizer.encode("a")[0]
    expected = neighbours(token_embeddings(loaded.model), token, 3)
    answer = tab.neighbours_of("starter", "a", 3)
    assert answer["token"] == "a" and answer["id"] == token
    assert [(one["id"], one["cosine"]) for one in answer["neighbours"]] == [
        (i, round(cosine, 4)) for i, cosine in expected
    ]
    values = tab.search("a", "starter", {}, *NOW)
    for _, cosine in expected:
        assert f"<td>{cosine:.2f}</td>" in values[3]


def test_a_search_marks_the_token_and_its_neighbours(tab: EmbeddingsTab, services: Services):
    seen, found, drawn, card = tab.search("cat", "starter", {}, *NOW)
    tokenizer = services.models.get(ModelRef.parse("starter")).tokenizer
    assert seen["found"] == tokenizer.encode("cat") and seen["token"] == tokenizer.encode("c")[0]
    assert found.count('"t":') == 3 and '{"select": 0}' in found
    marked = numbers(figure_of(drawn)["data"][-1]["customdata"]).tolist()
    assert marked[0] == seen["token"] and set(seen["found"]) <= set(marked)
    assert len(set(marked)) == len(marked)
    labels = figure_of(drawn)["layout"]["annotations"]
    assert labels[-1]["text"] == "c"  # on top of the others
    assert "Nearest neighbours of c" in card
    chosen = tab.choose_found("starter", seen, *NOW, said(index=2))
    assert chosen[0]["token"] == tokenizer.encode("t")[0] and '{"select": 2}' in chosen[1]


def test_a_click_on_a_point_chooses_it(tab: EmbeddingsTab, services: Services):
    vocabulary = services.models.get(ModelRef.parse("starter")).config.vocab_size
    seen, found, _, _ = tab.choose_point("starter", {}, *NOW, said(customdata=3))
    assert seen["token"] == 3 and seen["found"] == [3] and found.count('"t":') == 1
    for wrong in (-1, vocabulary, "3", None, [3], 1.5, float("nan"), True):
        with pytest.raises(gr.Error, match="The token"):
            tab.choose_point("starter", {}, *NOW, said(customdata=wrong))
    for wrong in (-1, 1, None, "0"):
        with pytest.raises(gr.Error, match="place"):
            tab.choose_found("starter", seen, *NOW, said(index=wrong))


def test_all_steps_are_seen_from_the_side_of_the_newest(tab: EmbeddingsTab):
    newest, early = opened(tab), opened(tab, "starter@10")
    layouts = [figure_of(values[tab.map])["layout"] for values in (newest, early)]
    assert layouts[0]["xaxis"]["range"] == layouts[1]["xaxis"]["range"]
    assert layouts[0]["uirevision"] == layouts[1]["uirevision"]
    assert "PC 1" in layouts[0]["xaxis"]["title"]["text"]
    assert layouts[1]["xaxis"]["title"]["text"] == "dimension 1"  # its share was not measured at this step
    assert words.SAME_SIDE.format(newest=30) in early[tab.caption]
    points = [
        np.concatenate([numbers(trace["x"]) for trace in figure_of(values[tab.map])["data"]])
        for values in (newest, early)
    ]
    assert np.allclose(*points, atol=1e-2)  # these two steps have the same weights, one in half precision


def test_the_token_stays_at_another_step_and_not_in_another_model(tab: EmbeddingsTab, services: Services):
    seen = tab.search("c", "starter", {}, *NOW)[0]
    assert opened(tab, "starter@10", seen)[tab.seen] == seen
    other = opened(tab, f"run:{make_run(services)}", seen)[tab.seen]
    assert other["model"] != seen["model"] and other["found"] == [other["token"]]


def test_the_colours_that_can_be_had(tab: EmbeddingsTab, services: Services):
    values = opened(tab, now=("drift", False, True))
    assert [key for _, key in values[tab.colour].choices] == list(words.COLOURS)
    assert values[tab.colour].value == "drift"
    for colour in words.COLOURS:
        drawn, _ = tab.redraw("starter", {}, colour, False, True)
        assert figure_of(drawn)["data"]
    run = make_run(services, steps=(10, 30))
    (services.store.folder(run).path / "corpus.json").unlink()
    values = opened(tab, f"run:{run}", now=("frequency", False, True))
    assert [key for _, key in values[tab.colour].choices] == ["kind", "norm"]
    assert values[tab.colour].value == "kind"
    assert "moved since" not in values[tab.card] and "times in the text" not in values[tab.card]


def test_three_dimensions(tab: EmbeddingsTab):
    drawn, caption = tab.redraw("starter", {}, "norm", True, True)
    figure = figure_of(drawn)
    assert {trace["type"] for trace in figure["data"]} == {"scatter3d"}
    assert len(figure["layout"]["scene"]["zaxis"]["range"]) == 2
    assert "into 3" in caption


def test_positions_with_and_without_their_average(tab: EmbeddingsTab):
    both = [tab.redraw_positions("starter", {}, "kind", False, centred) for centred in (True, False)]
    assert both[0] != both[1]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [("", "There is no text"), (None, "There is no text"), (3, "There is no text"), ("ß", "does not know")],
)
def test_searches_for_nothing(tab: EmbeddingsTab, query: Any, sentence: str):
    with pytest.raises(gr.Error, match=sentence):
        tab.search(query, "starter", {}, *NOW)
    with pytest.raises(gr.Error, match=sentence):
        tab.neighbours_of("starter", query)


def test_a_megabyte_is_refused_before_it_is_read(tab: EmbeddingsTab):
    opened(tab)
    began = time.perf_counter()
    with pytest.raises(gr.Error, match="1,000,000 characters"):
        tab.search("c" * 1_000_000, "starter", {}, *NOW)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("count", [0, 101, -1, "3", None, 2.5, float("inf")])
def test_counts_out_of_range(tab: EmbeddingsTab, count: Any):
    with pytest.raises(gr.Error, match="count"):
        tab.neighbours_of("starter", "a", count)


@pytest.mark.parametrize("ref", ["starter@7", "run:" + "x" * 16, "", None])
def test_models_and_steps_that_are_not_there(tab: EmbeddingsTab, ref: Any):
    for act in (
        lambda: tab.refresh(ref, {}, *NOW), lambda: tab.search("a", ref, {}, *NOW),
        lambda: tab.redraw(ref, {}, *NOW), lambda: tab.redraw_positions(ref, {}, *NOW),
        lambda: tab.neighbours_of(ref, "a"), lambda: tab.choose_point(ref, {}, *NOW, said(customdata=1)),
    ):  # fmt: skip
        with pytest.raises(gr.Error) as told:
            act()
        assert "fault in the program" not in str(told.value)


@pytest.mark.parametrize("colour", ["nonsense", None, 3, ["kind"]])
def test_switches_with_values_that_no_page_sends(tab: EmbeddingsTab, colour: Any):
    assert opened(tab, now=(colour, "yes", None))[tab.colour].value == "kind"
    assert figure_of(tab.redraw("starter", {}, colour, "yes", None)[0])["data"]


def test_a_token_to_begin_with():
    english = train_tokenizer("bpe", ["he saw a boy and she saw him\n" * 9], 320)
    assert english.token_bytes(telling_token(english, ["byte"] * english.vocab_size)) in (b" boy", b" she")
    chinese = train_tokenizer("char", ["猫坐在垫子上\n"])
    kinds = ["whitespace"] + ["other script"] * (chinese.vocab_size - 1)
    assert telling_token(chinese, kinds) == 1
    assert telling_token(chinese, ["whitespace"] * chinese.vocab_size) == 0


def test_tokens_of_no_text_are_left_out_of_the_map_but_can_be_found(tmp_path: Any):
    services = make_services(tmp_path)
    folder = services.models.folder(ModelRef.parse("starter"))
    corpus = json.loads((folder.path / "corpus.json").read_text())
    corpus["documents"][0]["text"] = corpus["documents"][0]["text"].replace("g", "d")
    (folder.path / "corpus.json").write_text(json.dumps(corpus))
    with blocks():
        tab = EmbeddingsTab(make_page(services))
    loaded = services.models.get(ModelRef.parse("starter"))
    unused = loaded.tokenizer.encode("g")[0]
    matrix = token_embeddings(loaded.model)
    token = next(i for i in range(len(matrix)) if unused not in (i, *dict(neighbours(matrix, i, 5))))
    seen = {"model": "starter", "token": token, "found": [token]}
    values = opened(tab, seen=seen)
    assert words.UNUSED.format(count=1, all=loaded.config.vocab_size) in values[tab.caption]

    def place(drawn: str) -> list[float]:
        traces = figure_of(drawn)["data"]
        return [
            float(x)
            for trace in traces
            for x, i in zip(numbers(trace["x"]), numbers(trace["customdata"]), strict=True)
            if i == unused
        ]

    assert np.isnan(place(values[tab.map])).all()
    assert np.isfinite(place(tab.search("g", "starter", {}, *NOW)[2])).all()


def test_the_tab_says_what_the_frame_needs(services: Services):
    with blocks() as demo:
        tab = embeddings_tab.build(make_page(services))
    assert len(tab.refresh("starter", {}, *NOW)) == len(tab.outputs)
    public = [fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"]
    assert public == ["neighbours"]
