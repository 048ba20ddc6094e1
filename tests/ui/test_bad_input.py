"""What no control of the page would send: refused in a sentence, or left to the core, and never a fault."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import anyio
import gradio as gr
import pytest

from gpt2demo.errors import ConfigError
from gpt2demo.ui.components import Number, Slider
from gpt2demo.ui.guard import GuardedBlocks, guarded
from gpt2demo.ui.page import Services, said
from gpt2demo.ui.text import common as words
from gpt2demo.ui.train_form import Form
from gpt2demo.ui.train_form_part import FormPart
from gpt2demo.ui.train_live import Live
from tests.ui.little_runs import blocks, forget_runs, loops_closed, make_page, make_services

NONSENSE = [
    float("nan"),
    float("inf"),
    -1,
    10**400,
    None,
    "",
    "12",
    "\ud800",
    [],
    [1],
    {},
    {"path": "/etc"},
    True,
]


def short(value: object) -> str:
    """A name for a case that fits on a line."""
    return ascii(value)[:20]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    made = make_services(tmp_path_factory.mktemp("bad"))
    yield made
    forget_runs(made)


def sent(demo: gr.Blocks, *values: Any) -> list[Any]:
    """What the handler of the only event gets when a browser or a program sends these values."""
    (event,) = demo.fns.values()
    with ThreadPoolExecutor(1) as elsewhere:  # a browser test before this one leaves a loop in our thread
        return list(elsewhere.submit(anyio.run, demo.preprocess_data, event, list(values), None).result())


@pytest.mark.parametrize("nonsense", NONSENSE, ids=short)
@pytest.mark.parametrize("control", [Slider, Number])
def test_numbers_reach_the_core_as_they_are(control: type[Any], nonsense: object):
    with loops_closed(), GuardedBlocks() as demo:
        field = control(minimum=0.01, maximum=1, value=0.5)
        field.change(lambda value: None, field, None)
        (got,) = sent(demo, nonsense)
    assert got is nonsense or got == nonsense
    assert field.get_config()["name"] == control.__bases__[0].__name__.lower(), "drawn by gradio as its own"


@pytest.mark.parametrize("nonsense", [*NONSENSE, "\ud800 <b>", "x" * 5_000], ids=short)
def test_what_a_control_does_not_offer_is_refused_quietly_and_in_words(
    nonsense: object, caplog: pytest.LogCaptureFixture
):
    with loops_closed(), GuardedBlocks() as demo:
        choice = gr.Radio(["kind", "norm"])
        choice.input(lambda value: None, choice, None)
        if nonsense is None:  # nothing is chosen: that may be
            assert sent(demo, nonsense) == [None]
            return
        with caplog.at_level(logging.WARNING), pytest.raises(gr.Error) as error:
            sent(demo, nonsense)
    assert error.value.message == " ".join(words.NOT_FOR_THIS_CONTROL)
    assert not error.value.print_exception, "nobody's mistake of ours: no traceback"
    assert "Traceback" not in caplog.text and all(len(line) < 300 for line in caplog.text.splitlines())


@pytest.mark.parametrize("files", [["/etc/passwd"], [{"path": "/etc/passwd"}], {"path": 3}, "x", 7, [None]])
def test_no_file_of_the_server_can_be_named(files: object):
    with loops_closed(), GuardedBlocks() as demo:
        upload = gr.File(file_count="multiple")
        upload.change(lambda value: None, upload, None)
        with pytest.raises(gr.Error) as error:
            sent(demo, files)
    assert "passwd" not in error.value.message and "A control was sent" in error.value.message


@pytest.mark.parametrize("data", [None, 5, "index", [], ["index"], {}, {"other": 1}])
def test_an_event_that_says_nothing_is_no_fault(data: object):
    assert said(gr.EventData(None, data), "index") is None
    assert said(gr.EventData(None, {"index": [1]}), "index") == [1]


def test_messages_keep_their_apostrophes_and_lose_their_tags():
    @guarded
    def refuse() -> None:
        raise ConfigError("There is no '<b>size</b>'.", "Needed is a size.", "Choose one.")

    with pytest.raises(gr.Error) as error:
        refuse()
    assert error.value.message == "There is no '&lt;b&gt;size&lt;/b&gt;'. Needed is a size. Choose one."


@pytest.mark.parametrize("run", ["\ud800", "a\udfffb", *NONSENSE], ids=short)
def test_every_answer_about_a_run_can_be_sent(services: Services, run: object):
    answer = Live(services).poll([run, -1])
    assert answer["status"]["state"] == "failed" and answer["status"]["message"]
    json.dumps(answer, ensure_ascii=False).encode("utf-8")  # gradio's stream breaks on half a character


@pytest.fixture(scope="module")
def form(services: Services) -> FormPart:
    with blocks():
        return FormPart(make_page(services))


def filled(**values: Any) -> list[Any]:
    """A form with a short pasted text, in the order of its controls."""
    written = Form(source="paste", pasted="The cat sat. " * 200, size="pico", context=16, dropout=0, batch=2)
    return list((vars(written) | {"rate": 0, "seed": 1} | values).values())


@pytest.mark.parametrize("name", ["vocabulary", "context", "dropout", "minutes", "batch", "rate", "seed"])
@pytest.mark.parametrize("nonsense", [*NONSENSE, 2.5, 1e308], ids=short)
def test_the_form_answers_every_number_in_place(form: FormPart, name: str, nonsense: object):
    tokenizer = "bpe" if name == "vocabulary" else "char"
    report, *_ = form.look(*filled(**{name: nonsense, "tokenizer": tokenizer}))
    assert "gd-notice-error" in report or "gd-stats" in report, "a refusal or a report, never an exception"
    assert "our mistake" not in report.lower()


def test_a_text_that_is_too_short_promises_no_time(form: FormPart):
    report, _, _, _, estimate = form.look(*filled(pasted="abc"))
    assert "needs at least" in report
    assert "too short" in estimate and "times through" not in estimate
    assert form.measure(*filled(pasted="abc")) == estimate


def test_the_estimate_waits_for_the_worker_that_leaves(form: FormPart, monkeypatch: pytest.MonkeyPatch):
    queue = [[SimpleNamespace(id="ending")], [SimpleNamespace(id="ending")], []]
    asked = []

    def shrinking() -> list[Any]:
        asked.append(queue[0])
        return queue.pop(0) if len(queue) > 1 else queue[0]

    monkeypatch.setattr(form.services.store.index, "queue", shrinking)
    monkeypatch.setattr(form, "measure", lambda *values: len(asked))
    assert form.measure_after(gr.EventData(None, {"run": "ending"}), *filled()) == 3
    assert form.measure_after(gr.EventData(None, None), *filled()) == 4, "nobody said which: no waiting"
