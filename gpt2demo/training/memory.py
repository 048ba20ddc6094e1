"""How much memory this machine has, as far as the system tells, and how much of it a training takes."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.training.config import TrainingConfig, hands_for, threads_for_products
from gpt2demo.training.estimate import random_tokens
from gpt2demo.training.loop import new_state, train
from gpt2demo.training.precision import device_for

with suppress(ImportError):  # Windows has none
    import resource

SHARE = 0.5  # of the machine's memory, for one run
UNKNOWN = 8_000_000_000  # assumed where the system does not tell (Windows)
CONTAINER = Path("/sys/fs/cgroup/memory.max")  # what a container may use of it, on Linux
MEASURED_STEPS = 2  # in the second, the optimiser's memory is there from the beginning


@dataclass(frozen=True, kw_only=True)
class MeasuredMemory:
    """The largest amounts of memory during a few steps of training, in bytes."""

    allocated: int  # by all tensors together: what `memory_by_part` predicts
    resident: int | None  # by the process, with Python, PyTorch and room kept for later; None: unknown


def memory_for_a_run(container: Path = CONTAINER) -> int:
    """How many bytes one training run may use: half of the memory of the machine, or of its container."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = UNKNOWN
    try:
        total = min(total, int(container.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return int(SHARE * total)


def measure_memory(model: GPT2Config, training: TrainingConfig) -> MeasuredMemory:
    """Trains a throwaway model on random tokens for two steps and looks at every allocation of a tensor.

    Only the processor's memory is looked at, not a GPU's, and only what the calling thread allocates: the
    training may have one hand.

    The resident memory is the process's highest ever, so it means something in a process that did nothing
    else before. It is read first, because writing all allocations down takes memory as well.
    """
    assert hands_for(model, training) == 1
    _try_out(model, training)
    resident = _highest_resident()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        _try_out(model, training)
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events = record.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return MeasuredMemory(
        allocated=max(accumulate(change for _, change in changes), default=0), resident=resident
    )


def _try_out(model: GPT2Config, training: TrainingConfig) -> None:
    torch.set_num_threads(threads_for_products(model, training))
    made = make_model(model, seed=training.seed).to(device_for(training.precision))
    state = new_state(made, training)
    data = random_tokens(model, training, 0)  # one held-out window: looking at it takes less than a step
    for _ in train(state, data, training, steps=MEASURED_STEPS):
        pass


def _highest_resident() -> int | None:
    if "resource" not in sys.modules:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
