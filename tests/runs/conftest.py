"""Small runs, quick stores and workers that train nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.runs.identity import new_owner
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.store import RunStore
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training.config import recipe
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.plan import RunPlan

STUB = Path(__file__).parent / "stub_worker.py"
TEXT = "the cat sat on the mat, and the dog sat on the log.\n" * 40


def until(condition: Callable[[], Any], *, seconds: float = 15.0) -> Any:
    """Waits until a condition holds, and fails after a deadline. → what it was"""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
    return value


def plan(kind: str = "char", text: str = TEXT, title: str = "Cats", **changes: Any) -> RunPlan:
    """The plan of a run of a few thousand parameters. changes: of its training."""
    corpus = Corpus((document_from_text("cats.txt", text),))
    tokenizer = train_tokenizer(kind, corpus.texts, 300)
    model = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_positions=16, n_embd=16, n_layer=2, n_head=2, dropout=0.0
    )
    numbers = {"steps": 30, "batch_size": 4, "threads": 1, "seed": 5} | changes
    return RunPlan(
        title=title,
        preset="nano",
        model=model,
        training=recipe("adamw", model, **numbers),
        corpus=corpus,
        tokenizer=tokenizer,
    )


def stub(**options: float) -> Callable[[Path], list[str]]:
    """The command of a worker that trains nothing: see stub_worker.py."""
    words = [f"{name}={value}" for name, value in options.items()]
    return lambda folder: [sys.executable, str(STUB), str(folder), *words]


def give_weights(folder: RunFolder, step: int, *, seed: int = 0) -> GPT2:
    """Writes weights into a run's folder as a worker would."""
    model = GPT2(folder.config(), seed=seed).eval()
    folder.save_model(model, step)
    return model


class Help:
    """What the tests of this folder use."""

    until = staticmethod(until)
    plan = staticmethod(plan)
    stub = staticmethod(stub)
    give_weights = staticmethod(give_weights)


@pytest.fixture
def help() -> type[Help]:
    return Help


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def owner() -> str:
    return new_owner()


@pytest.fixture
def make_manager(store: RunStore) -> Iterator[Callable[..., RunManager]]:
    """Makes managers that look often, and ends their workers after the test."""
    managers: list[RunManager] = []
    processes: list[Any] = []

    def make(**options: Any) -> RunManager:
        manager = RunManager(store, interval=0.03, **({"command": stub()} | options))
        launch = manager._workers.launch

        def remembering(folder: RunFolder) -> int | None:
            pid = launch(folder)
            processes.append(manager._workers._processes.get(folder.path.name))
            return pid

        manager._workers.launch = remembering  # type: ignore[method-assign]
        managers.append(manager)
        return manager.open()

    yield make
    for manager in managers:
        manager.close()
    for process in processes:
        if process is not None:
            process.returncode = None  # the manager has let go of it
            process.kill()
            process.wait()
