"""One run trained by several processes, on one machine or on many: torchrun … train RUN.

Each process reads its share of every batch and finds its gradient; the gradients are added up, and all make
the same update. The first process (rank 0) is the only one that keeps the diary, writes the files and decides
anything; the others follow it, step by step.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from gpt2demo.errors import ConfigError, LimitError
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import mixed_seed
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.course import Course, Leg
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.hands import Hands
from gpt2demo.training.loop import TrainingState
from gpt2demo.training.messages import PATIENCE, all_same, spread, spread_text, sums, telling_of_loss
from gpt2demo.training.optimizers import load_optimizer_tensors, make_optimizers, optimizer_tensors
from gpt2demo.training.precision import device_for
from gpt2demo.training.team import ALONE, Act, Record, Team, is_sharded, sharding

SAME = ("run.json", "config.json", "corpus.json", "tokenizer.json", "start.safetensors")


@contextmanager
def processes(*, shard: bool = False) -> Iterator[Team]:
    """Those who train together, as torchrun says in the environment; without torchrun, one process alone.

    shard: spread the weights over the processes (FSDP2) where each would else have them all (DDP). Raises
    ConfigError for one process that shall shard, LostError when another process does not answer any more.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        if shard:
            raise ConfigError(
                "--shard was asked of one process.",
                "It spreads a model over several.",
                "Start it with torchrun --nproc-per-node 2 or more, or leave --shard out.",
            )
        yield ALONE
        return
    here, number = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    gpu = torch.cuda.is_available() and torch.cuda.device_count() >= here
    if gpu:
        torch.cuda.set_device(number)
    with telling_of_loss():
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
        device = torch.device("cuda", number) if gpu else torch.device("cpu")
        yield Processes(dist.get_rank(), size, here, device, shard)
        dist.destroy_process_group()  # not after an error: it would wait for those who are gone


