"""The Generate tab: what it writes, what it shows of each token, and how it answers what cannot be."""

from __future__ import annotations

import json
import math
import re
import time
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError

from gpt2demo.errors import UserError
from gpt2demo.generation import engine as engine_module
from gpt2demo.generation.beams import beam_search
from gpt2demo.generation.prompts import Prompt, read_prompt, sampling, stop_lines
from gpt2demo.generation.records import Likeliest, TokenStep
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training.lock import hold
from gpt2demo.ui import generate_draft, generate_tab, generate_writing
from gpt2demo.ui.generate_draft import Draft, Flow, begin, take
from gpt2demo.ui.generate_examples import beginnings
from gpt2demo.ui.generate_panel import clicked_alternative, panel
from gpt2demo.ui.generate_sheet import Sheet, Spot, Turn, lay_out
from gpt2demo.ui.generate_tab import GenerateTab
from gpt2demo.ui.generate_writing import write
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import generate as words
from tests.ui.little_runs import ME, blocks, make_page, make_run, make_services, one_thread, said, served

RULES = (0.8, 0, 1, 0, 1)  # temperature, top-k, top-p, min-p, repetition penalty
SETTINGS = (*RULES, 12, 3, "", "fp32", 1, 0, False)  # length, seed, stops, bits, samples, beams, a new seed
Updates = Generator[tuple[Any, ...], None, None]
HOSTILE = ["<img src=x onerror=alert(1)>", "</td><script>", "{{value}}${1}", '"&amp;', "=1+1", "\u202e!"]


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("generate"))


@pytest.fixture(scope="module")
def tab(services: Services) -> GenerateTab:
    with blocks():
        return GenerateTab(make_page(services))


@pytest.fixture
def loaded(services: Services) -> LoadedModel:
    return services.models.get(ModelRef.parse("starter"))


def settings(length: Any = 12, seed: Any = 3, fresh: bool = False, **more: Any) -> tuple[Any, ...]:
    """The controls' values; all others are as they stand at first."""
    named = dict(zip(("temperature", "top_k", "top_p", "min_p", "penalty"), RULES, strict=True))
    named |= {
        "length": length,
        "seed": seed,
        "stop": "",
        "precision": "fp32",
        "samples": 1,
        "beams": 0,
        "fresh": fresh,
    }
    return tuple((named | more).values())


def updates(tab: GenerateTab, prompt: Any = "the cat", draft: Draft | None = None, **how: Any) -> Updates:
    """What Generate sends, message by message."""
    handler = how.pop("handler", tab.write_new)
    sheet = how.pop("sheet", None) or (lay_out([draft]) if draft is not None else None)
    spot, pins = how.pop("spot", Spot()), how.pop("pins", frozenset())
    values = (*how.pop("settings", SETTINGS), *how.pop("more", ()))
    sent: Updates = handler(
        how.pop("turn", Turn()), how.pop("ref", "starter"), prompt, sheet, spot, pins, *values
    )
    return sent


def sheet_of(tab: GenerateTab, prompt: Any = "the cat", **how: Any) -> Sheet:
    """What Generate leaves in the session."""
    *_, last = updates(tab, prompt, **how)
    sheet: Sheet = last[1]
    return sheet


def written(tab: GenerateTab, prompt: Any = "the cat", draft: Draft | None = None, **how: Any) -> Draft:
    """The text that it leaves in hand."""
    *_, last = updates(tab, prompt, draft, **how)
    found: Draft = last[1].at(last[9])
    return found


def lines(strip: str, column: int = 0) -> list[dict[str, Any]]:
    """The records of one text, in the strip of a draft or of a sheet."""
    mine = [line for line in strip.splitlines()[1:] if line[0] in ("{", str(column))]
    return [json.loads(line.removeprefix(f"{column} ")) for line in mine]


def tokens(strip: str, column: int = 0) -> list[dict[str, Any]]:
    return [line for line in lines(strip, column) if "t" in line]


def status(strip: str) -> dict[str, str]:
    return [line for line in lines(strip) if "status" in line][-1]


def html(value: Any) -> str:
    return re.sub(r"<[^>]+>", " ", str(value))


# what is there before anybody asked


def test_the_tab_opens_with_a_text_that_this_model_has_just_written(tab: GenerateTab) -> None:
    shown = tab.refresh("starter", "", [], None, frozenset(), *settings(100, 7))
    prompt, offered, given, strip, sheet, notice, spot, head, bars, table, other = shown
    draft, selected = sheet.at(spot), spot.step
    assert prompt == "the cat sat on the" and offered.raw_samples == [[prompt]] and given == [prompt]
    expected = read_prompt(draft.tokenizer, prompt).ids
    assert [line.get("prompt", False) for line in tokens(strip)[: len(expected) + 1]] == [True] * len(
        expected
    ) + [False]
    assert len(draft.steps) == generate_tab.EXAMPLE_TOKENS and notice == ""
    assert "Starter (step 30" in status(strip)["message"] and status(strip)["status"] == "done"
    assert {"select": draft.lead + selected} in lines(strip)
    assert f"Token {selected + 1} of" in html(head) and json.loads(bars)["figure"]["data"]
    assert words.CHOSEN in table and len(other.choices) >= 11


def test_the_first_text_is_written_once_for_all(tab: GenerateTab) -> None:
    def first(ref: str) -> str:
        return str(tab.refresh(ref, "", [], None, frozenset(), *settings(30, 7))[4].drafts[0].key)

    assert first("starter") == first("starter") != first("starter@10")


