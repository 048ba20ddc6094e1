"""The word2vec panel: it learns when asked, follows the chosen token, and says what it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gradio as gr
import numpy as np
import pytest

from gpt2demo.inspection.embeddings import neighbours
from gpt2demo.inspection.word2vec import Word2VecConfig, Word2VecStep
from gpt2demo.runs import word_vectors
from gpt2demo.runs.models import ModelRef
from gpt2demo.runs.word_vectors import WordVectors
from gpt2demo.ui.embeddings_tab import EmbeddingsTab
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import word2vec as words
from gpt2demo.ui.theme import hint
from gpt2demo.ui.word2vec_part import Word2VecPart
from tests.ui.little_runs import ME, blocks, forget_runs, make_page, make_run, make_services, one_thread


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("word2vec"))


@pytest.fixture
def part(services: Services, monkeypatch: pytest.MonkeyPatch) -> Word2VecPart:
    monkeypatch.setattr(word_vectors, "LOOK_SECONDS", 0.005)
    with blocks():
        part = EmbeddingsTab(make_page(services)).word2vec
    part.vectors = WordVectors(services.models, Word2VecConfig(pairs=4_000, batch_size=400, dimensions=4))
    return part


def test_it_invites_then_learns_then_follows(part: Word2VecPart, services: Services):
    assert part.follow("starter", {"token": 3}) == (part.note.value, "", "")
    *going, last = part.train("starter", {"token": 3})
    assert all(said == hint(words.WAITING) or "million pairs" in said for said, *_ in going)
    said, drawn, card = last
    assert "0.0 million pairs" in said and "4 numbers" in said
    assert len(json.loads(drawn)["figure"]["data"]) >= 1
    vectors = part.vectors.known(services.models.get(part_ref())).vectors
    _, cosine = neighbours(vectors, 3, 1)[0]
    assert f"{cosine:.2f}" in card
    again = part.follow("starter", {"token": 4})
    assert again[0] == said and again[2] != card and part.follow("starter", {"token": 3})[2] == card


def part_ref() -> ModelRef:
    return ModelRef.parse("starter")


def test_a_token_that_is_not_in_the_text(part: Word2VecPart, services: Services):
    list(part.train("starter", {"token": 0}))
    loaded = services.models.get(part_ref())
    step = part.vectors.known(loaded)
    step.vectors[2] = 0.0
    assert words.NOT_IN_TEXT in part.follow("starter", {"token": 2})[2]


def test_what_is_said_while_it_goes_on(part: Word2VecPart):
    step = Word2VecStep(pairs=1_000_000, loss=2.5, vectors=None)
    part.vectors.config = Word2VecConfig(pairs=2_000_000)
    assert part._going(None) == words.WAITING
    assert part._going(step) == "1.0 of 2.0 million pairs of neighbours, loss 2.50 …"


def test_a_model_without_a_text_says_so(part: Word2VecPart, services: Services):
    run = make_run(services, ME)
    (services.store.folder(run).path / "corpus.json").unlink()
    with pytest.raises(gr.Error, match="comes without"):
        list(part.train(f"run:{run}", {"token": 0}))
    forget_runs(services)


def test_whatever_a_program_sends_as_the_token(part: Word2VecPart):
    list(part.train("starter", {}))
    assert np.size(part.follow("starter", None)) == 3