def leave() -> NoReturn:
    """Ends a process that is done, without taking Python apart first.

    A thread of gloo may still be putting away the last message and need Python for it, or abort everything.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Processes(Team):
    """Several processes that train one model. Each has one of these, and they differ in their rank."""

    def __init__(self, rank: int, size: int, here: int, device: torch.device, sharded: bool) -> None:
        """rank: 0 … size - 1; here: how many of them are on this machine."""
        self.rank, self.size, self.here = rank, size, here
        self.sharded = sharded
        self._device = device
        self._together: DistributedDataParallel | None = None

    # What each process is and has

    def device(self, precision: str) -> torch.device:
        """A GPU for each process where the machine has so many, else the processor."""
        return self._device if self._device.type == "cuda" else device_for(precision)

    def hands(self, model: GPT2Config, config: TrainingConfig) -> int:
        """One: the processes are the hands."""
        return 1

    def threads(self, model: GPT2Config, config: TrainingConfig) -> int:
        """The run's threads are shared by those on this machine."""
        return max(1, config.threads // self.here)

    @property
    def processes(self) -> str | int:
        """How many they are, and whether each has all weights."""
        return f"{self.size} (sharded)" if self.sharded else self.size

    def seed(self, seed: int) -> int:
        """A pure function of the step's seed and the rank."""
        return mixed_seed(seed, self.rank)

    def check(self, folder: RunFolder) -> None:
        """Refuses what these processes cannot train, before anything begins; all of them say the same.

        Raises LimitError when they cannot share the rows of a step, ConfigError for what cannot be sharded or
        when they do not all see the same run.
        """
        config = folder.facts().training
        if config.rows % self.size:
            nearest = min((n for n in range(1, config.rows + 1) if config.rows % n == 0), key=self._distance)
            raise LimitError(
                f"This run reads {config.rows} windows in a step, and there are {self.size} processes.",
                "Every process must get equally many.",
                f"The nearest number of processes that works is {nearest}.",
            )
        if self.sharded:
            _check_shardable(folder, config)
        files = [folder.path / name for name in SAME]
        if not all_same([path.read_bytes() if path.is_file() else b"" for path in files]):
            raise ConfigError(
                f"The processes see different runs under the name {folder.path.name}.",
                f"On every machine it must have the same {', '.join(SAME[:4])}.",
                "Copy the folder there, or use one that all machines share.",
            )

    def _distance(self, number: int) -> tuple[int, int]:
        return abs(number - self.size), number

    # What a step of training needs

    def wrap(self, model: LanguageModel) -> LanguageModel:
        """Spreads the weights over the processes, or makes sure that every process has the same."""
        with telling_of_loss():
            if self.sharded:
                shards: LanguageModel = sharding().shard(model, self._device.type, self.size)
                return shards
            self._together = DistributedDataParallel(
                model,
                device_ids=[self._device] if model.device.type == "cuda" else None,
                gradient_as_bucket_view=True,  # no second copy
            )
            # DDP orders its sums anew after the first backward pass it sees. Let that be none that counts, or
            # a resumed run would add in another order than the one that was not interrupted.
            self._together(torch.zeros(1, 2, dtype=torch.int64, device=model.device)).sum().backward()
            model.zero_grad()
        return model

    def optimizers(self, model: LanguageModel, config: TrainingConfig, hands: Hands) -> tuple[Optimizer, ...]:
        """Those of one process, but for Muon where the matrices are sharded."""
        if not self.sharded:
            return super().optimizers(model, config, hands)
        return make_optimizers(model, config, hands, sharding().ShardedMuon)

    def batches(self, inputs: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of a step follow one another from rank to rank: `size` at a time, as one would read."""
        x, y = (whole.chunk(self.size)[self.rank] for whole in (inputs, targets))
        batches = list(super().batches(x, y, size))
        for left, (x, y) in zip(reversed(range(len(batches))), batches, strict=True):
            if self._together is not None:  # gradients travel once in a step
                self._together.require_backward_grad_sync = left == 0
            yield x, y

    def forward(self, model: LanguageModel, inputs: Tensor) -> Tensor:
        """Through the wrapper that adds the gradients up; shards do so by themselves."""
        logits: Tensor = model(inputs) if self._together is None else self._together(inputs)
        return logits

    def total(self, value: float) -> float:
        """In double precision; everybody gets the same sum."""
        numbers = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(numbers)
        return numbers.item()

    def length(self, gradients: Any) -> Tensor:
        """Every process has the same gradients, or a part of them."""
        length: Tensor = super().length(gradients)
        return sharding().whole(length) if self.sharded else length

    # What the first process tells, and the others hear

    def tell(self, act: Act, argument: int = 0) -> None:
        """Tells all others what comes next, and learns whether one of them was asked to leave."""
        assert self.rank == 0
        self.leaving |= bool(sums(act, argument, 0)[2])

    def hear(self, *, leaving: bool) -> tuple[int, int]:
        """What the first process tells. leaving: what it shall know of this one. → act, argument"""
        act, argument, _ = sums(0, 0, int(leaving))
        return act, argument

    def leading(self, records: Iterable[Record], state: TrainingState, course: Course) -> Iterator[Record]:
        """Tells before each step that it comes, and when the course was corrected."""
        known = self._tell_course(course)
        self.tell(Act.GO_ON)
        self.meet(state)
        with telling_of_loss():
            for record in records:
                yield record
                if course.legs != known:
                    known = self._tell_course(course)
                self.tell(Act.GO_ON)

    def _tell_course(self, course: Course) -> list[Leg]:
        self.tell(Act.COURSE)
        self.share_course(course)
        return list(course.legs)

    def share_course(self, course: Course) -> None:
        """All are on the course of the first process."""
        legs, slower = json.loads(spread_text(json.dumps([course.to_json(), course.slower])))
        course.legs, course.slower = [Leg(*leg) for leg in legs], tuple(slower)

    def meet(self, state: TrainingState) -> None:
        """All stand where the first process stands."""
        numbers = torch.tensor([state.step, state.tokens, state.elapsed, state.speed], dtype=torch.float64)
        with telling_of_loss():
            dist.broadcast(numbers, 0)
        state.step, state.tokens = int(numbers[0]), int(numbers[1])
        state.elapsed, state.speed = numbers[2].item(), numbers[3].item()

    def part_of(self, config: TrainingConfig) -> TrainingConfig:
        """A process's share of the rows: what is not tried out is how long the gradients travel."""
        rows = config.rows // self.size
        size = min(rows, config.batch_size)
        return replace(config, batch_size=size, accumulation=max(1, rows // size))

    # Weights and checkpoints

    def whole(self, model: LanguageModel) -> LanguageModel:
        """The model itself, or what is gathered from the shards."""
        if not self.sharded:
            return model
        if self.rank == 0:
            self.tell(Act.GATHER)
        with telling_of_loss():
            found: LanguageModel = sharding().gather(model, keep=self.rank == 0)
        return found

    def save_shards(self, folder: Path, state: TrainingState) -> None:
        """Into the folder of a checkpoint of this step that is being written."""
        if self.rank == 0:
            self.tell(Act.SAVE, state.step)
        with telling_of_loss():
            sharding().write(folder, state.model, state.optimizers)

    def load_shards(self, folder: Path, state: TrainingState) -> None:
        """Everybody its shards; or the first process reads everything, and hands it out."""
        if not self.sharded:
            super().load_shards(folder, state)
        elif is_sharded(folder):
            if self.rank == 0:
                self.tell(Act.LOAD, int(folder.name.removeprefix("step-")))
            with telling_of_loss():
                sharding().read(folder, state.model, state.optimizers, together=True)
        else:
            self.tell(Act.HAND_OUT)
            self.take(state, *sharding().read_whole(folder, state.model))

    def hand_out(self, state: TrainingState) -> None:
        """Shards are where they belong already."""
        if not self.sharded:
            self.tell(Act.HAND_OUT)
            self.take(state, dict(state.model.state_dict()), optimizer_tensors(state.optimizers))

    def take(self, state: TrainingState, weights: dict[str, Tensor], memory: dict[str, Tensor]) -> None:
        """Gives every process what the first has: {} and {} on the others. One tensor travels at a time."""
        own = dict(state.model.state_dict())
        part = sharding().part_like if self.sharded else lambda tensor, like: tensor
        with telling_of_loss(), torch.no_grad():
            for name, tensor in spread(weights, self._device):
                own[name].copy_(part(tensor, own[name]))
            taken = {}
            for name, tensor in spread(memory, self._device):
                like = sharding().parameter_of(name, state.optimizers) if self.sharded else tensor
                taken[name] = tensor if name.endswith(".step") else part(tensor, like)
        load_optimizer_tensors(state.optimizers, taken)


def _check_shardable(folder: RunFolder, config: TrainingConfig) -> None:
    """Raises ConfigError for what FSDP2 does not go together with here."""
    for problem, todo in (
        (config.minutes is not None and "its budget is in minutes", "Give the run a number of steps"),
        (config.precision == "fp16" and "its precision is fp16", "Use bf16"),
        (config.quantization_aware and "it rounds while it trains", "Train it without rounding"),
        (folder.config().architecture != "gpt2" and "its model is no GPT-2", "Train a GPT-2"),
    ):
        if problem:
            raise ConfigError(
                f"--shard cannot be used for this run: {problem}.",
                "What is sharded must be a GPT-2 in fp32 or bf16 with a budget in steps.",
                f"{todo}, or leave --shard out.",
            )
