"""The Generate tab: what it writes, what it shows of each token, and how it answers what cannot be."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import gradio as gr
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError

from gpt2demo.errors import UserError
from gpt2demo.generation.prompts import Prompt, read_prompt, sampling
from gpt2demo.generation.records import Likeliest, TokenStep
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training.lock import hold
from gpt2demo.ui import generate_draft, generate_tab
from gpt2demo.ui.generate_draft import Draft, Flow, Turn, begin, take, write
from gpt2demo.ui.generate_examples import beginnings
from gpt2demo.ui.generate_panel import clicked_alternative, panel
from gpt2demo.ui.generate_tab import GenerateTab
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import generate as words
from tests.ui.little_runs import ME, blocks, make_page, make_run, make_services, one_thread, said

RULES = (0.8, 0, 1)
SETTINGS = (*RULES, 12, 3, False)  # temperature, top-k, top-p, length, seed, a new seed each time
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


def written(tab: GenerateTab, prompt: str = "the cat", draft: Draft | None = None, **how: Any) -> Draft:
    """What Generate leaves in the session."""
    handler = how.pop("handler", tab.write_new)
    settings = how.pop("settings", SETTINGS)
    updates = list(handler(Turn(), how.pop("ref", "starter"), prompt, draft, *settings, *how.pop("more", ())))
    last: Draft = updates[-1][1]
    return last


def lines(strip: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in strip.splitlines()[1:]]


def tokens(strip: str) -> list[dict[str, Any]]:
    return [line for line in lines(strip) if "t" in line]


def status(strip: str) -> dict[str, str]:
    return [line for line in lines(strip) if "status" in line][-1]


def html(value: Any) -> str:
    return re.sub(r"<[^>]+>", " ", str(value))


# what is there before anybody asked


def test_the_tab_opens_with_a_text_that_this_model_has_just_written(tab: GenerateTab) -> None:
    shown = tab.refresh("starter", "", [], *RULES, 100, 7)
    prompt, offered, given, strip, draft, notice, selected, head, bars, table, other = shown
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
    first = tab.refresh("starter", "", [], *RULES, 30, 7)
    assert tab.refresh("starter", "", [], *RULES, 30, 7)[4] is first[4]
    assert tab.refresh("starter@10", "", [], *RULES, 30, 7)[4] is not first[4]


def test_an_own_prompt_stays_when_the_model_changes(tab: GenerateTab) -> None:
    shown = tab.refresh("starter@10", "the dog", ["the cat"], *RULES, 9, 7)
    assert shown[0] == "the dog" and shown[4].prompt.text == "the dog"
    assert "as it was at step 10" in status(shown[3])["message"]
    unknown = tab.refresh("starter", "Ünknown", [], *RULES, 9, 7)
    assert unknown[0] == "Ünknown" and "Ü" in html(unknown[5]) and unknown[4].prompt.text != "Ünknown"
    example = tab.refresh("starter", "of another model", ["of another model"], *RULES, 9, 7)
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
    monkeypatch.setattr(generate_draft, "YIELD_SECONDS", 0)
    updates = list(tab.write_new(Turn(), "starter", "the cat", None, *SETTINGS))
    strips = [update[0] for update in updates]
    assert len(strips) >= 12
    assert all(new.startswith(old) for old, new in zip(strips, strips[1:], strict=False))
    assert status(strips[1])["status"] == "running" and status(strips[-1])["status"] == "done"
    assert [b["interactive"] for b in updates[0][4:9]] == [False, False, True, False, False]
    assert [b["interactive"] for b in updates[-1][4:9]] == [True, True, False, True, True]
    draft = updates[-1][1]
    assert len(draft.steps) == 12 and draft.text == "the cat" + "".join(
        t["raw"] for t in tokens(strips[-1]) if "prompt" not in t
    )
    token = tokens(strips[-1])[-1]
    assert token["p"] == pytest.approx(math.exp(draft.steps[-1].logprob)) and token["r"] >= 1
    assert 0 <= token["s"] <= 1 and len(token["a"]) == 8


def test_words_are_written_with_spaces_between_them(loaded: LoadedModel) -> None:
    tokenizer = train_tokenizer("word", ["the cat sat on the mat, and the dog sat."], 40, min_frequency=1)
    draft = begin(loaded, "starter", Prompt(text="The cat", ids=(4, 7), from_start=False), 0, "")
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
            likeliest=Likeliest([id_], [0.0], [0.0], [0.0], [0], [0.0]),
        )
        for i, id_ in enumerate(tokenizer.encode("sat, and sat"))
    )
    assert replace(draft, tokenizer=tokenizer, steps=steps).text == "The cat sat, and sat"


def test_the_same_seed_gives_the_same_text_and_a_surprise_another(tab: GenerateTab) -> None:
    assert written(tab).text == written(tab).text
    surprised = [written(tab, settings=(*RULES, 12, 3, True)) for _ in range(3)]
    assert len({draft.seed for draft in surprised}) > 1
    again = written(tab, settings=(*RULES, 12, surprised[0].seed, False))
    assert again.text == surprised[0].text and f"seed {again.seed}" in status(again.strip)["message"]


def test_step_by_step_is_the_same_text_as_at_once_also_past_the_context(tab: GenerateTab) -> None:
    whole = written(tab, settings=(*RULES, 16, 3, False))
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
    over = tab.start_over("starter", "the cat", draft, *SETTINGS)
    assert over[1].steps == () and words.NOTHING_YET[:20] in html(over[10])


def test_stopping_keeps_what_is_there(tab: GenerateTab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_draft, "YIELD_SECONDS", 0)
    turn = Turn()
    stream = tab.write_new(turn, "starter", "the cat", None, *RULES, 300, 3, False)
    for _ in range(8):
        update = next(stream)
    tab.stop_writing(turn)
    *_, last = stream
    assert last[0].startswith(update[0]) and status(last[0])["status"] == "stopped"
    assert 5 <= len(last[1].steps) <= 8 and last[6]["interactive"] is False
    assert words.STOPPED in status(last[0])["message"]
    turn.wanted = "write"
    stream = tab.write_new(turn, "starter", "the cat", None, *RULES, 300, 3, False)
    next(stream)
    tab.leave(turn)  # another model was taken in hand
    assert list(stream) == []


def test_the_lock_is_free_while_the_reader_takes_his_time(tab: GenerateTab, loaded: LoadedModel) -> None:
    taken: list[bool] = []

    def try_it() -> None:
        taken.append(loaded.lock.acquire(timeout=5))
        loaded.lock.release()

    stream = tab.write_new(Turn(), "starter", "the cat", None, *SETTINGS)
    for _ in stream:
        other = threading.Thread(target=try_it)
        other.start()
        other.join()
    assert taken and all(taken)


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
        ("the", (9, 0, 1, 12, 3, False), "temperature is 9"),
        ("the", (math.nan, 0, 1, 12, 3, False), "temperature is nan"),
        ("the", (0.8, -1, 1, 12, 3, False), "top-k is -1"),
        ("the", (0.8, 0, 0, 12, 3, False), "top-p is 0"),
        ("the", (0.8, 0, 1, 9_999, 3, False), "max_new_tokens is 9999"),
        ("the", (0.8, 0, 1, "long", 3, False), "max_new_tokens is 'long'"),
        ("the", (0.8, 0, 1, 12, None, False), "seed is not given"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    tab: GenerateTab, prompt: Any, settings: tuple[Any, ...], sentence: str
) -> None:
    with pytest.raises(gr.Error, match=re.escape(sentence)):
        written(tab, prompt, settings=settings)


def test_a_branch_needs_a_token_and_its_scores(tab: GenerateTab) -> None:
    draft = written(tab)
    for more in ((None, 1), (3, None), (-1, 1), ("x", 1), (99, 1), (3, 10_000)):
        with pytest.raises(gr.Error):
            written(tab, draft=draft, handler=tab.write_branch, more=more)


# the road of one token


def test_a_click_shows_the_road_and_sliders_redraw_it_without_the_model(
    tab: GenerateTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = written(tab)

    def never(*_: Any) -> None:
        raise AssertionError("the model was run")

    monkeypatch.setattr(GPT2, "forward", never)
    selected, head, bars, table, other = tab.look_at(draft, None, *RULES, said(index=draft.lead + 4))
    assert selected == 4 and "Token 5 of" in html(head)
    _, greedy_bars, greedy, _ = tab.redraw(draft, 4, 0, 0, 1)
    assert greedy_bars != bars and "cut by temperature 0" in greedy
    head, _, cut, _ = tab.redraw(draft, 4, 0.8, 3, 0.9)
    assert "top-k 3" in html(head) and "cut by top-k" in cut and "of 16 tokens stay" in html(head)
    rows = [row.split(",") for row in json.loads(bars)["csv"].splitlines()[1:]]
    scores = torch.from_numpy(draft.logits[4]).double()
    for place, row in enumerate(rows[:12]):
        id_ = scores.argsort(descending=True, stable=True)[place]
        assert int(row[1]) == id_
        assert float(row[-2]) == pytest.approx((scores / 0.8).softmax(0)[id_].item())


def test_a_click_on_the_prompt_or_on_nothing_has_an_answer(tab: GenerateTab) -> None:
    draft = written(tab)
    assert words.PROMPT_TOKEN in html(tab.look_at(draft, None, *RULES, said(index=0))[1])
    for place in (None, "1", 999, -1):
        with pytest.raises(gr.Error):
            tab.look_at(draft, None, *RULES, said(index=place))
    with pytest.raises(gr.Error, match="put away"):
        tab.look_at(None, None, *RULES, said(index=0))
    assert tab.redraw(None, None, *RULES)[1] == ""


def test_another_token_can_be_taken_and_the_text_goes_on_from_there(tab: GenerateTab) -> None:
    draft = written(tab)
    other = panel(draft, 5, sampling(*RULES, 0, 1))[3].choices[-1][1]
    branch = written(tab, draft=draft, handler=tab.write_branch, more=(5, other))
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
    assert tab.choose_bar(draft, 5, *RULES, said(y=found.index(choices[3]) + 0.0)) == choices[3]
    assert tab.choose_bar(draft, 5, *RULES, said(y=found.index(None))) == gr.skip()
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
    hostile = replace(loaded, model=GPT2(shape, seed=1).eval(), tokenizer=tokenizer, config=shape)
    draft = begin(hostile, "starter", read_prompt(tokenizer, "".join(HOSTILE)), 1, "By <b>me</b>.")
    config = sampling(2.0, 0, 1, 1, 40)
    *_, draft = write(draft, hostile, config)
    assert draft.text.startswith("".join(HOSTILE)) and "<b>me" in status(draft.strip)["message"]
    for index in range(40):
        head, bars, table, _ = panel(draft, index, config)
        for part in (str(head), str(table)):
            assert not re.search(r"<(img|script|/td>\s*<script)", part)
        assert "<img" not in re.sub(r'"csv": .*', "", bars)


# for programs


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[Client]:
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    with blocks() as demo:
        GenerateTab(make_page(services))
    with mock.patch("asyncio.new_event_loop", noted), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradio's and its libraries' own
        _, address, _ = demo.launch(
            prevent_thread_lock=True, quiet=True, ssr_mode=False, server_name="127.0.0.1"
        )
        try:
            yield Client(address, verbose=False)
        finally:
            demo.close()
    for loop in made:  # those that gradio opens and forgets
        if not loop.is_running():
            loop.close()


@pytest.mark.filterwarnings("ignore::Warning:gradio")  # of pandas, which gradio asks for what is no more
def test_programs_get_the_same_text_as_it_grows(client: Client, tab: GenerateTab) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/generate"]
    names = [parameter["parameter_name"] for parameter in endpoints["/generate"]["parameters"]]
    assert names == ["prompt", "model", "temperature", "top_k", "top_p", "seed", "max_new_tokens"]
    assert len(endpoints["/generate"]["returns"]) == 2
    job = client.submit(prompt="the cat", seed=3, max_new_tokens=300, api_name="/generate")
    text, sentence = job.result(timeout=20)
    seen = [output[0] for output in job.outputs()]
    assert seen[-1] == text and all(text.startswith(part) for part in seen)
    assert "the cat" + text == written(tab, settings=(*RULES, 300, 3, False)).text
    assert "Starter (step 30" in sentence and "300 tokens" in sentence
    for wrong, said_ in [
        ({"temperature": 99}, "temperature is 99"), ({"top_k": 1.5}, "top-k is 1.5"),
        ({"top_p": 0}, "top-p is 0"),
        ({"seed": -1}, "seed is -1"), ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"prompt": "x" * 20_001}, "20,001 characters"), ({"prompt": "Ü"}, "does not know"),
        ({"model": "gpt5"}, "no model called"), ({"model": "run:" + "a" * 16}, "does not exist"),
        ({"model": "starter@7"}, "step 7"),
    ]:  # fmt: skip
        with pytest.raises(AppError, match=said_):
            client.predict(**{"prompt": "the", "api_name": "/generate"} | wrong)