def test_an_own_prompt_stays_when_the_model_changes(tab: GenerateTab) -> None:
    def open_with(ref: str, prompt: str, given: list[str]) -> Any:
        return tab.refresh(ref, prompt, given, None, frozenset(), *settings(9, 7))

    shown = open_with("starter@10", "the dog", ["the cat"])
    assert shown[0] == "the dog" and shown[4].drafts[0].prompt.text == "the dog"
    assert "as it was at step 10" in status(shown[3])["message"]
    unknown = open_with("starter", "Ünknown", [])
    assert unknown[0] == "Ünknown" and "Ü" in html(unknown[5])
    assert unknown[4].drafts[0].prompt.text != "Ünknown"
    example = open_with("starter", "of another model", ["of another model"])
    assert example[0] == "the cat sat on the"


def test_beginnings_come_from_all_over_the_text_and_end_between_words() -> None:
    def corpus(text: str) -> Corpus:
        return Corpus((document_from_text("a.txt", text),))

    found = beginnings(
        corpus("\n".join(f"Story {'abcdefgh'[i % 8]} began on a rainy day" for i in range(400)))
    )
    assert 2 <= len(found) <= 4 and all(line.startswith("Story ") for line in found)
    assert all(len(line.split()) == 5 for line in found)
    assert beginnings(corpus("山城里有一座古老的石桥，桥下的水流得很慢。\n" * 40)) == ["山城里有一座"]
    assert beginnings(corpus("1 2 3\n" * 40)) == []


# writing


def test_a_text_is_streamed_by_appending_only(tab: GenerateTab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_writing, "YIELD_SECONDS", 0.001)
    sent = list(updates(tab, settings=settings(60)))
    strips = [update[0] for update in sent]
    assert len(strips) >= 5
    assert all(new.startswith(old) for old, new in zip(strips, strips[1:], strict=False))
    assert status(strips[2])["status"] == "running" and status(strips[-1])["status"] == "done"
    assert [b["interactive"] for b in sent[0][4:9]] == [False, False, True, False, False]
    assert [b["interactive"] for b in sent[-1][4:9]] == [True, True, False, True, True]
    draft = sent[-1][1].drafts[0]
    assert len(draft.steps) == 60 and draft.text == "the cat" + "".join(
        t["raw"] for t in tokens(strips[-1]) if "prompt" not in t
    )
    token = tokens(strips[-1])[-1]
    assert token["p"] == pytest.approx(math.exp(draft.steps[-1].logprob)) and token["r"] >= 1
    assert 0 <= token["s"] <= 1 and len(token["a"]) == 8


def test_words_are_written_with_spaces_between_them(loaded: LoadedModel) -> None:
    tokenizer = train_tokenizer("word", ["the cat sat on the mat, and the dog sat."], 40, min_frequency=1)
    prompt = Prompt(text="The cat", ids=(4, 7), from_start=False)
    draft = begin(loaded, "starter", prompt, sampling(*RULES), "")
    steps = tuple(
        TokenStep(
            index=i,
            id=id_,
            logit=0.0,
            cuts=(),
            logprob=0.0,
            logprob_sampled=0.0,
            rank=1,
            entropy=0.0,
            likeliest=Likeliest(np.array([[id_], [0], [0], [0], [0], [0]], np.float64)),
        )
        for i, id_ in enumerate(tokenizer.encode("sat, and sat"))
    )
    assert replace(draft, tokenizer=tokenizer, steps=steps).text == "The cat sat, and sat"


def test_the_same_seed_gives_the_same_text_and_a_surprise_another(tab: GenerateTab) -> None:
    assert written(tab).text == written(tab).text
    surprised = [written(tab, settings=settings(12, 3, fresh=True)) for _ in range(3)]
    assert len({draft.seed for draft in surprised}) > 1
    again = written(tab, settings=settings(12, surprised[0].seed))
    assert again.text == surprised[0].text and f"seed {again.seed}" in status(again.strip)["message"]


def test_step_by_step_is_the_same_text_as_at_once_also_past_the_context(tab: GenerateTab) -> None:
    whole = written(tab, settings=settings(16, 3))
    draft = None
    for i in range(16):
        draft = written(tab, draft=draft, handler=tab.write_one)
        assert len(draft.steps) == i + 1
    assert draft is not None and draft.text == whole.text
    assert [line["t"] for line in tokens(draft.strip)] == [line["t"] for line in tokens(whole.strip)]
    assert "kept the last 8" in status(draft.strip)["message"]


def test_step_begins_anew_when_the_prompt_or_the_model_is_another(tab: GenerateTab) -> None:
    draft = written(tab)
    for prompt, ref in (("the dog", "starter"), ("the cat", "starter@10")):
        assert len(written(tab, prompt, draft, handler=tab.write_one, ref=ref).steps) == 1
    over = tab.start_over("starter", "the cat", lay_out([draft]), Spot(), frozenset(), *SETTINGS)
    assert over[1].drafts[0].steps == () and words.NOTHING_YET[:20] in html(over[10])


def engine_rests(loaded: LoadedModel, within: float = 5.0) -> bool:
    """Whether soon no text has a place any more, for longer than one is on its way between two places."""
    end = time.monotonic() + within
    empty = 0
    while empty < 20 and time.monotonic() < end:
        empty = 0 if len(loaded.engine()._desk) else empty + 1
        time.sleep(0.002)
    return empty == 20


