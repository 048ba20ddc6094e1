"""How much memory this machine has, as far as the system tells, and how much of it a training takes."""

import os
import sys
from collections.abc import Sequence
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
# Where Linux counts the processes that it ended for want of memory: in this container, on this machine.
OOM_COUNTERS = (CONTAINER.with_name("memory.events"), Path("/proc/vmstat"))
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


def free_memory() -> int:
    """How many bytes this process could still take: the smallest of the limits that the system tells."""
    limits = [1024 * kilobytes for kilobytes in _counts(Path("/proc/meminfo"), "MemAvailable:")]
    with suppress(OSError, ValueError):
        limits.append(int(CONTAINER.read_text()) - int(CONTAINER.with_name("memory.current").read_text()))
    with suppress(OSError, NameError):
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            limits.append(most - taken)
    return max(0, min(limits, default=memory_for_a_run()))


def oom_kills(places: Sequence[Path] = OOM_COUNTERS) -> int | None:
    """How many processes the system has ended because memory ran out; None where it does not count them."""
    return next((count for place in places for count in _counts(place, "oom_kill")), None)


def _counts(place: Path, name: str) -> list[int]:
    """The number behind a name in a file of the system, in a list; an empty one where there is none."""
    try:
        lines = [line.split() for line in place.read_text().splitlines()]
    except OSError:
        return []
    return [int(words[1]) for words in lines if len(words) > 1 and words[0] == name and words[1].isdigit()]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, PyTorch or a GPU say that there is no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("can't allocate memory", "not enough memory", "bad_alloc", "bad alloc")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


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
