"""Word2vec for a server: learnt once for all, watched by many, and a failure is told and not remembered."""

import threading
from pathlib import Path

import numpy as np
import pytest

from gpt2demo.errors import BusyError, NotFoundError
from gpt2demo.inspection import word2vec
from gpt2demo.inspection.word2vec import Word2VecConfig
from gpt2demo.runs import word_vectors
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.runs.word_vectors import WordVectors
from gpt2demo.text.corpus import encode_documents
from tests.ui.little_runs import ME, forget_runs, make_run, make_services

LITTLE = Word2VecConfig(pairs=2_000, batch_size=200, dimensions=4)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory):
    return make_services(tmp_path_factory.mktemp("vectors"))


@pytest.fixture
def starter(services) -> LoadedModel:
    return services.models.get(ModelRef.parse("starter"))


@pytest.fixture
def vectors(services, monkeypatch) -> WordVectors:
    monkeypatch.setattr(word_vectors, "LOOK_SECONDS", 0.005)
    return WordVectors(services.models, LITTLE)


def test_it_is_learnt_once_and_then_known(vectors, starter, monkeypatch):
    assert vectors.known(starter) is None
    *_, last = vectors.learn(starter)
    assert last.vectors.shape == (starter.config.vocab_size, 4) and last.pairs == 2_000
    assert vectors.known(starter) is last
    monkeypatch.setattr(word_vectors, "train_word2vec", None)  # would fail if it were called again
    assert list(vectors.learn(starter)) == [last]


def test_all_who_ask_watch_the_same_job(vectors, starter, monkeypatch):
    begun, go, calls = threading.Event(), threading.Event(), []

    def slow(*values):
        calls.append(values)
        begun.set()
        assert go.wait(20)
        yield from word2vec.train_word2vec(*values)

    monkeypatch.setattr(word_vectors, "train_word2vec", slow)
    one, other = vectors.learn(starter), vectors.learn(starter)
    assert next(one) is None and next(other) is None
    assert begun.wait(20) and vectors.known(starter) is None
    go.set()
    (*_, first), (*_, second) = one, other
    assert first is second and len(calls) == 1


def test_a_failure_is_told_and_tried_again(vectors, starter, monkeypatch):
    def broken(*values):
        raise RuntimeError("no luck")
        yield

    with monkeypatch.context() as patched:
        patched.setattr(word_vectors, "train_word2vec", broken)
        with pytest.raises(RuntimeError, match="no luck"):
            list(vectors.learn(starter))
    *_, last = vectors.learn(starter)
    assert last.vectors is not None


def test_a_model_without_a_text_says_so(vectors, services):
    run = make_run(services, ME)
    loaded = services.models.get(ModelRef.parse(f"run:{run}"))
    Path(services.store.folder(run).path / "corpus.json").unlink()
    with pytest.raises(NotFoundError, match="came without|comes without"):
        next(vectors.learn(loaded))
    forget_runs(services)


def test_only_so_many_are_remembered(vectors, services, monkeypatch):
    monkeypatch.setattr(word_vectors, "KEPT", 1)
    models = [services.models.get(ModelRef.parse(f"run:{make_run(services, ME, t)}")) for t in ("A", "B")]
    for loaded in models:
        list(vectors.learn(loaded))
    assert vectors.known(models[0]) is None and vectors.known(models[1]) is not None
    forget_runs(services)


def test_only_so_many_texts_may_wait(vectors, services, monkeypatch):
    go = threading.Event()

    def slow(*values):
        assert go.wait(20)
        yield from word2vec.train_word2vec(*values)

    monkeypatch.setattr(word_vectors, "train_word2vec", slow)
    monkeypatch.setattr(word_vectors, "MOST_WAITING", 2)
    one, two, three = (
        services.models.get(ModelRef.parse(f"run:{make_run(services, ME, t)}")) for t in ("A", "B", "C")
    )
    first, second = vectors.learn(one), vectors.learn(two)
    assert next(first) is None and next(second) is None
    with pytest.raises(BusyError, match="2 other texts"):
        next(vectors.learn(three))
    assert next(vectors.learn(one)) is None  # who only watches is let in
    go.set()
    *_, _ = first
    *_, _ = second
    *_, last = vectors.learn(three)
    assert last.vectors is not None
    forget_runs(services)


def test_the_vectors_are_those_of_the_function(vectors, starter, services):
    *_, last = vectors.learn(starter)
    ids = encode_documents(services.models.folder(starter.ref).corpus(), starter.tokenizer)
    *_, alone = word2vec.train_word2vec(ids, starter.config.vocab_size, LITTLE)
    assert np.array_equal(last.vectors, alone.vectors)
