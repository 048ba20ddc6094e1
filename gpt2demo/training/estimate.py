"""How fast this machine trains a model, found by trying for about a second, and remembered."""

import threading
import time
from dataclasses import dataclass, replace

import torch

from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.text.batches import TokenData
from gpt2demo.training.config import (
    MAX_STEPS,
    USUAL_RATE,
    TrainingConfig,
    flops_per_step,
    threads_for_products,
)
from gpt2demo.training.course import Course
from gpt2demo.training.evaluation import evaluate, validation_tokens
from gpt2demo.training.hands import sharing_products
from gpt2demo.training.loop import TrainingState, new_state, train
from gpt2demo.training.precision import device_for
from gpt2demo.training.schedule import evaluation_interval

PROBE_SECONDS = 1.2
CALIBRATION_SECONDS = 10.0  # at most, for finding out how many steps fit into a budget, where steps are long
CALIBRATIONS = 50  # and this part of the budget
PROBE_FLOPS = 2e10  # in one step that is tried out so long; larger batches are scaled up from smaller ones
PROBE_PARAMETERS = 30_000_000  # larger models are not tried out: making them alone takes seconds
WARMUP = 2  # first steps, which are slower
VOCABULARIES = 64  # sizes within such a stretch are taken for the same
REMEMBERED = 256
FRESH_SECONDS = 1800  # a machine may be busier or freer by then


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a step of training and a look at the held-out text cost here, in seconds."""

    step: float
    look: float
    measured: bool  # False: reckoned from the number of operations
    every: int | None = None  # steps between two looks, where that is not left to the run

    def steps(self, seconds: float) -> int:
        """How many steps fit into a time, the looks at the held-out text included. → 1 … MAX_STEPS"""
        many = max(1, int(seconds / self.step))
        looks = many // evaluation_interval(many, self.every) + 1
        return min(MAX_STEPS, max(1, int((seconds - looks * self.look) / self.step)))

    def seconds(self, steps: int) -> float:
        """How long so many steps take."""
        return steps * self.step + (steps // evaluation_interval(max(1, steps), self.every) + 1) * self.look


class Estimator:
    """Remembers the pace of every kind of training that was asked for. One for a whole server."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[float, Pace]] = {}
        self._rate = USUAL_RATE
        self._trying = threading.Lock()  # two trials at once would slow each other down

    def pace(self, model: GPT2Config, training: TrainingConfig, *, measure: bool = True) -> Pace:
        """The pace of a training of this shape, whatever its budget and its text.

        measure: False answers at once, with what is known or by reckoning, for a machine that is at work.
        Models of which a single step would last seconds are always reckoned.
        """
        if (known := self._recall(model, training)) is not None:
            return known
        if not measure or _is_huge(model, training):
            return self._reckoned(model, training)
        with self._trying:
            if (known := self._recall(model, training)) is None:
                known = try_out(model, training)
                self._rate = flops_per_step(model, training) / known.step
                while len(self._known) >= REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[_key(model, training)] = (time.monotonic(), known)
        return known

    def knows(self, model: GPT2Config, training: TrainingConfig) -> bool:
        """True when `pace` would not have to try anything out."""
        return self._recall(model, training) is not None or _is_huge(model, training)

    def _recall(self, model: GPT2Config, training: TrainingConfig) -> Pace | None:
        found, pace = self._known.get(_key(model, training), (0.0, None))
        return pace if time.monotonic() - found < FRESH_SECONDS else None

    def _reckoned(self, model: GPT2Config, training: TrainingConfig) -> Pace:
        step = flops_per_step(model, training) / self._rate
        return Pace(step=step, look=step, measured=False, every=training.evaluate_every)


