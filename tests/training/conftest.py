"""Tiny runs, made fast: 2 layers, 2 heads, 32 channels, context 16, one thread, a folder in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.batches import TokenData, encode_corpus
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer
from gpt2demo.training.config import TrainingConfig, recipe
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.loop import TrainingState, TrainStep, new_state
from gpt2demo.training.plan import RunPlan
from tests.in_memory import folder_in_memory

LENGTH = 16
LINES = ("the cat sat on the mat", "the dog ate the fish", "a bird sang to the moon", "we like the sea")
MakeConfig = Callable[..., TrainingConfig]
MakeRun = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small sums are fastest on one thread; and whatever a test sets is undone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    text = "\n".join(LINES[(i * i) % 4] + ", " + LINES[i % 3] + "." for i in range(80))
    return Corpus((document_from_text("tales.txt", text),))


@pytest.fixture(scope="session")
def lines(corpus: Corpus) -> Corpus:
    """The same text, but each line is a paragraph: many short documents for padded batches."""
    return Corpus((document_from_text("lines.txt", corpus.text.replace("\n", "\n\n")),))


@pytest.fixture(scope="session")
def tokenizer(corpus: Corpus) -> Tokenizer:
    return train_tokenizer("char", corpus.texts)


@pytest.fixture(scope="session")
def data(corpus: Corpus, tokenizer: Tokenizer) -> TokenData:
    return encode_corpus(corpus, tokenizer, length=LENGTH)


@pytest.fixture(scope="session")
def shape(tokenizer: Tokenizer) -> GPT2Config:
    return GPT2Config(
        vocab_size=tokenizer.vocab_size, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2, dropout=0.1
    )


@pytest.fixture(scope="session")
def make_config(shape: GPT2Config) -> MakeConfig:
    """(optimizer="adamw", **changes) → a training of 24 steps with batches of 4 windows."""

    def make(optimizer: str = "adamw", **changes: Any) -> TrainingConfig:
        budget = {} if "minutes" in changes else {"steps": 24}
        usual = {"batch_size": 4, "threads": 1, "seed": 7, "precision": "fp32"}
        return recipe(optimizer, shape, **budget | usual | changes)

    return make


@pytest.fixture(scope="session")
def make_state(shape: GPT2Config) -> Callable[[TrainingConfig], TrainingState]:
    return lambda config: new_state(GPT2(shape, seed=config.seed), config)


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: waiting for a disk shows nothing and takes most of the time."""
    with folder_in_memory(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="module")
def fast_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same, shared by the tests of a file."""
    with folder_in_memory(tmp_path_factory.mktemp("all")) as folder:
        yield folder


@pytest.fixture(scope="session")
def make_run_at(shape: GPT2Config, corpus: Corpus, tokenizer: Tokenizer) -> MakeRun:
    """(path, config, **changes) → the folder of a run that nobody has trained yet."""

    def make(path: Path, config: TrainingConfig, **changes: Any) -> RunFolder:
        plan: dict[str, Any] = {"title": "Tales", "preset": "nano", "model": shape, "training": config}
        plan |= {"corpus": corpus, "tokenizer": tokenizer}
        return RunFolder.create(path, RunPlan(**plan | changes))

    return make


@pytest.fixture
def make_run(fast: Path, make_run_at: MakeRun) -> MakeRun:
    """(name, config, **changes) → the same, by a name in the folder of this test."""
    return lambda name, config, **changes: make_run_at(fast / name, config, **changes)


@pytest.fixture(scope="session")
def results() -> Callable[[list[TrainStep]], list[tuple[Any, ...]]]:
    """What must repeat exactly: everything about a step that does not depend on the clock."""

    def results(records: list[TrainStep]) -> list[tuple[Any, ...]]:
        return [
            (r.step, r.tokens, r.train_loss, r.val_loss, r.val_accuracy, r.learning_rate, r.gradient_norm)
            for r in records
        ]

    return results
