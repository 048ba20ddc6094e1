"""The part that reads a text: an example from the start, numbers beside others, and bad input in sentences"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from gpt2demo.figures.text import percent
from gpt2demo.runs import reading
from gpt2demo.runs.models import ModelRef
from gpt2demo.text.copies import LEAST
from gpt2demo.ui import generate_tab, reading_part
from gpt2demo.ui.page import Services
from gpt2demo.ui.reading_part import ReadingPart
from gpt2demo.ui.reading_view import copies
from gpt2demo.ui.text import reading as words
from tests.ui.little_runs import (
    blocks,
    bring_run,
    forget_runs,
    make_page,
    make_services,
    one_thread,
    served,
)

COPIED = "the cat sat on the mat, and the dog sat on the log."
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("reading"))


@pytest.fixture
def part(services: Services) -> ReadingPart:
    with blocks():
        return ReadingPart(make_page(services))


def tokens(strip: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, strip.splitlines()[1:]) if "t" in line]


def plain(value: object) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", str(value)).split())


def test_it_opens_with_a_held_out_piece_that_was_read_once_for_all(part: ReadingPart) -> None:
    with mock.patch.object(reading_part, "read", wraps=reading_part.read) as reads:
        text, strip, said, numbers, seen = part.show("starter", "", LEAST, {})
        assert part.show("starter", "", LEAST, {})[1] is not strip and reads.call_count == 1
    assert text == seen["given"] and "".join(t["raw"] for t in tokens(strip)) == text
    known = part.known(part.models.get(ModelRef.parse("starter")))
    assert known is not None and text == known.held_out[0]
    assert words.KEY in plain(said) and "held-out text" in plain(numbers)


def test_reading_a_text_marks_what_was_copied_and_says_how_much(part: ReadingPart) -> None:
    text = f"mat mat mat dog {COPIED} goh ton lom"
    shown, strip, said, numbers, _ = part.read_own("starter", text, LEAST, {})
    drawn = tokens(strip)
    assert shown == text and "".join(t["raw"] for t in drawn) == text
    marked = "".join(t["raw"] for t in drawn if t.get("m") == words.COPIED_TOKEN)
    assert COPIED in marked and marked in text and len(marked) < len(COPIED) + 4
    assert f"The longest has {len(marked)} characters: {marked.strip()}" in plain(said)
    assert f"copied {100 * len(marked) / len(text):.1f} %" in plain(numbers)
    bits = -sum(math.log2(t["p"]) for t in drawn) / len(text)
    assert f"bits per character {bits:.2f}" in plain(numbers) and f"this text {bits:.2f}" in plain(numbers)
    right = sum(t["r"] == 1 for t in drawn) / len(drawn)
    assert f"guesses the next token right {percent(right)}" in plain(numbers)
    assert all(len(t["a"]) == 5 and 0 <= t["s"] <= 1 for t in drawn) and len(drawn) == len(text)
    status = json.loads(strip.splitlines()[-1])["message"]
    assert f"{len(text)} tokens, the first as if it came after ↵" in status and "Starter, step 30" in status


def test_nothing_copied_is_said(part: ReadingPart) -> None:
    _, strip, said, numbers, _ = part.read_own("starter", "log mat dog cat", LEAST, {})
    assert plain(said) == words.nothing_copied(LEAST) and not any("m" in t for t in tokens(strip))
    assert "copied 0 %" in plain(numbers)


def test_the_shortest_copy_can_be_chosen_and_the_same_text_is_looked_through_again(part: ReadingPart) -> None:
    text = f"mat mat mat dog {COPIED} goh ton lom"
    _, _, said, numbers, seen = part.read_own("starter", text, 100, {})
    assert plain(said) == words.nothing_copied(100) and words.copied_unit(100) in plain(numbers)
    again, strip, said, _, _ = part.read_again("starter", text, 8, seen)
    assert again == text and any("m" in t for t in tokens(strip)) and "8 characters or more" in plain(said)
    for typed in (None, 1, 7, 1_001, 8.5, "many"):
        assert part.read_again("starter", text, typed, seen) == (gr.skip(),) * 5
        for ask in (part.read_own, part.read_training):
            with pytest.raises(gr.Error, match="The length of a passage is"):
                ask("starter", text, typed, seen)


def test_pieces_come_one_after_the_other_and_are_all_copied(part: ReadingPart) -> None:
    text, strip, _, numbers, seen = part.read_training("starter", "", LEAST, {})
    again = part.read_training("starter", text, LEAST, seen)
    count = len(part.known(part.models.get(ModelRef.parse("starter"))).training)  # type: ignore[union-attr]
    assert again[4]["training"] == 2 and (again[0] != text) == (count > 1)
    assert all("m" in t for t in tokens(strip)) and "copied 100.0 %" in plain(numbers)
    assert part.read_held_out("starter", text, LEAST, seen)[4]["held_out"] == 1


def test_the_numbers_beside_it_are_taken_once_for_everybody(part: ReadingPart) -> None:
    with mock.patch.object(reading_part, "compare", wraps=reading_part.compare) as compares:
        visitors = [
            threading.Thread(target=part.read_own, args=("starter", f"the cat {i}"[:7], LEAST, {}))
            for i in range(8)
        ]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        assert compares.call_count == 2, "training and held-out text"
        part.read_own("starter@10", "the cat", LEAST, {})
        assert compares.call_count == 4, "another step"


def test_the_lock_is_free_between_two_forward_passes(part: ReadingPart) -> None:
    loaded = part.models.get(ModelRef.parse("starter"))
    lock, held = loaded.lock, []

    class Watched:
        def __enter__(self) -> None:
            lock.acquire()
            held.append(0)

        def __exit__(self, *_: object) -> None:
            lock.release()

    passes = []
    hook = loaded.model.register_forward_hook(lambda *_: passes.append(len(held)))
    known = reading.learnt(part.models.folder(loaded.ref))
    reading.compare(loaded.model, loaded.tokenizer, known, held_out=False, guard=Watched())
    reading.read(loaded.model, loaded.tokenizer, COPIED * 3, known, guard=Watched())
    hook.remove()
    assert len(passes) > 10 and passes == list(range(1, len(held) + 1)), "one pass each time it is held"


def test_an_own_text_stays_when_the_model_changes(part: ReadingPart, services: Services) -> None:
    text, *_, seen = part.show("starter", "", LEAST, {})
    assert part.show("starter@10", text, LEAST, seen)[0] == text, "the example of the other model"
    own = part.show("starter@10", "the dog", LEAST, seen)
    assert own[0] == "the dog" and "step 10" in own[1]
    unknown = part.show("starter", "Ünknown", LEAST, seen)
    assert unknown[0] == gr.skip() and unknown[1] == "" and "does not know" in plain(unknown[2])


def test_a_model_without_its_text_says_so_and_reads_all_the_same(
    part: ReadingPart, services: Services, tmp_path
) -> None:
    ref = f"run:{bring_run(services, tmp_path / 'bare')}"
    text, strip, said, numbers, _ = part.show(ref, "", LEAST, {})
    assert plain(said) == words.NO_TEXT and strip == "" == text == numbers, (
        "the example has letters that it does not know"
    )
    _, strip, said, numbers, _ = part.read_own(ref, COPIED, LEAST, {})
    assert plain(said) == words.NO_TEXT and "training text" not in plain(numbers) and tokens(strip)
    assert not any("m" in t for t in tokens(strip)) and "copied –" in plain(numbers)
    for piece in (part.read_training, part.read_held_out):
        with pytest.raises(gr.Error, match="no such text"):
            piece(ref, "", LEAST, {})
    assert part.read_text(COPIED, ref)["compared"] == {"training": None, "held_out": None}
    forget_runs(services)


def test_what_stands_in_a_text_is_never_html() -> None:
    found = mock.Mock(least=LEAST, passages=reading.Copies(HOSTILE).passages(HOSTILE), longest=HOSTILE)
    assert "<img" not in str(copies(found)) and "&lt;img" in str(copies(found))


def test_the_tab_shows_both_parts_and_waits_only_for_the_first(services: Services) -> None:
    with blocks():
        tab = generate_tab.build(make_page(services))
    settings = (0.8, 0, 1, 0, 1, 5, 7, "", "fp32", 1, 0)
    shown = tab.refresh("starter", "", [], None, frozenset(), *settings, "starter")
    assert len(shown) == len(tab.outputs) and len(tab.inputs) == 17 and shown[-1] == "starter 30"


# for programs


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[Client]:
    with blocks() as demo:
        ReadingPart(make_page(services))
    with served(demo) as program:
        yield program


@pytest.mark.filterwarnings("ignore::Warning:gradio")
def test_programs_get_the_same_numbers(client: Client, part: ReadingPart) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/read_text"]
    names = [parameter["parameter_name"] for parameter in endpoints["/read_text"]["parameters"]]
    assert names == ["text", "model", "least"]
    said = client.predict(text=COPIED, api_name="/read_text")
    assert said == json.loads(json.dumps(part.read_text(COPIED)))
    assert said["model"] == "starter@30" and said["copied"] == 1 and said["longest_copy"] == COPIED
    rare = client.predict(text=COPIED, least=1_000, api_name="/read_text")
    assert rare["copied"] == 0 and rare["compared"]["held_out"]["copied"] == 0
    assert said["compared"]["training"]["copied"] == 1 and len(said["by_token"]) == len(COPIED)


@pytest.mark.filterwarnings("ignore::Warning:gradio")
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"text": ""}, "no text to read"),
        ({"text": "Ü"}, "does not know"),
        ({"text": "the cat " * 2**17}, "1,048,576 characters"),
        ({"text": "x" * (50 * 2**20)}, "52,428,800 characters"),
        ({"text": "the " * 1_100}, "At most 4,096"),
        ({"text": None}, "not given|no text"),
        ({"text": ["the cat"]}, "not text|does not know"),
        ({"text": {"a": 1}}, "not text|does not know"),
        ({"model": "gpt5"}, "no model called"),
        ({"model": "run:" + "a" * 16}, "does not exist"),
        ({"model": "starter@7"}, "step 7"),
        ({"least": 3}, "length of a passage is 3"),
        ({"least": None}, "length of a passage is not given"),
        ({"least": "many"}, "length of a passage|does not offer"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_is_answered_in_sentences(client: Client, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AppError, match=sentence) as error:
        client.predict(**{"text": "the cat", "api_name": "/read_text"} | wrong)
    assert len(str(error.value)) < 500 and "fault in the program" not in str(error.value)


@pytest.mark.filterwarnings("ignore::Warning:gradio")
@pytest.mark.parametrize("text", [r"\udce4", r"the cat \ud83d", r"\u0000"])
def test_half_a_character_is_refused_too(client: Client, text: str) -> None:
    """Written as only a program can write it: no browser sends such a thing."""
    call = f"{client.src.rstrip('/')}/gradio_api/call/read_text"
    body = f'{{"data": ["{text}", "starter", 20]}}'
    event = httpx.post(call, content=body, headers={"content-type": "application/json"}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}", timeout=20).text
    assert "event: error" in answer and re.search("half a character|does not know", answer), answer