def try_out(
    model: GPT2Config,
    training: TrainingConfig,
    *,
    data: TokenData | None = None,
    seconds: float = PROBE_SECONDS,
    device: torch.device | None = None,
) -> Pace:
    """Finds the pace of a training by training a throwaway model of the same shape for a moment.

    data: the text, which has random tokens in its place where there is none yet: speed does not depend on
    what it says. seconds: about how long the trial may last. Short steps are known after 1.2 seconds at the
    latest; long ones are tried out with smaller batches, the smaller the less time there is. device:
    where, if not where such a run computes anyway.
    """
    with sharing_products(threads_for_products(model, training)):
        return _try_out(model, training, data, seconds, device or device_for(training.precision))


def _try_out(
    model: GPT2Config, training: TrainingConfig, data: TokenData | None, seconds: float, device: torch.device
) -> Pace:
    most = int(PROBE_FLOPS * seconds / PROBE_SECONDS / flops_per_step(model, _one_row(training)))
    batch_size = min(training.batch_size, max(1, most))
    config = replace(training, steps=MAX_STEPS, minutes=None, batch_size=batch_size, accumulation=1)
    made = make_model(model, seed=config.seed).to(device)
    state = new_state(made, config)
    held_out = validation_tokens(state.model, config, MAX_STEPS)
    data = data or random_tokens(model, config, held_out)
    times: list[float] = []
    began = time.perf_counter()
    for record in train(state, data, config, steps=MAX_STEPS):
        times.append(record.elapsed)
        if time.perf_counter() - began > min(PROBE_SECONDS, seconds) and len(times) >= 3:
            break
    warm = min(WARMUP, len(times) - 2)
    each = (times[-1] - times[warm]) / (len(times) - 1 - warm)
    update = _time_update(state)  # which costs the same for every batch
    each = update + max(0.0, each - update) * training.rows / config.batch_size
    began = time.perf_counter()
    evaluate(state.model, data.validation, length=config.length, max_tokens=held_out, hands=state.hands)
    look = time.perf_counter() - began
    return Pace(step=each, look=look, measured=True, every=training.evaluate_every)


def plan_course(
    model: GPT2Config, training: TrainingConfig, data: TokenData, device: torch.device | None = None
) -> Course:
    """The course of a run that is about to begin; minutes are turned into steps by trying out this machine.

    The trial takes a small part of the time, and need not be exact: the course is corrected on the way.
    """
    if training.minutes is None:
        assert training.steps is not None
        return Course(training.steps)
    seconds = 60 * training.minutes
    moment = min(CALIBRATION_SECONDS, seconds / CALIBRATIONS)
    pace = try_out(model, training, data=data, seconds=moment, device=device)
    return Course(pace.steps(seconds), seconds=seconds)


def random_tokens(model: GPT2Config, config: TrainingConfig, held_out: int) -> TokenData:
    """A text that says nothing, to try a training out on. held_out: how much of it is for validation."""
    chance = torch.Generator().manual_seed(config.seed)
    return TokenData(
        train=torch.randint(model.vocab_size, (20 * config.length,), generator=chance),
        validation=torch.randint(model.vocab_size, (held_out + config.length + 1,), generator=chance),
    )


def _time_update(state: TrainingState) -> float:
    began = time.perf_counter()
    for optimizer in state.optimizers:
        optimizer.step()
    return time.perf_counter() - began


def _is_huge(model: GPT2Config, training: TrainingConfig) -> bool:
    work = flops_per_step(model, _one_row(training))
    return count_parameters(model) > PROBE_PARAMETERS or work > PROBE_FLOPS


def _one_row(training: TrainingConfig) -> TrainingConfig:
    return replace(training, batch_size=1, accumulation=1)


def _key(model: GPT2Config, training: TrainingConfig) -> tuple[object, ...]:
    return (
        replace(model, vocab_size=1),
        -(-model.vocab_size // VOCABULARIES),
        training.length,
        training.batch_size,
        training.accumulation,
        training.evaluate_every,
        training.optimizer,
        training.precision,
        training.gradient_checkpointing,
        training.quantization_aware,
    )