@pytest.fixture
def slow(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that needs ten seconds for a text of 2,000 tokens: nobody here waits for its end."""
    model = loaded.engine().model
    run = model.next_logits

    def slowly(*values: Any) -> torch.Tensor:
        time.sleep(0.005)
        return run(*values)

    monkeypatch.setattr(model, "next_logits", slowly)


def test_stopping_keeps_what_is_there_and_frees_the_place(
    tab: GenerateTab, loaded: LoadedModel, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_writing, "YIELD_SECONDS", 0.001)
    turn = Turn()
    stream = iter(updates(tab, settings=settings(2000), turn=turn))
    update = next(part for part in stream if len(part[1].drafts[0].steps) >= 5)
    tab.stop_writing(turn)
    *_, last = stream
    assert last[0].startswith(update[0]) and status(last[0])["status"] == "stopped"
    assert 5 <= len(last[1].drafts[0].steps) < 1000 and last[6]["interactive"] is False
    assert words.STOPPED in status(last[0])["message"] and engine_rests(loaded)
    stream = iter(updates(tab, settings=settings(2000), turn=turn))
    next(stream), next(stream)
    left = next(stream)[1]
    tab.leave(turn)  # another model was taken in hand
    assert list(stream) == [] and engine_rests(loaded)
    assert status(lay_out(left.drafts).strip)["status"] == "stopped", "if it is kept it says so"


def test_a_browser_that_is_gone_frees_its_places(tab: GenerateTab, loaded: LoadedModel, slow: None) -> None:
    stream = updates(tab, settings=settings(2000, samples=3))
    next(part for part in stream if part[1].drafts[2].steps)
    assert not engine_rests(loaded, within=0.1)
    stream.close()  # as gradio does
    assert engine_rests(loaded)


def test_a_run_in_training_writes_with_its_newest_weights_and_says_which(
    tab: GenerateTab, services: Services
) -> None:
    run = make_run(services, state="running", steps=(0, 10))
    folder = services.store.folder(run)
    with hold(folder.lock):
        draft = written(tab, ref=f"run:{run}")
        assert "step 10 of 30, still training" in status(draft.strip)["message"]
        folder.save_model(GPT2(folder.config(), seed=2), 20)
        draft = written(tab, draft=draft, handler=tab.write_one, ref=f"run:{run}")
        assert "step 20 of 30" in status(draft.strip)["message"]
        assert "begun by the weights of step 10" in status(draft.strip)["message"]
    folder.journal().tell(state="done")
    services.store.delete(ME, run)
    with pytest.raises(gr.Error, match="does not exist"):
        written(tab, ref=f"run:{run}")


def test_what_was_read_is_told(tab: GenerateTab) -> None:
    long = written(tab, "the cat sat on the mat, and the dog")
    assert "The prompt has 35 tokens" in status(long.strip)["message"]
    assert "last 16" in status(long.strip)["message"]
    empty = written(tab, "")
    assert "start token ↵" in status(empty.strip)["message"]
    assert not empty.text.startswith("\n") or empty.steps[0].id == empty.prompt.ids[0]


def test_a_very_long_prompt_is_drawn_from_its_end(tab: GenerateTab) -> None:
    draft = written(tab, "a cat " * 500)
    drawn = tokens(draft.strip)
    assert draft.lead == 1_001 and len(drawn) == 1_001 + 12 and "2,000 tokens before" in drawn[0]["raw"]
    assert draft.text.startswith("a cat a cat")


# what cannot be


@pytest.mark.parametrize(
    ("prompt", "settings", "sentence"),
    [
        ("x" * 20_001, SETTINGS, "20,001 characters"),
        ("x" * 1_000_000, SETTINGS, "1,000,000 characters"),
        ("Ü", SETTINGS, "'Ü'"),
        (None, SETTINGS, "not text"),
        ("the", settings(9_999), "max_new_tokens is 9999"),
        ("the", settings("long"), "max_new_tokens is 'long'"),
        ("the", settings(seed=None), "seed is not given"),
        ("the", settings(seed=None, fresh=True, top_k=2.5), "top-k is 2.5"),
        ("the", settings(temperature=9), "temperature is 9"),
        ("the", settings(temperature=math.nan), "temperature is nan"),
        ("the", settings(top_k=-1), "top-k is -1"),
        ("the", settings(top_k=None), "top-k is not given"),
        ("the", settings(top_p=0), "top-p is 0"),
        ("the", settings(top_p=None), "top-p is not given"),
        ("the", settings(min_p=1.5), "min-p is 1.5"),
        ("the", settings(min_p="0.1"), "min-p is '0.1'"),
        ("the", settings(penalty=0.5), "repetition penalty is 0.5"),
        ("the", settings(penalty=None), "repetition penalty is not given"),
        ("the", settings(penalty=[1]), "repetition penalty is [1]"),
        ("the", settings(stop="x" * 10_000), "10,000 characters"),
        ("the", settings(stop="a\nb\nc\nd\ne"), "5 stop strings"),
        ("the", settings(stop=None), "not text"),
        ("the", settings(precision="fp8"), "precision is 'fp8'"),
        ("the", settings(precision=["fp32"]), "The precision is"),
        ("the", settings(samples=5), "number of samples is 5"),
        ("the", settings(beams=9), "number of beams is 9"),
        ("the", settings(beams="off"), "number of beams is 'off'"),
        ("the", settings(samples=2, seed=2**63 - 1), "seed is 9223372036854775808"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    tab: GenerateTab, prompt: Any, settings: tuple[Any, ...], sentence: str
) -> None:
    with pytest.raises(gr.Error, match=re.escape(sentence)):
        written(tab, prompt, settings=settings)


def test_a_branch_needs_a_token_and_its_scores(tab: GenerateTab) -> None:
    draft = written(tab)
    for step, other in ((None, 1), (3, None), (-1, 1), (99, 1), (3, 10_000), (3, "x")):
        with pytest.raises(gr.Error):
            spot = Spot(step=step)
            written(tab, draft=draft, handler=tab.write_branch, spot=spot, more=(other,))


# the road of one token


def test_a_click_shows_the_road_and_sliders_redraw_it_without_the_model(
    tab: GenerateTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = written(tab)

    def never(*_: Any) -> None:
        raise AssertionError("the model was run")

    monkeypatch.setattr(GPT2, "forward", never)
    sheet = lay_out([draft])
    place = draft.lead + 4
    spot, head, bars, table, other = tab.look.look_at(sheet, Spot(), said(column=0, index=place), *RULES)
    assert spot == Spot(step=4) and "Token 5 of" in html(head) and words.PENALISED not in table
    _, greedy_bars, greedy, _ = tab.look.redraw(sheet, spot, 0, 0, 1, 0, 1)
    assert greedy_bars != bars and "cut by temperature 0" in greedy
    head, _, cut, _ = tab.look.redraw(sheet, spot, 0.8, 3, 0.9, 0, 1)
    assert "top-k 3" in html(head) and "cut by top-k" in cut and "of 16 tokens stay" in html(head)
    assert "top-k cuts 13, top-p cuts" in html(head)
    head, *_ = tab.look.redraw(sheet, spot, 0.8, 0, 1, 1, 1)
    assert "min-p 1" in html(head) and "min-p cuts 15" in html(head)
    _, penalised_bars, penalised, _ = tab.look.redraw(sheet, spot, 0.8, 0, 1, 0, 2)
    assert words.PENALISED in penalised
    head_row, *penalised_rows = [row.split(",") for row in json.loads(penalised_bars)["csv"].splitlines()]
    at = {name: head_row.index(name) for name in ("id", "logit", "after_penalty")}
    lower = {int(row[at["id"]]) for row in penalised_rows if row[at["logit"]] != row[at["after_penalty"]]}
    assert lower and lower <= set(draft.before(4)), "what was there before, and nothing else"
    assert lower == set(draft.before(4)) & {int(row[at["id"]]) for row in penalised_rows}
    assert all(part == gr.skip() for part in tab.look.redraw(sheet, spot, None, 0, 1, 0, 1))
    rows = [row.split(",") for row in json.loads(bars)["csv"].splitlines()[1:]]
    scores = torch.from_numpy(draft.logits[4]).double()
    for place, row in enumerate(rows[:12]):
        id_ = scores.argsort(descending=True, stable=True)[place]
        assert int(row[1]) == id_
        assert float(row[-2]) == pytest.approx((scores / 0.8).softmax(0)[id_].item())


def test_a_click_on_the_prompt_or_on_nothing_has_an_answer(tab: GenerateTab) -> None:
    draft = written(tab)
    sheet = lay_out([draft])
    assert words.PROMPT_TOKEN in html(tab.look.look_at(sheet, Spot(), said(column=0, index=0), *RULES)[1])
    for column, place in ((0, None), (0, "1"), (0, 999), (0, -1), (1, 1), (-1, 1), (None, 1), ("0", 1)):
        with pytest.raises(gr.Error):
            tab.look.look_at(sheet, Spot(), said(column=column, index=place), *RULES)
    with pytest.raises(gr.Error, match="put away"):
        tab.look.look_at(None, Spot(), said(column=0, index=0), *RULES)
    assert tab.look.redraw(None, Spot(), *RULES)[1] == ""


def test_another_token_can_be_taken_and_the_text_goes_on_from_there(tab: GenerateTab) -> None:
    draft = written(tab)
    other = panel(draft, 5, sampling(*RULES, 0, 1))[3].choices[-1][1]
    branch = written(tab, draft=draft, handler=tab.write_branch, spot=Spot(step=5), more=(other,))
    assert [s.id for s in branch.steps[:6]] == [*(s.id for s in draft.steps[:5]), other]
    assert len(branch.steps) == 6 + 12 and branch.taken == {5}
    assert branch.strip.splitlines()[0] != draft.strip.splitlines()[0]  # drawn anew
    assert "You put it here" in html(panel(branch, 5, sampling(*RULES, 0, 1))[0])
    with pytest.raises(UserError):
        take(draft, 99, other, sampling(*RULES, 0, 1))


def test_a_bar_chooses_its_token_but_not_the_one_that_was_written(tab: GenerateTab) -> None:
    draft = written(tab)
    config = sampling(*RULES, 0, 1)
    found = [clicked_alternative(draft, 5, config, place) for place in range(13)]
    choices = [id_ for _, id_ in panel(draft, 5, config)[3].choices]
    assert [id_ for id_ in found if id_ is not None] == choices and draft.steps[5].id not in choices
    sheet, spot = lay_out([draft]), Spot(step=5)
    assert tab.look.choose_bar(sheet, spot, said(y=found.index(choices[3]) + 0.0), *RULES) == choices[3]
    assert tab.look.choose_bar(sheet, spot, said(y=found.index(None)), *RULES) == gr.skip()
    for place in (None, "x", 99, math.nan, math.inf):
        assert clicked_alternative(draft, 5, config, place) is None


def test_scores_are_forgotten_before_they_fill_the_memory(
    tab: GenerateTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_draft, "MAX_LOGITS_BYTES", 4 * 16 * 5)
    draft = written(tab)
    assert [scores is None for scores in draft.logits] == [True] * 7 + [False] * 5
    assert words.FORGOTTEN in html(panel(draft, 6, sampling(*RULES, 0, 1))[0])
    assert "Token 8 of" in html(panel(draft, 7, sampling(*RULES, 0, 1))[0])
    with pytest.raises(UserError, match="no longer kept"):
        take(draft, 0, 1, sampling(*RULES, 0, 1))


# side by side


def test_samples_are_what_each_seed_gives_alone_and_grow_together(tab: GenerateTab) -> None:
    sent = list(updates(tab, settings=settings(30, samples=3)))
    strips = [update[0] for update in sent]
    assert all(new.startswith(old) for old, new in zip(strips, strips[1:], strict=False))
    sheet = sent[-1][1]
    assert [draft.seed for draft in sheet.drafts] == [3, 4, 5]
    alone = [written(tab, settings=settings(30, seed=seed)).text for seed in (3, 4, 5)]
    assert [draft.text for draft in sheet.drafts] == alone and len(set(alone)) == 3
    for column in range(3):
        assert "".join(token["raw"] for token in tokens(strips[-1], column)) == alone[column]
    spot, head, *_ = tab.look.look_at(sheet, Spot(), said(column=2, index=sheet.drafts[2].lead), *RULES)
    assert spot == Spot(column=2, step=0) and "Token 1 of" in html(head)
    more = written(tab, sheet=sheet, spot=spot, handler=tab.write_one, settings=settings(30))
    assert more.text == written(tab, settings=settings(31, seed=5)).text, "it keeps its own luck"


def test_the_old_text_stays_beside_its_branch(tab: GenerateTab) -> None:
    sheet = sheet_of(tab)
    old = sheet.drafts[0]
    other = panel(old, 5, sampling(*RULES))[3].choices[-1][1]
    how = {"handler": tab.write_branch, "spot": Spot(step=5), "more": (other,)}
    *_, last = updates(tab, sheet=sheet, **how)
    sheet, spot = last[1], last[9]
    assert sheet.drafts[0].text == old.text and spot == Spot(column=1, step=5)
    assert sheet.drafts[1].steps[5].id == other and sheet.drafts[1].branched == 5
    titles = [line["title"] for column in (0, 1) for line in lines(last[0], column) if "title" in line]
    assert titles[0] == "Seed 3" and titles[1].startswith("Branch at token 6: ")


def test_a_fifth_text_takes_the_place_of_the_oldest_that_is_not_kept(tab: GenerateTab) -> None:
    sheet = sheet_of(tab, settings=settings(6, samples=4))
    first, second, third, fourth = sheet.drafts
    other = panel(first, 2, sampling(*RULES))[3].choices[0][1]
    how = {"handler": tab.write_branch, "spot": Spot(step=2), "more": (other,), "settings": settings(6)}
    sent = list(updates(tab, sheet=sheet, pins={second.key}, **how))
    assert [d.text for d in sent[-1][1].drafts[:3]] == [d.text for d in (first, second, fourth)]
    assert "Seed 5" in html(sent[0][3]), "it is said which text went"
    everything = {draft.key for draft in sheet.drafts}
    with pytest.raises(gr.Error, match="All four texts are kept"):
        sheet_of(tab, sheet=sheet, pins=everything, **how)
    with pytest.raises(gr.Error, match="4 kept and 1 new"):
        sheet_of(tab, sheet=sheet, pins=everything)


def test_a_text_that_is_kept_stays_beside_the_next_also_of_another_model(tab: GenerateTab) -> None:
    sheet = sheet_of(tab)
    pins = tab.look.pin(sheet, frozenset({"of a text that is gone"}), said(column=0, pinned=True))
    assert pins == {sheet.drafts[0].key}
    again = sheet_of(tab, "the dog", sheet=sheet, pins=pins)
    assert [draft.prompt.text for draft in again.drafts] == ["the cat", "the dog"]
    shown = tab.refresh("starter@10", "", [], again, pins, *settings(9, 7))
    assert [draft.ref for draft in shown[4].drafts] == ["starter", "starter@10"]
    assert shown[6].column == 1
    assert tab.look.pin(again, pins, said(column=0, pinned=False)) == frozenset()
    full = sheet_of(tab, settings=settings(6, samples=4))
    shown = tab.refresh("starter", "", [], full, {draft.key for draft in full.drafts}, *settings(9, 7))
    assert [draft.seed for draft in shown[4].drafts] == [4, 5, 6, 7] and "Seed 3" in html(shown[5])
    for column in (None, "0", 9, -1):
        with pytest.raises(gr.Error):
            tab.look.pin(again, pins, said(column=column, pinned=True))


def test_several_texts_share_the_room_for_scores(tab: GenerateTab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_draft, "MAX_LOGITS_BYTES", 4 * 16 * 8)
    sheet = sheet_of(tab, settings=settings(12, samples=2))
    kept = [sum(scores is not None for scores in draft.logits) for draft in sheet.drafts]
    assert kept == [4, 4]


# what ends a text


def test_a_stop_string_ends_the_text_and_is_said(tab: GenerateTab) -> None:
    whole = written(tab, settings=settings(60)).text.removeprefix("the cat")
    stop = whole[8:10]
    draft = written(tab, settings=settings(60, stop=f"never\n{stop}"))
    assert draft.text == "the cat" + whole[: whole.index(stop) + 2]
    assert words.STOP_STRING in status(draft.strip)["message"]


def test_stop_strings_are_one_on_each_line_with_names_for_what_cannot_be_typed() -> None:
    assert stop_lines("a\r\n\n b \n\\n\\n\n\\t\n\\\\n\n\\d") == ("a", " b ", "\n\n", "\t", "\\n", "\\d")


def test_a_model_that_is_deleted_while_it_writes_leaves_what_is_written(
    tab: GenerateTab, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_writing, "YIELD_SECONDS", 0.001)
    monkeypatch.setattr(generate_writing, "LOOK_SECONDS", 0.0)
    run = make_run(services)
    stream = updates(tab, ref=f"run:{run}", settings=settings(2000))
    next(part for part in stream if part[1].drafts[0].steps)
    services.store.delete(ME, run)
    *_, last = stream
    message = status(last[0])["message"]
    assert "It ends here." in message and "does not exist" in message and "stays" in message
    assert 1 <= len(last[1].drafts[0].steps) < 2000 and last[4]["interactive"] is True


def test_scores_that_are_no_numbers_end_the_text_with_a_sentence(
    tab: GenerateTab, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = loaded.engine()
    sound = engine.model.next_logits
    calls = []

    def diverging(*values: Any) -> torch.Tensor:
        calls.append(1)
        return sound(*values) * (math.nan if len(calls) > 6 else 1)

    monkeypatch.setattr(engine.model, "next_logits", diverging)
    *_, last = updates(tab)
    assert len(last[1].drafts[0].steps) == 6
    assert "scores are not numbers" in status(last[0])["message"] and "stays" in status(last[0])["message"]


def test_who_waits_hears_how_many_are_ahead(tab: GenerateTab, loaded: LoadedModel) -> None:
    engine = loaded.engine()
    others = [engine.write([1], sampling(*RULES, 0, 2_000)) for _ in range(engine.rows + 2)]
    stream = updates(tab)
    waiting = next(part for part in stream if '"waiting"' in part[0])
    assert "ahead of you" in status(waiting[0])["message"]
    for other in others:
        other.leave()
    *_, last = stream
    assert len(last[1].drafts[0].steps) == 12 and status(last[0])["status"] == "done"


def test_where_too_many_wait_it_is_said_and_the_prompt_stays(
    tab: GenerateTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_WAITING", 0)
    *_, last = updates(tab)
    assert status(last[0])["status"] == "stopped" and "Try again" in status(last[0])["message"]
    assert last[1].drafts[0].finished and last[4]["interactive"] is True


@pytest.mark.parametrize("bits", ["bf16", "int8"])
def test_a_text_can_be_written_in_fewer_bits(tab: GenerateTab, bits: str) -> None:
    draft = written(tab, settings=settings(precision=bits))
    assert len(draft.steps) == 12 and draft.precision == bits


# beam search


def test_beam_search_finds_what_the_core_finds_and_shows_it_side_by_side(
    tab: GenerateTab, loaded: LoadedModel
) -> None:
    sent = list(updates(tab, settings=settings(20, beams=3)))
    *_, expected = beam_search(
        loaded.model, read_prompt(loaded.tokenizer, "the cat").ids, beams=3, max_new_tokens=20
    )
    sheet, spot = sent[-1][1], sent[-1][9]
    assert [draft.written for draft in sheet.drafts] == [beam.ids for beam in expected.beams]
    for place, (draft, beam) in enumerate(zip(sheet.drafts, expected.beams, strict=True), start=1):
        assert draft.found.logprob == pytest.approx(beam.logprob, abs=1e-4)
        (head,) = [line for line in lines(sent[-1][0], place - 1) if "title" in line]
        assert head["title"] == words.beam(place, draft.found.logprob) and "−" in head["title"]
        assert all(0 <= token["s"] <= 1 for token in tokens(sent[-1][0], place - 1) if "prompt" not in token)
        assert "beam search with 3 beams" in status(draft.strip)["message"]
    assert [b["interactive"] for b in sent[0][4:9]] == [False, False, True, False, False]
    assert [b["interactive"] for b in sent[-1][4:9]] == [True, True, False, True, True]
    assert status(sent[1][0])["status"] == "running" and "Following" in status(sent[1][0])["message"]
    road = tab.look.redraw(sheet, replace(spot, step=19), *RULES)
    assert "Token 20 of" in html(road[0]) and words.CHOSEN in road[2]
    file = json.loads(tab.look.whole_sheet(sheet, Spot()))
    assert file["texts"][1]["beam_search"]["place"] == 2
    longer = written(tab, sheet=sheet, spot=Spot(column=1), handler=tab.write_one)
    assert longer.found is None and longer.written[:20] == expected.beams[1].ids


def test_of_many_beams_as_many_are_shown_as_there_is_room_for(tab: GenerateTab) -> None:
    sheet = sheet_of(tab, settings=settings(6, beams=8))
    assert [draft.found.place for draft in sheet.drafts if draft.found] == [1, 2, 3, 4]
    pins = frozenset(draft.key for draft in sheet.drafts[:2])
    again = sheet_of(tab, sheet=sheet, pins=pins, settings=settings(6, beams=4))
    assert [draft.found.place for draft in again.drafts if draft.found] == [1, 2, 1, 2]
    with pytest.raises(gr.Error, match="There is room for 4"):
        pins = frozenset(draft.key for draft in sheet.drafts)
        written(tab, sheet=sheet, pins=pins, settings=settings(6, beams=2))


def test_a_search_is_stopped_and_keeps_what_it_has_and_waits_its_turn(
    tab: GenerateTab, loaded: LoadedModel, slow: None
) -> None:
    turn = Turn()
    first = updates(tab, settings=settings(2000, beams=2), turn=turn)
    next(part for part in first if part[0].count("so far") > 1)
    other = updates(tab, settings=settings(2000, beams=2))
    *_, waiting = (next(other) for _ in range(3))
    assert status(waiting[0]) == {"status": "waiting", "message": words.ahead(1)}
    tab.stop_writing(turn)
    *_, last = first
    assert status(last[0])["status"] == "stopped" and words.STOPPED in status(last[0])["message"]
    assert 1 <= len(last[1].drafts[0].steps) < 1000 and len(last[1].drafts) == 2
    next(part for part in other if part[0].count("so far") > 1)
    other.close()  # its browser is gone
    assert engine_rests(loaded)


# our own mistakes


@pytest.mark.parametrize("how", [{"samples": 2}, {"beams": 2}])
def test_a_fault_in_the_middle_ends_in_a_sentence_and_keeps_the_text(
    tab: GenerateTab, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, how: dict[str, int]
) -> None:
    monkeypatch.setattr(generate_writing, "YIELD_SECONDS", 0.001)
    model = loaded.engine().model
    run, count = model.next_logits, [0]

    def faulty(*values: Any) -> torch.Tensor:
        count[0] += 1
        time.sleep(0.002)
        if count[0] == 50:
            raise RuntimeError("a bug")
        return run(*values)

    monkeypatch.setattr(model, "next_logits", faulty)
    with pytest.raises(gr.Error, match="Its number is"):
        for update in updates(tab, settings=settings(300, **how)):
            last = update
    for column in range(2):
        (*_, said_last) = [line for line in lines(last[0], column) if "status" in line]
        assert said_last["status"] == "failed" and words.FAILED in said_last["message"]
    assert all(draft.finished and len(draft.steps) > 10 for draft in last[1].drafts)
    assert len(written(tab).steps) == 12, "and it goes on"


# as a file


def test_the_file_holds_everything_and_is_strict_json(tab: GenerateTab) -> None:
    sheet = sheet_of(tab, settings=settings(samples=2, top_k=3, stop="\\n\nend!"))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    file = json.loads(tab.look.whole_sheet(sheet, Spot()), parse_constant=refuse)
    first, second = file["texts"]
    assert (first["seed"], second["seed"]) == (3, 4) and first["settings"]["stop"] == ["\n", "end!"]
    assert (first["model"], first["step"], first["precision"]) == ("starter", 30, "fp32")
    assert [token["id"] for token in second["tokens"]] == list(sheet.drafts[1].written)
    token, step = first["tokens"][0], sheet.drafts[0].steps[0]
    assert token["logprob"] == step.logprob and token["cuts"] == {"top-k": 13}
    assert token["top"][-1]["logprob_sampled"] is None and token["top"][-1]["cut_by"] == "top-k"
    written_bytes = b"".join(bytes.fromhex(token["bytes"]) for token in first["tokens"])
    assert "the cat" + written_bytes.decode() == first["text"]
    with pytest.raises(gr.Error):
        tab.look.whole_sheet(None, Spot())


# tokens as they are


def test_a_text_can_be_read_whatever_its_tokens_are_made_of() -> None:
    flow = Flow()
    sea = "海".encode()
    assert [flow.add(sea[i : i + 1]) for i in range(3)] == ["", "", "海"]
    assert flow.add(b"\xe4") == "" and flow.add(b" a\n\t") == "<0xE4> a\n\t"
    assert flow.add("·\u202e\u0007👩\u200d👧".encode()) == "·<U+202E><0x07>👩\u200d👧"


def test_hostile_tokens_reach_the_page_as_text(loaded: LoadedModel) -> None:
    text = "".join(HOSTILE) * 60
    tokenizer = train_tokenizer("bpe", [text], 400)
    shape = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    own = GPT2(shape, seed=1).eval()
    hostile = replace(loaded, model=own, tokenizer=tokenizer, config=shape, _engines={})
    config = sampling(2.0, 0, 1, seed=1, max_new_tokens=40)
    draft = begin(hostile, "starter", read_prompt(tokenizer, "".join(HOSTILE)), config, "By <b>me</b>.")
    *_, (draft,) = write([draft], hostile)
    assert draft.text.startswith("".join(HOSTILE)) and "<b>me" in status(draft.strip)["message"]
    for index in range(40):
        head, bars, table, _ = panel(draft, index, config)
        for part in (str(head), str(table)):
            assert not re.search(r"<(img|script|/td>\s*<script)", part)
        assert "<img" not in re.sub(r'"csv": .*', "", bars)


# for programs


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[Client]:
    with blocks() as demo:
        GenerateTab(make_page(services))
    with served(demo) as program:
        yield program


@pytest.mark.filterwarnings("ignore::Warning:gradio")  # of pandas, which gradio asks for what is no more
def test_programs_get_the_same_text_as_it_grows(client: Client, tab: GenerateTab) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/generate"]
    names = [parameter["parameter_name"] for parameter in endpoints["/generate"]["parameters"]]
    assert names[:7] == ["prompt", "model", "temperature", "top_k", "top_p", "seed", "max_new_tokens"]
    assert names[7:] == ["min_p", "repetition_penalty", "stop", "precision", "samples", "beams"]
    assert len(endpoints["/generate"]["returns"]) == 2
    job = client.submit(prompt="the cat", seed=3, max_new_tokens=300, api_name="/generate")
    (text,), sentence = job.result(timeout=20)
    seen = [output[0][0] for output in job.outputs()]
    assert seen[-1] == text and all(text.startswith(part) for part in seen)
    assert "the cat" + text == written(tab, settings=settings(300)).text
    assert "Starter (step 30" in sentence and "300 tokens" in sentence


def test_programs_get_all_that_the_page_has(client: Client, tab: GenerateTab) -> None:
    rules = {"temperature": 1.5, "top_k": 9, "top_p": 0.95, "min_p": 0.01}
    how = {"prompt": "the cat", "max_new_tokens": 40, "repetition_penalty": 1.3, "api_name": "/generate"}
    texts, _ = client.predict(seed=3, samples=3, **how, **rules)
    on_page = sheet_of(tab, settings=settings(40, samples=3, penalty=1.3, **rules))
    assert ["the cat" + text for text in texts] == [draft.text for draft in on_page.drafts]
    assert len(set(texts)) == 3
    stop = texts[1][4:6]
    until, _ = client.predict(seed=4, stop=[stop], **how, **rules)
    assert until == [texts[1][: texts[1].index(stop) + 2]]


@pytest.mark.filterwarnings("ignore::Warning:gradio")
def test_programs_get_the_texts_of_a_beam_search(client: Client, loaded: LoadedModel) -> None:
    job = client.submit(prompt="the cat", beams=5, max_new_tokens=20, api_name="/generate")
    texts, sentence = job.result(timeout=20)
    ids = read_prompt(loaded.tokenizer, "the cat").ids
    *_, expected = beam_search(loaded.model, ids, beams=5, max_new_tokens=20)
    assert texts == [loaded.tokenizer.continuation(beam.ids) for beam in expected.beams]
    assert "Starter (step 30" in sentence and "beam search with 5 beams" in sentence


def test_curl_begins_a_text_in_one_call_and_streams_it_in_another(client: Client, tab: GenerateTab) -> None:
    body = json.dumps({"prompt": "the cat", "seed": 3, "max_new_tokens": 12}).encode()
    base, headers = f"{client.src.rstrip('/')}/gradio_api/call", {"Content-Type": "application/json"}
    begin_ = urllib.request.Request(f"{base}/v2/generate", data=body, headers=headers)
    with urllib.request.urlopen(begin_, timeout=20) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{base}/generate/{event}", timeout=20) as answer:
        stream = answer.read().decode()
    (last,) = re.findall(r"event: complete\ndata: (.*)", stream)
    assert "the cat" + json.loads(last)[0][0] == written(tab).text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 99}, "temperature is 99"), ({"temperature": None}, "temperature is not given"),
    ({"temperature": "hot"}, "temperature is 'hot'"), ({"temperature": [1]}, "temperature is"),
    ({"top_k": 1.5}, "top-k is 1.5"), ({"top_k": -1}, "top-k is -1"), ({"top_k": None}, "top-k is not given"),
    ({"top_k": {}}, "top-k is"),
    ({"top_p": 0}, "top-p is 0"), ({"top_p": 1.1}, "top-p is 1.1"), ({"top_p": None}, "top-p is not given"),
    ({"min_p": -0.1}, "min-p is -0.1"), ({"min_p": True}, "min-p is True"),
    ({"repetition_penalty": 0}, "repetition penalty is 0"), ({"repetition_penalty": 11}, "penalty is 11"),
    ({"seed": -1}, "seed is -1"), ({"seed": 10**30}, "seed is 1000"), ({"seed": 0.5}, "seed is 0.5"),
    ({"max_new_tokens": 0}, "max_new_tokens is 0"), ({"max_new_tokens": 2_001}, "max_new_tokens is 2001"),
    ({"stop": ["x" * 10_000]}, "10,000 characters"), ({"stop": [""]}, "stop strings are"),
    ({"stop": ["a"] * 5}, "5 stop strings"), ({"stop": "abc"}, "stop strings are"),
    ({"stop": [1]}, "stop strings are"), ({"precision": "fp8"}, "precision is"),
    ({"precision": None}, "precision is"), ({"precision": ["fp32"]}, "precision is"),
    ({"samples": 0}, "samples is 0"), ({"samples": 5}, "samples is 5"), ({"samples": "2"}, "samples is '2'"),
    ({"beams": -1}, "beams is -1"), ({"beams": 9}, "beams is 9"), ({"beams": 1.5}, "beams is 1.5"),
    ({"beams": None}, "beams is not given"), ({"beams": [4]}, "beams is"),
    ({"prompt": "x" * 20_001}, "20,001 characters"), ({"prompt": "x" * 1_000_000}, "1,000,000 characters"),
    ({"prompt": "Ü"}, "does not know"), ({"prompt": None}, "not text"), ({"prompt": ["a"]}, "not text"),
    ({"prompt": "\x00"}, "does not know"),
    ({"model": "gpt5"}, "no model called"), ({"model": "run:" + "a" * 16}, "does not exist"),
    ({"model": "starter@7"}, "step 7"), ({"model": None}, "no model called"),
    ({"model": 7}, "no model called"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "sentence"), WRONG, ids=lambda value: ascii(value)[:30])
def test_programs_hear_in_a_sentence_what_cannot_be(client: Client, wrong: Any, sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**{"prompt": "the", "api_name": "/generate"} | wrong)
