"""Who trains a run: usually one process, which does everything itself and has nobody to ask.

Several processes (`distributed.py`) are a Team as well: the loop and the worker need not know how many.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.training.config import TrainingConfig, hands_for, threads_for_products
from gpt2demo.training.course import Course
from gpt2demo.training.hands import Hands
from gpt2demo.training.optimizers import make_optimizers
from gpt2demo.training.precision import device_for

Record = TypeVar("Record")
SHARDS = "shard-*.safetensors"  # in a checkpoint: a file by each process, as PyTorch names them


class Act(IntEnum):
    """What the first of several processes may ask the others to do together with it."""

    GO_ON = 1  # with the next step
    LEAVE = 2
    COURSE = 3  # is what comes: the legs of it that are known by now
    LOAD = 4  # the shards of a checkpoint
    HAND_OUT = 5  # what the first process has read
    GATHER = 6  # the weights, on the first process
    SAVE = 7  # the shards of a checkpoint
    MEASURE = 8  # the result on the held-out text


class Team:
    """One process. Every method says what it would be for several, and here does next to nothing."""

    rank = 0
    size = 1
    sharded = False  # True: every process keeps only its share of each weight
    leaving = False  # True: another process was asked to leave

    def device(self, precision: str) -> torch.device:
        """Where this process computes."""
        return device_for(precision)

    def hands(self, model: GPT2Config, config: TrainingConfig) -> int:
        """How many threads read a part of the batch each."""
        return hands_for(model, config)

    def threads(self, model: GPT2Config, config: TrainingConfig) -> int:
        """How many threads share out each product of matrices."""
        return threads_for_products(model, config)

    @property
    def processes(self) -> str | int:
        """How many they are, for the fingerprint: another number adds in another order."""
        return self.size

    def wrap(self, model: LanguageModel) -> LanguageModel:
        """Makes the model one that all train together."""
        return model

    def optimizers(self, model: LanguageModel, config: TrainingConfig, hands: Hands) -> tuple[Optimizer, ...]:
        """The optimisers for a model that was wrapped."""
        return make_optimizers(model, config, hands)

    def seed(self, seed: int) -> int:
        """A seed for dropout: no two processes drop the same."""
        return seed

    def batches(self, inputs: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the rows of a step, `size` rows at a time.  (B, T), (B, T)"""
        yield from zip(torch.split(inputs, size), torch.split(targets, size), strict=True)

    def forward(self, model: LanguageModel, inputs: Tensor) -> Tensor:
        """Asks the model so that the gradients will be added up over all processes.  (B, T) → (B, T, V)"""
        logits: Tensor = model(inputs)
        return logits

    def total(self, value: float) -> float:
        """The sum of every process's value."""
        return value

    def length(self, gradients: Sequence[Tensor]) -> Tensor:
        """How long the gradient is, all shards of it together. → ()"""
        return torch.nn.utils.get_total_norm(gradients)

    def tell(self, act: Act, argument: int = 0) -> None:
        """The first process tells the others what all do next."""

    def part_of(self, config: TrainingConfig) -> TrainingConfig:
        """A training like this process's part of one, to try out how fast it is."""
        return config

    def leading(self, records: Iterable[Record], state: Any, course: Course) -> Iterator[Record]:
        """The steps of a training; all processes make each at the same time, on the same course."""
        yield from records

    def whole(self, model: LanguageModel) -> LanguageModel:
        """The model with all its weights, for the first process to save and to write with."""
        return model

    def save_shards(self, folder: Path, state: Any) -> None:
        """Every process writes its shards of weights and optimiser. Only where they are sharded."""
        raise NotImplementedError

    def load_shards(self, folder: Path, state: Any) -> None:
        """Reads a checkpoint that several processes wrote in shards, or reads one into shards."""
        sharding().read(folder, state.model, state.optimizers, together=False)

    def hand_out(self, state: Any) -> None:
        """The first process has read a checkpoint, and gives it to the others."""


def sharding() -> Any:
    """The module `sharding`. Loading its parts of PyTorch takes half a second: only those who shard wait."""
    return import_module("gpt2demo.training.sharding")


def is_sharded(folder: Path) -> bool:
    """Whether several processes wrote a checkpoint in shards."""
    return any(folder.glob(SHARDS))


ALONE = Team()  # which has no state
