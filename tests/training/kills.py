"""Real workers, killed at random moments, beside the same run that nobody disturbed: nothing may differ.

The workers are forked from a process that has imported everything already, so a life begins in a moment. Each
is `python -m gpt2demo train RUN` in all else: it holds the lock, writes the diary, and dies by SIGKILL.
"""

import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimisers import it when they are made, which would take longer than a life

from gpt2demo.__main__ import main
from gpt2demo.commands import train as train_command
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.text.batches import encode_corpus
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training import checkpoint, loop, worker
from gpt2demo.training.config import recipe
from gpt2demo.training.files import read_tensors
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import RESULTS
from gpt2demo.training.loop import TrainStep, new_state, train
from gpt2demo.training.plan import RunPlan

PROJECT = Path(__file__).parents[2]
LIFE = 25  # steps that a life lasts at most, and a moment more: counted, because machines may be busy
MOMENT = 0.02  # seconds
DEADLINE = 600.0
LINES = ("the cat sat on the mat", "the dog ate the fish", "a bird sang to the moon", "we like the sea")


# -- the worker, in its own process --------------------------------------------------------------------------


def live(path: str, made: Any, sabotage: str = "") -> None:
    """A worker's life, a third of which goes into saving, so that many a kill falls into the middle of it.

    made: counts its steps. sabotage: what goes wrong whenever it goes on from a checkpoint.
    """
    work = worker.train

    def counted(*details: Any, **options: Any) -> Iterator[TrainStep]:
        for record in work(*details, **options):
            made.value += 1
            yield record

    worker.train = counted
    worker.FLUSH_SECONDS, worker.CHECKPOINT_SHARE = 0.0, 2
    train_command.SAMPLE_TOKENS = 3  # a life is too short to write more
    if sabotage and any(Path(path, "checkpoints").glob("step-*")):
        SABOTAGES[sabotage]()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.exit(main(["train", path]))


def forget_a_moment() -> None:
    load = checkpoint.load_optimizer_tensors

    def forgetful(optimizers: Any, tensors: Any) -> None:
        load(
            optimizers,
            {n: t * 0 if n.endswith(("exp_avg", "momentum_buffer")) else t for n, t in tensors.items()},
        )

    checkpoint.load_optimizer_tensors = forgetful


def forget_the_random_numbers() -> None:
    seed = loop.mixed_seed
    loop.mixed_seed = lambda *numbers: seed(*numbers) + 1  # for dropout; batches are drawn elsewhere


def seed_anew() -> None:
    batch = loop.batch
    loop.batch = lambda *data, seed, **details: batch(*data, seed=seed + 1, **details)


SABOTAGES: dict[str, Callable[[], None]] = {
    "moment": forget_a_moment,
    "random numbers": forget_the_random_numbers,
    "seed": seed_anew,
}


# -- the runs ------------------------------------------------------------------------------------------------


