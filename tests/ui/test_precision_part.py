"""What fewer bits cost, on the page and for programs: measured on request, once for everybody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from unittest import mock

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from gpt2demo.ui import precision_part
from gpt2demo.ui.generate_layout import Controls
from gpt2demo.ui.page import Services
from gpt2demo.ui.precision_part import PrecisionPart
from gpt2demo.ui.reading_part import ReadingPart
from gpt2demo.ui.text import precision as words
from tests.ui.little_runs import blocks, bring_run, forget_runs, make_page, make_services, one_thread, served


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("precision"))


def make_part(services: Services) -> PrecisionPart:
    page = make_page(services)
    return PrecisionPart(page, Controls(), ReadingPart(page))


@pytest.fixture
def part(services: Services) -> PrecisionPart:
    with blocks():
        return make_part(services)


def test_it_says_what_was_measured_and_measures_once_for_everybody(part: PrecisionPart) -> None:
    with mock.patch.object(precision_part, "precision_cost", wraps=precision_part.precision_cost) as measured:
        said = [part.measure("starter", "int8", text) for text in ("", "pasted")]
        assert measured.call_count == 1 and said[0] == said[1], "held-out text goes before what is pasted"
        found = part.precision_cost("starter", "int8")
        assert measured.call_count == 1
        part.measure("starter@10", "int8", "")
        part.measure("starter", "bf16", "")
        assert measured.call_count == 3
    for number in (f"{found['loss']:.4f}", f"{found['loss_then']:.4f}", f"{found['tokens']:,} tokens"):
        assert number in said[0]
    assert "its held-out text" in said[0] and f"{100 * found['same_guess']:.1f} %" in said[0]
    assert words.NOTHING_LOST in part.measure("starter", "fp32", "")


def test_a_model_without_its_text_is_measured_on_the_pasted_one(
    part: PrecisionPart, services: Services, tmp_path
) -> None:
    ref = f"run:{bring_run(services, tmp_path / 'bare')}"
    with pytest.raises(gr.Error, match="Paste one below"):
        part.measure(ref, "int8", "")
    assert "7 tokens of the text pasted below" in part.measure(ref, "int8", "the cat")
    with pytest.raises(gr.Error, match="no held-out text"):
        part.precision_cost(ref, "int8")
    forget_runs(services)


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[Client]:
    with blocks() as demo:
        make_part(services)
    with served(demo) as program:
        yield program


@pytest.mark.filterwarnings("ignore::Warning:gradio")
def test_programs_get_the_same_figure_and_hear_what_cannot_be(client: Client, part: PrecisionPart) -> None:
    said = client.predict(precision="bf16", api_name="/precision_cost")
    assert said == json.loads(json.dumps(part.precision_cost("starter", "bf16")))
    for wrong, sentence in (
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"precision": None}, "precision is None"),
        ({"text": "x" * 20_001}, "20,001 characters"),
        ({"text": "the " * 1_100}, "At most 4,096"),
        ({"text": "Ü"}, "does not know"),
        ({"text": None}, "not given"),
        ({"model": "gpt5"}, "no model called"),
    ):
        with pytest.raises(AppError, match=re.escape(sentence)):
            client.predict(**{"api_name": "/precision_cost"} | wrong)
