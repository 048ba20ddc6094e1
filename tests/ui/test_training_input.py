"""Every bad text and number of a run, through the form and over HTTP: a sentence for each, never a fault."""

from __future__ import annotations

import asyncio
import html
import inspect
import json
import math
import sys
import urllib.request
import warnings
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import gradio as gr
import pytest

from gpt2demo.runs import store as store_module
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.quotas import Quotas
from gpt2demo.training import estimate as trials
from gpt2demo.training.estimate import Pace
from gpt2demo.ui.train_api import TrainAPI
from gpt2demo.ui.train_form import FIELDS, Form
from gpt2demo.ui.train_tab import TrainTab
from tests.ui.little_runs import ME, make_page, make_services

# of pandas, which gradio asks for what is no more
pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio")
STORY = "The cat saw a bird. The bird saw the cat.\n" * 60
GERMAN = "Die Bäume grünen schön, süß wie Äpfel.\n" * 60
MB = 2**20
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
EXE = b"MZ\x90\x00" + bytes(range(256)) * 20

AT_START = ("nearly full", "500 characters")  # what nobody is told of before

# What is uploaded → what is said. A "+" stands before what is said of a text that is taken all the same.
UPLOADS: dict[str, tuple[dict[str, bytes], str]] = {
    "1 empty": ({"a.txt": b""}, "a.txt is empty"),
    "2 white space only": ({"a.txt": b" \n\t\n" * 99}, "holds nothing but white space"),
    "3 one byte": ({"a.txt": b"a"}, "it needs at least 34"),
    "4 shorter than the context": ({"a.txt": b"abcdefghij klm\n" * 2}, "Choose a context of at most 14"),
    "5 more than 12 MB": ({"a.txt": b"a b c d\n" * (13 * MB // 8)}, "At most 12 MB can be used"),
    "6 more than 12 MB together": (
        {"a.txt": b"a b c d\n" * (7 * MB // 8), "b.txt": b"e f\n" * (6 * MB // 4)},
        "all files together",
    ),
    "7 more than 50 files": ({f"{i}.txt": STORY.encode() for i in range(51)}, "At most 50 can be used"),
    "8 a program": ({"a.txt": EXE}, "is not text"),
    "8 a picture": ({"a.txt": PNG}, "is a PNG"),
    "9 UTF-16 with its mark": ({"a.txt": GERMAN.encode("utf-16")}, "+It was read as UTF-16"),
    "10 UTF-8 with its mark": ({"a.txt": GERMAN.encode("utf-8-sig")}, "+byte order mark"),
    "11 Latin-1": ({"a.txt": GERMAN.encode("latin-1")}, "is not UTF-8"),
    "12 some NULs": ({"a.txt": STORY.encode() + b"a\0b"}, "+NUL characters left out: 1"),
    "12 many NULs": ({"a.txt": b"ab\0" * 500}, "is not text"),
    "13 CRLF": ({"a.txt": STORY.replace("\n", "\r\n").encode()}, "+Windows line ends (CRLF)"),
    "13 CR": ({"a.txt": STORY.replace("\n", "\r").encode()}, "+Carriage returns (CR)"),
    "14 a long line without spaces": ({"a.txt": b"abcdefghij" * 50_000}, "+500,000"),
    "15 one letter": ({"a.txt": b"a" * 500_000}, "+1 different characters"),
    "16 HTML": ({"a.txt": b"<script>alert(1)</script>\n" * 60}, "+60"),
    "17 a hostile name": ({"<img onerror=x>.txt": STORY.encode()}, "+2,520"),
    "17 a name of a device": ({"CON.txt": STORY.encode()}, "+2,520"),
    "17 a long name": ({"x" * 240 + ".txt": STORY.encode()}, "+2,520"),
}

PASTED: dict[str, tuple[Any, str]] = {
    "1 nothing": ("", "There is no text yet"),
    "2 white space only": (" \n\t", "There is no text yet"),
    "3 one letter": ("a", "it needs at least"),
    "5 more than 12 MB": ("a b c d\n" * (13 * MB // 8), "At most 12 MB can be used"),
    "8 bytes that are no text": ("\x00\x01\x02" * 500, "is not text"),
    "12 half a character": ("\ud800" * 500, "nothing but white space|is empty"),
    "a list": ([STORY], "There is no text yet"),
    "a number": (5, "There is no text yet"),
    "nothing at all": (None, "There is no text yet"),
}

# What the form says, and the same of a program where it can say it → what is answered. None: it is taken.
NUMBERS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str | None]] = {
    "19 learning rate 0 is the recipe's": ({"rate": 0}, None, None),
    "19 learning rate -1": ({"rate": -1}, None, "learning_rate is -1"),
    "19 learning rate NaN": ({"rate": math.nan}, None, "learning_rate is nan"),
    "19 learning rate 1e9": ({"rate": 1e9}, None, "learning_rate is 1000000000"),
    "19 learning rate 1e400": ({"rate": math.inf}, None, "learning_rate is inf"),
    "19 learning rate abc": ({"rate": "abc"}, None, "learning_rate is 'abc'"),
    "20 no steps": ({"steps": 0}, None, "number of steps is 0"),
    "20 steps -1": ({"steps": -1}, {"steps": -1}, "number of steps is -1"),
    "20 two steps and a half": ({"steps": 2.5}, {"steps": 2.5}, "number of steps is 2.5"),
    "20 a billion steps": ({"steps": 10**9}, {"steps": 10**9}, "from 1 to 1,000,000"),
    "20 steps of 400 digits": ({"steps": 10**400}, {"steps": 10**400}, "hundreds of digits"),
    "20 steps NaN": ({"steps": math.nan}, {"steps": math.nan}, "number of steps is nan"),
    "20 minutes 1e400": (
        {"budget": "minutes", "minutes": math.inf},
        {"steps": 0, "minutes": math.inf},
        "in minutes, is inf",
    ),
    "20 minutes None": (
        {"budget": "minutes", "minutes": None},
        {"steps": 0, "minutes": None},
        "in minutes, is not given",
    ),
    "20 more minutes than a run may have": (
        {"budget": "minutes", "minutes": 700},
        {"steps": 0, "minutes": 700},
        "a run may train for at most 600",
    ),
    "21 more than the memory holds": (
        {"size": "mini", "context": 256, "batch": 128},
        {"size": "gpt2-xl"},
        "largest batch that fits is|Choose a smaller model|too much here|needs about",
    ),
    "22 heads that do not divide": ({"n_head": 5}, {"variants": {"n_head": 5}}, "n_head = 4"),
    "23 a vocabulary of 1": (
        {"tokenizer": "bpe", "vocabulary": 1},
        {"tokenizer": "bpe", "vocabulary": 1},
        "vocabulary size is 1",
    ),
    "23 a vocabulary of a million": (
        {"tokenizer": "word", "vocabulary": 10**6},
        {"tokenizer": "word", "vocabulary": 10**6},
        "vocabulary size is 1000000",
    ),
    "24 dropout 1": ({"dropout": 1.0}, {"variants": {"dropout": 1.0}}, "dropout is 1.0"),
    "24 dropout -0.1": ({"dropout": -0.1}, {"variants": {"dropout": -0.1}}, "dropout is -0.1"),
    "27 seed 2^64": ({"seed": 2**64}, {"seed": 2**64}, "seed is 18446744073709551616"),
    "27 seed -1": ({"seed": -1}, {"seed": -1}, "seed is -1"),
    "27 no seed is the usual one": ({"seed": None}, {"seed": None}, None),
    "29 an empty prompt": ({"prompt": ""}, None, None),
    "30 a prompt of 5,000 letters": ({"prompt": "a" * 5_000}, None, "At most 1,000"),
    "30 a prompt that is none": ({"prompt": ["a"]}, None, "sample prompt"),
    "33 no size": ({"size": None}, {"size": None}, "pico"),
    "33 a size that is not": ({"size": "giga"}, {"size": "giga"}, "pico"),
    "33 no tokenizer": ({"tokenizer": None}, {"tokenizer": None}, "char"),
    "33 an optimizer that is not": ({"optimizer": "sgd"}, {"optimizer": "sgd"}, "adamw"),
    "33 no optimizer": ({"optimizer": None}, {"optimizer": None}, "adamw"),
    "33 no budget": ({"budget": None}, None, "no kind of budget"),
    "33 no source": ({"source": None}, None, "no place to take a text from"),
    "33 variants that are a word": ({"parts": "bias"}, {"variants": "post"}, "Known are|parts of the model"),
    "33 a model in hand that is not": ({"begin": "hand", "hand": "x"}, {"start": "x"}, "no model called"),
    "33 a title of 500 letters": ({"title": "x" * 500}, {"title": "x" * 500}, "500 characters"),
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainTab]:
    """The tab on a server whose workers leave at once; nobody looks after the queue or tries speeds."""
    services = make_services(tmp_path_factory.mktemp("input"))
    services.store.memory_bytes = 1_000_000_000
    services.store.quotas = Quotas(minutes_per_run=600, runs_per_owner=1_000)
    manager = RunManager(services.store, command=lambda run: [sys.executable, "-S", "-c", ""])
    loops: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        loops.append(new_event_loop())
        return loops[-1]

    at_once = mock.patch.object(trials, "try_out", return_value=Pace(step=0.01, look=0.01, measured=True))
    with mock.patch("asyncio.new_event_loop", noted), warnings.catch_warnings(), at_once:
        warnings.simplefilter("ignore")  # gradio's and its libraries' own
        with gr.Blocks() as demo:
            tab = TrainTab(make_page(replace(services, manager=manager)))
        _, address, _ = demo.launch(
            prevent_thread_lock=True, quiet=True, ssr_mode=False, server_name="127.0.0.1"
        )
        tab.address = address
        yield tab
        demo.close()
        manager.close()
    for loop in loops:
        if not loop.is_running():
            loop.close()


def filled(**changes: Any) -> list[Any]:
    """What the page sends, in the order of the controls."""
    form = Form(
        source="paste", pasted=STORY, size="pico", context=16, batch=2, seed=1, budget="steps", steps=5
    )
    return [getattr(replace(form, **changes), name) for name in FIELDS]


def asked(tab: TrainTab, **changes: Any) -> str:
    """What a program is told that asks for a run over HTTP, as text. It must not be told of a fault."""
    usual = {
        name: parameter.default
        for name, parameter in inspect.signature(TrainAPI.start_training).parameters.items()
    }
    usual |= {"text": STORY, "size": "pico", "steps": 5}
    del usual["self"]
    body = json.dumps({"data": list((usual | changes).values())}).encode()
    place = f"{tab.address}gradio_api/call/start_training"
    request = urllib.request.Request(place, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{place}/{event}", timeout=60) as stream:
        return str(stream.read().decode())


def check(tab: TrainTab, said: str | None, changes: dict[str, Any]) -> None:
    """The form says it in place and at Start, and nothing is begun; or there is nothing to be said."""
    report, strip, *_ = tab.form_part.look(*filled(**changes))
    runs = len(tab.page.services.store.index.everything())
    assert "fault" not in report and "Traceback" not in report
    assert "<script" not in report + strip and "<img" not in report + strip
    if said is None or said.startswith("+"):
        assert "gd-stats" in report and (said or "")[1:] in report
        return
    answers = [html.unescape(str(answer)) for answer in tab.form_part.look(*filled(**changes))]
    if not any(words in said for words in AT_START):
        assert any(words in " ".join(answers) for words in said.split("|")), "said while it is filled in"
    with pytest.raises(gr.Error) as refused:
        tab.start(ME, "click", *filled(**changes))
    assert any(words in str(refused.value) for words in said.split("|")), str(refused.value)
    assert "fault" not in str(refused.value)
    assert len(tab.page.services.store.index.everything()) == runs


@pytest.mark.parametrize("case", UPLOADS)
def test_uploads(tab: TrainTab, tmp_path: Path, case: str):
    files, said = UPLOADS[case]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in files]
    check(tab, said, {"source": "upload", "files": paths, "pasted": ""})
    if case.startswith(("14", "15")):  # where word pieces cannot be counted word by word
        check(tab, "+500,000", {"source": "upload", "files": paths, "tokenizer": "bpe", "vocabulary": 512})


@pytest.mark.parametrize("case", PASTED)
def test_pasted_texts(tab: TrainTab, case: str):
    text, said = PASTED[case]
    check(tab, said, {"pasted": text})
    answer = asked(tab, text=text)
    assert "event: error" in answer and any(words in answer for words in said.split("|")), answer
    assert "fault" not in answer


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_and_choices(tab: TrainTab, case: str):
    changes, over_http, said = NUMBERS[case]
    check(tab, said, changes)
    if over_http is None:
        return
    answer = asked(tab, **over_http)
    assert "fault" not in answer
    if said is None:
        assert "event: complete" in answer
    else:
        assert "event: error" in answer and any(words in answer for words in said.split("|")), answer


def test_18_a_full_disk_is_said_and_nothing_is_broken(tab: TrainTab, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as full:
        full.setattr(store_module.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 900_000_000))
        check(tab, "disk of this server is nearly full", {})
        assert "disk of this server is nearly full" in asked(tab)
    assert "event: complete" in asked(tab)


def test_34_two_clicks_and_two_requests_at_once_are_one_run(tab: TrainTab):
    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(lambda _: asked(tab, owner="t" * 22, nonce="once"), range(4)))
        clicks = set(pool.map(lambda _: tab.start("u" * 22, "twice", *filled())[0], range(4)))
    assert len(answers) == 1 == len(clicks) and "event: complete" in answers.pop()
