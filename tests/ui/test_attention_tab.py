"""The Attention tab: always something to see, the same text at every step, and no input that breaks it."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from gpt2demo.inspection.attention import HeadScores
from gpt2demo.inspection.capture import capture
from gpt2demo.runs.models import ModelRef
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.ui import attention_parts, attention_tab
from gpt2demo.ui.attention_parts import best_of, example_texts, ranked, score_table
from gpt2demo.ui.attention_tab import AttentionTab
from gpt2demo.ui.bars import Bar, bars
from gpt2demo.ui.components import SafeHTML
from gpt2demo.ui.escape import esc
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import attention as words
from tests.ui.little_runs import blocks, make_page, make_run, make_services, one_thread, said

TYPED = "the cat sat"


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("attention"))


@pytest.fixture(scope="module")
def shared_tab(services: Services) -> AttentionTab:
    with blocks():
        return AttentionTab(make_page(services))


@pytest.fixture
def tab(shared_tab: AttentionTab) -> AttentionTab:
    """Its memory of scores is a new one for every test."""
    shared_tab.scores = Memo(8)
    return shared_tab


def named(tab: AttentionTab, values: tuple[Any, ...]) -> dict[Any, Any]:
    assert len(values) == len(tab.outputs)
    return dict(zip(tab.outputs, values, strict=True))


def opened(
    tab: AttentionTab, ref: str = "starter", text: str = "", seen: dict[str, Any] | None = None
) -> Any:
    return named(tab, tab.refresh(ref, text, seen or {}))


def skipped(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update" and len(value) == 1


def grid_of(values: dict[Any, Any], tab: AttentionTab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(values[tab.grid])
    return found


def test_it_opens_with_an_example_and_everything_drawn(tab: AttentionTab):
    values = opened(tab)
    grid = grid_of(values, tab)
    assert (grid["L"], grid["H"]) == (2, 2) and 1 < grid["T"] <= 16
    assert grid["layer"] is not None and grid["head"] is not None
    assert values[tab.text] == values[tab.seen]["text"] == values[tab.seen]["example"]
    assert "".join(grid["tokens"]).replace("·", " ").replace("↵", "\n") == values[tab.text]
    assert values[tab.strip].count('"t":') == grid["T"]
    assert values[tab.note] == ""
    for part in (tab.next, tab.table, tab.flow):
        assert values[part]


def test_what_is_drawn_is_what_the_model_computes(tab: AttentionTab, services: Services):
    values = named(tab, tab.look("starter", TYPED, {}))
    loaded = services.models.get(ModelRef.parse("starter"))
    ids = loaded.tokenizer.encode(TYPED)
    expected = capture(loaded.model, ids).attention
    sent = np.frombuffer(base64.b64decode(grid_of(values, tab)["tri"]), dtype=np.uint8).reshape(2, 2, -1)
    rows, columns = np.tril_indices(len(ids))
    assert np.abs((sent / 255) ** 2 - expected[:, :, rows, columns]).max() < 0.005
    probabilities = torch.tensor(capture(loaded.model, ids, what=["logits"]).logits[-1]).double().softmax(-1)
    shares = [float(share) for share in re.findall(r"<td>([\d.]+) %</td>", values[tab.next])]
    best = sorted((100 * probabilities).tolist(), reverse=True)[: len(shares)]
    assert len(shares) == 8 and np.abs(np.subtract(shares, best)).max() < 0.06


def test_another_step_keeps_text_layer_and_head(tab: AttentionTab):
    before = named(tab, tab.look("starter", TYPED, opened(tab)[tab.seen]))
    after = opened(tab, "starter@10", TYPED, before[tab.seen])
    grid = grid_of(after, tab)
    assert grid["layer"] is None and grid["head"] is None  # the browser keeps its own
    assert grid["tokens"] == grid_of(before, tab)["tokens"]
    assert skipped(after[tab.text])
    assert "step 10" in after[tab.table] and "step 30" in before[tab.table]


def test_another_model_gets_an_example_of_its_own_unless_something_was_typed(
    tab: AttentionTab, services: Services
):
    run = make_run(services)
    seen = opened(tab)[tab.seen]
    fresh = opened(tab, f"run:{run}", seen["example"], seen)
    assert fresh[tab.text] == fresh[tab.seen]["example"]
    assert grid_of(fresh, tab)["layer"] is not None
    kept = opened(tab, f"run:{run}", TYPED, named(tab, tab.look("starter", TYPED, seen))[tab.seen])
    assert skipped(kept[tab.text]) and kept[tab.seen]["text"] == TYPED


@pytest.mark.parametrize("typed", ["déjà vu", "€", "\ud800"])
def test_a_text_that_the_next_model_cannot_read_stays_in_the_box(tab: AttentionTab, typed: str):
    values = opened(tab, "starter", typed, {"model": "run:other", "example": "x"})
    assert skipped(values[tab.text])
    assert esc(words.SHOWN_INSTEAD) in values[tab.note]
    assert grid_of(values, tab)["T"] > 1


def test_a_text_that_is_too_long_for_the_next_model_is_shown_in_part(tab: AttentionTab):
    values = opened(tab, "starter", "the cat sat on the mat, and the dog", {"model": "run:other"})
    assert skipped(values[tab.text])
    assert words.SHOWN_PART.format(tokens=16) in values[tab.note]
    assert grid_of(values, tab)["T"] == 16


def test_beyond_the_limit_the_first_part_is_offered(tab: AttentionTab):
    text = "the cat sat on the mat, and the dog sat"
    values = named(tab, tab.look("starter", text, {"text": TYPED}))
    assert "At most 16 tokens of this model are looked at at once" in values[tab.note]
    assert values[tab.offer].value == words.OFFER.format(tokens=16) and values[tab.offer].visible
    assert all(skipped(values[part]) for part in (tab.text, tab.grid, tab.strip, tab.next))
    taken = named(tab, tab.look_at_part("starter", values[tab.seen]))
    assert taken[tab.text] == text[:16] and grid_of(taken, tab)["T"] == 16
    assert not taken[tab.offer].visible and taken[tab.note] == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "There is no text"), (None, "There is no text"), (7, "There is no text"),
     ({"a": 1}, "There is no text"), ("ß", "does not know"), ("\ud800", "does not know")],
)  # fmt: skip
def test_bad_texts_get_a_sentence(tab: AttentionTab, text: Any, sentence: str):
    with pytest.raises(gr.Error, match=sentence):
        tab.look("starter", text, {})
    with pytest.raises(gr.Error, match=sentence):
        tab.attention_of("starter", text)


def test_a_megabyte_is_refused_before_it_is_read(tab: AttentionTab):
    opened(tab)
    began = time.perf_counter()
    with pytest.raises(gr.Error, match="1,000,000 characters"):
        tab.attention_of("starter", "t" * 1_000_000)
    values = named(tab, tab.look("starter", "t" * 1_000_000, {}))
    assert "1,000,000 characters" in values[tab.note]
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("ref", ["starter@7", "run:" + "x" * 16, "no such", None, 3])
def test_models_and_steps_that_are_not_there(tab: AttentionTab, ref: Any):
    for act in (
        lambda: tab.refresh(ref, "", {}), lambda: tab.look(ref, TYPED, {}),
        lambda: tab.attention_of(ref, TYPED), lambda: tab.show_best("induction", ref, {}),
        lambda: tab.look_at_example("own", ref, {}),
    ):  # fmt: skip
        with pytest.raises(gr.Error) as told:
            act()
        assert "fault in the program" not in str(told.value)


def test_examples_are_put_into_the_box_and_fit(tab: AttentionTab):
    for key in ("own", "twice"):
        values = named(tab, tab.look_at_example(key, "starter", {}))
        assert values[tab.text] == values[tab.seen]["example"]
        assert grid_of(values, tab)["T"] <= 16


def test_the_made_up_name_is_left_for_the_model_to_finish():
    stories = "Zorimel, " + " ".join(words.NAME_TEXTS) + "\n"
    for kind, limit in (("char", 128), ("char", 60), ("bpe", 128)):
        tokenizer = train_tokenizer(kind, [stories * 3], 300)
        text = next(iter(example_texts(tokenizer, limit, "").values()))
        assert text.count("Zorimel") >= 1 and not text.endswith("Zorimel")
        whole = next(story for story in words.NAME_TEXTS if story.startswith(text))
        assert tokenizer.encode(whole)[:-1] == tokenizer.encode(text)


def test_the_words_of_a_text_are_written_twice():
    tokenizer = train_tokenizer("bpe", ["one two three four five six seven eight nine ten\n" * 5], 400)
    text = example_texts(tokenizer, 64, "one two three four five six seven eight")[words.EXAMPLE_TWICE]
    half = text[: text.rindex("one")].strip()
    assert half and text.count("one two") == 2 and f"{half} {half}".startswith(text)


@pytest.mark.parametrize("limit", [1, 2, 3, 16])
@pytest.mark.parametrize("own", ["", "猫坐在垫子上。猫看狗。", "\n\n", "ab"])
def test_there_is_always_an_example(limit: int, own: str):
    for kind in ("char", "bpe"):
        tokenizer = train_tokenizer(kind, ["猫坐在垫子上。猫看狗。\n" * 3], 300)
        for text in example_texts(tokenizer, limit, own).values():
            assert 0 < len(tokenizer.encode(text)) <= limit


def test_a_clicked_token_shows_what_comes_after_it(tab: AttentionTab):
    seen = named(tab, tab.look("starter", TYPED, {}))[tab.seen]
    shown = tab.after_token("starter", seen, said(index=2))
    assert "(token 2)" in shown and shown != tab.after_token("starter", seen, said(index=3))
    for index in (-1, 99, "1", None, 1.5, True):
        with pytest.raises(gr.Error, match="token"):
            tab.after_token("starter", seen, said(index=index))


def test_the_best_head_of_a_kind_is_chosen(tab: AttentionTab, services: Services):
    seen = opened(tab)[tab.seen]
    heads = ranked(tab._scores(services.models.get(ModelRef.parse("starter"))))
    for kind in words.KINDS:
        grid = json.loads(tab.show_best(kind, "starter", seen))
        best = best_of(heads, kind)
        assert (grid["layer"], grid["head"]) == (best.layer, best.head)
        assert best.scores[kind] == max(one.scores[kind] for one in heads)


def test_scores_are_measured_once_per_model_and_step(tab: AttentionTab, monkeypatch: pytest.MonkeyPatch):
    measured: list[int] = []
    real = attention_tab.head_scores
    monkeypatch.setattr(attention_tab, "head_scores", lambda *a, **k: measured.append(1) or real(*a, **k))
    for ref in ("starter", "starter", "starter@30", "starter@10", "starter"):
        opened(tab, ref)
    assert len(measured) == 2


def fake_scores() -> HeadScores:
    zeros = np.zeros((2, 3))
    scores = {kind: zeros.copy() for kind in ("previous", "induction", "duplicate", "first")}
    scores["previous"][0, 2] = 0.8
    scores["induction"][1, 1] = 0.9
    scores["first"][1, 0] = 0.3
    return HeadScores(**scores, period=32)


def test_the_table_names_the_strongest_heads_first():
    scores = fake_scores()
    heads = ranked(scores)
    assert [(one.layer, one.head, one.badge) for one in heads[:3]] == [
        (1, 1, "induction"), (0, 2, "previous"), (1, 0, ""),
    ]  # fmt: skip
    table = score_table(heads, scores, 1500)
    assert "step 1,500" in table and "32 random tokens" in table
    assert table.index("● 0.90") < table.index("● 0.80") < table.index("0.30")
    assert words.SCORES_NONE not in table


def test_a_model_too_small_to_be_scored_still_shows_its_attention(
    tab: AttentionTab, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: Any, **__: Any) -> Any:
        raise attention_tab.LimitError(
            "This model reads 3 tokens.", "Four are needed.", "Choose a larger one."
        )

    monkeypatch.setattr(attention_tab, "head_scores", refuse)
    values = opened(tab)
    assert "Four are needed." in values[tab.table]
    assert grid_of(values, tab)["badges"] == [] and not values[tab.best["induction"]].visible


def test_the_api_gives_one_head(tab: AttentionTab):
    answer = tab.attention_of("starter@10", TYPED, 1, 0)
    assert answer["model"] == "starter@10" and answer["tokens"][3] == "·"
    assert np.allclose(np.sum(answer["weights"], axis=-1), 1, atol=1e-5)
    json.dumps(answer)
    for layer, head in ((2, 0), (-1, 0), ("0", 0), (None, 0), (0, 9), (0, float("nan")), (0.5, 0)):
        with pytest.raises(gr.Error, match=r"layer|head"):
            tab.attention_of("starter", TYPED, layer, head)


def test_the_lock_is_free_while_nothing_is_computed(tab: AttentionTab, services: Services):
    opened(tab)
    loaded = services.models.get(ModelRef.parse("starter"))
    taken: list[bool] = []

    def take() -> None:
        taken.append(loaded.lock.acquire(timeout=5))
        loaded.lock.release()

    other = threading.Thread(target=take)
    other.start()
    other.join(10)
    assert taken == [True]


def test_hostile_tokens_are_shown_as_text():
    evil = "<img src=x onerror=alert(1)>"
    made = bars([Bar(evil, 2.0, evil), Bar("b", -1.0, "0")], caption=evil)
    assert "<img" not in made and made.count("&lt;img") == 4
    assert "--w: 100.0%" in made and "--w: 0.0%" in made
    assert SafeHTML(render=False).postprocess(made) == made


def test_the_words_say_that_attention_is_no_explanation():
    assert "not an explanation" in words.NOT_AN_EXPLANATION
    assert set(words.KINDS) == set(words.KIND_MEANINGS) == set(attention_parts.THRESHOLDS)


def test_a_memo_forgets_what_was_used_longest_ago_and_no_failure():
    memo: Memo[int] = Memo(2)
    made: list[str] = []

    def make(key: str) -> int:
        return memo.get(key, lambda: made.append(key) or len(made))

    assert [make(key) for key in ("a", "b", "a", "c", "a", "b")] == [1, 2, 1, 3, 1, 4]
    with pytest.raises(ZeroDivisionError):
        memo.get("x", lambda: 1 // 0)
    assert memo.get("x", lambda: 5) == 5


def test_thirty_who_ask_at_once_wait_for_one_computation():
    memo: Memo[int] = Memo(4)
    made: list[int] = []
    ready = threading.Barrier(8)

    def ask() -> None:
        ready.wait(5)
        memo.get("scores", lambda: made.append(1) or 1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert made == [1]


def test_the_tab_says_what_the_frame_needs(services: Services, tmp_path: Path):
    with blocks() as demo:
        page = make_page(services)
        tab = attention_tab.build(page)
    assert len(tab.refresh("starter", "", {})) == len(tab.outputs)
    public = [fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"]
    assert public == ["attention"]