def make_run(path: Path, optimizer: str, *, steps: int, seed: int) -> RunFolder:
    """A run with dropout and accumulation that saves often. AdamW's reads packed batches, Muon's padded."""
    lines = [LINES[(i * i) % 4] + ", " + LINES[i % 3] + "." for i in range(80)]
    padded = optimizer == "muon"
    corpus = Corpus((document_from_text("tales.txt", ("\n\n" if padded else "\n").join(lines)),))
    tokenizer = train_tokenizer("char", corpus.texts)
    shape = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_positions=16, n_embd=32, n_layer=2, n_head=2, dropout=0.1
    )
    training = recipe(
        optimizer,
        shape,
        steps=steps,
        batch_size=4,
        accumulation=2,
        threads=1,
        seed=seed,
        batches="padded" if padded else "packed",
        checkpoint_seconds=0.0,
        milestones=3,
    )
    plan = RunPlan(
        title="Tales", preset="nano", model=shape, training=training, corpus=corpus, tokenizer=tokenizer
    )
    return RunFolder.create(path, plan)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What comes out of a run that nobody disturbs."""

    steps: list[tuple[Any, ...]]
    weights: str  # their SHA-256


def numbers(records: list[TrainStep]) -> list[tuple[Any, ...]]:
    """What the diary must hold exactly: every loss, rate and gradient, to the last bit."""
    return [(*(getattr(r, name) for name in RESULTS), r.val_accuracy) for r in records]


def weights_sum(tensors: dict[str, torch.Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].detach().numpy().tobytes())
    return total.hexdigest()


def undisturbed(run: RunFolder) -> Expected:
    """Trains the run in this process, from beginning to end, without writing anything."""
    config = run.facts().training
    torch.set_num_threads(config.threads)
    data = encode_corpus(run.corpus(), run.tokenizer(), length=config.length, batches=config.batches)
    state = new_state(GPT2(run.config(), seed=config.seed), config)
    steps = numbers(list(train(state, data, config, steps=config.steps)))
    return Expected(steps=steps, weights=weights_sum(to_gpt2_tensors(state.model)))


def differences(run: RunFolder, expected: Expected) -> list[str]:
    """What is not as in the run that nobody disturbed: must be empty."""
    found = numbers(run.journal().steps())
    told = []
    if len(found) != len(expected.steps):
        told.append(f"{len(found)} steps instead of {len(expected.steps)}")
    other = [a[0] for a, b in zip(found, expected.steps, strict=False) if a != b]
    if other:
        told.append(f"{len(other)} steps differ, the first is {other[0]}")
    if weights_sum(read_tensors(run.path / "model.safetensors")) != expected.weights:
        told.append("the final weights differ")
    return told


# -- the kills -----------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Story:
    """What happened to one run."""

    run: RunFolder
    kills: int = 0
    while_saving: int = 0  # kills that left something half-written
    replayed: int = 0  # steps that the diary knew and that were computed once more
    differences: list[str] = field(default_factory=list)


@contextlib.contextmanager
def nursery() -> Iterator[Callable[..., tuple[Any, Any]]]:
    """→ a function that makes a worker, forked from a process that has imported all, and its counter"""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])

    def make(run: RunFolder, sabotage: str = "") -> tuple[Any, Any]:
        made = context.Value("q", 0, lock=False)
        return context.Process(target=live, args=(str(run.path), made, sabotage), daemon=True), made

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROJECT), before)))
    try:
        yield make
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def wait_until(condition: Callable[[], object], process: multiprocessing.process.BaseProcess) -> bool:
    """Waits for something that a worker does. → False when it has ended before"""
    end = time.monotonic() + DEADLINE
    while not condition():
        if process.exitcode is not None:
            return bool(condition())
        if time.monotonic() > end:
            process.kill()
            raise TimeoutError(f"nothing happened for {DEADLINE} s")
        time.sleep(0.002)
    return True


def kill(story: Story, process: multiprocessing.process.BaseProcess) -> bool:
    """Kills a worker and looks at what it left. → False when it had ended by itself"""
    process.kill()
    process.join(DEADLINE)
    if process.exitcode != -signal.SIGKILL:
        assert process.exitcode == 0, f"the worker ended with {process.exitcode}"
        return False
    run = story.run
    last = run.journal().last_step()
    saved = max(checkpoint.whole_steps(run.path / "checkpoints"), default=0)
    assert saved >= (run.journal().status().checkpoint_step or 0), "the diary promised too much"
    story.kills += 1
    story.while_saving += any(run.path.rglob("*.tmp"))
    story.replayed += max(0, last.step + 1 - saved) if last else 0
    return True


def torment(
    run: RunFolder, expected: Expected, start: Callable[..., Any], kills: int, chance: random.Random
) -> Story:
    """Kills the workers of a run at random moments, lets the last one finish, and compares."""
    story = Story(run=run)
    while story.kills < kills:
        process, made = start(run)
        process.start()
        steps = chance.randint(0, LIFE)
        if not wait_until(lambda made=made, steps=steps: made.value >= steps, process):
            break
        process.join(chance.uniform(0.0, MOMENT))
        if not kill(story, process):
            break
    finish(run, start)
    story.differences = differences(run, expected)
    return story


def finish(run: RunFolder, start: Callable[..., Any], sabotage: str = "") -> None:
    process, _ = start(run, sabotage)
    process.start()
    process.join(DEADLINE)
    assert process.exitcode is not None, "the last worker did not end"


def campaign(folder: Path, *, kills: int, per_run: int, steps: int, seed: int = 0) -> Iterator[Story]:
    """Runs in turn with AdamW and Muon, two at a time, until so many workers have been killed."""
    chance = random.Random(seed)
    killed, number = 0, 0
    with nursery() as start, ThreadPoolExecutor(2) as pool:
        while killed < kills:
            pair = []
            for optimizer in ("adamw", "muon"):
                run = make_run(folder / f"run-{number}", optimizer, steps=steps, seed=number)
                number += 1
                wanted = min(per_run, -(-(kills - killed) // 2))
                details = (run, undisturbed(run), start, wanted, random.Random(chance.random()))
                pair.append(pool.submit(torment, *details))
            for future in pair:
                story = future.result()
                killed += story.kills
                yield story
