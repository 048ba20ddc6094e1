"""Finding a learning rate: train a throwaway model while the rate grows, and see where learning is fastest.

The learning rate range test (Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section
3.3), with a rate that grows by the same factor at each step instead of by the same amount.
"""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from gpt2demo.errors import BusyError, ConfigError, DivergedError, LimitError
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.weights import load_gpt2_tensors, to_gpt2_tensors
from gpt2demo.text.batches import TokenData
from gpt2demo.training.config import TrainingConfig, check_fits
from gpt2demo.training.estimate import Pace
from gpt2demo.training.loop import TrainingState, gradient_step, new_state
from gpt2demo.training.precision import device_for

LOWEST_RATE = 1e-6  # far too small for every optimiser here ...
HIGHEST_RATE = 1.0  # ... and far too large: what a run may be given at most
MOST_STEPS = 100
FEWEST_STEPS = 40  # with fewer, the rate jumps so far at each that the model has no time to answer
SECONDS = 60.0  # that a search may take by what is known of the machine; it is broken off after twice that
SMOOTHED_OVER = 5  # steps
LOST = 1.0  # nats above its beginning, where the smoothed loss has exploded for good and the search ends
LEFT = 0.15  # of the fall: the suggested rate is the first that leaves no more of it to be done
GIVEN_BACK = 0.25  # of the fall: from the rate on that loses so much again, the loss explodes
LEAST_FALL = 0.03  # nats: less cannot be told from chance


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One step of a search: a rate, and the loss of the model just before it was changed at that rate."""

    step: int  # 0, 1, …
    steps: int  # how many the search has if nothing explodes
    learning_rate: float
    loss: float  # nats per token
    smoothed: float  # the mean over the last few steps


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What a search has found: three learning rates."""

    learning_rate: float  # the suggested one, rounded to two digits
    lowest: float  # where the smoothed loss was lowest
    explodes: float | None  # from where on it rises; None: it never did


def search_steps(pace: Pace, training: TrainingConfig) -> int:
    """How many steps a search has that ends in time, by the pace of the machine.

    Raises LimitError where there is not time for enough of them, saying what they would cost.
    """
    steps = min(MOST_STEPS, int(SECONDS / pace.step))
    if steps >= FEWEST_STEPS:
        return steps
    raise LimitError(
        f"One step of this training takes about {pace.step:,.1f} seconds, so that a search of {FEWEST_STEPS} "
        f"steps would take about {FEWEST_STEPS * pace.step / 60:,.0f} minutes.",
        f"A search may take {SECONDS:.0f} seconds.",
        f"Choose a smaller model, or batches smaller than {training.rows} × {training.length} tokens.",
    )


def search(
    model: GPT2Config,
    training: TrainingConfig,
    data: TokenData,
    *,
    steps: int,
    memory_bytes: int,
    start: LanguageModel | None = None,
) -> Generator[Trial, None, None]:
    """Trains a throwaway model for some steps while the learning rate grows from far too small to too large.

    Everything else is as in the run: the text, the batches, the optimiser, with all its groups in proportion.
    Only dropout is left out, which is there for what comes much later. start: the weights that the run goes
    on from, which are copied. steps: see `search_steps`.

    Yields a Trial for each step. Ends early when the loss explodes or is no number any more. Raises
    LimitError for what does not fit into memory, BusyError when the machine is far slower than was thought.
    """
    plain = replace(model, dropout=0.0)
    config = replace(training, learning_rate=HIGHEST_RATE)
    check_fits(plain, config, memory_bytes=memory_bytes)
    state = new_state(_throwaway(plain, config, start), config)
    try:
        yield from _trials(state, data, config, steps)
    finally:
        state.hands.close()


def rate_at(step: int, steps: int) -> float:
    """The learning rate of one step of a search: it grows by the same factor from each step to the next."""
    return float(LOWEST_RATE * (HIGHEST_RATE / LOWEST_RATE) ** (step / max(1, steps - 1)))


def suggest(trials: Sequence[Trial]) -> Suggestion:
    """Reads a learning rate from a search: the smallest that made most of the progress.

    Below the right rate the loss falls the faster the larger the rate is; above it falls no more, and then
    it rises. The suggestion is the first rate at which the smoothed loss has made 85 % of its fall. Two other
    usual rules land elsewhere: the fall is steepest at rates that seem too small (AdamW 0.0005, Muon 0.001),
    and the lowest loss lies on a flat stretch that ends close to the explosion (AdamW 0.006, Muon 0.07).

    Checked with `nano` on assets/texts/little_stories.txt and four seeds: AdamW 0.0016 to 0.0022, Muon 0.020
    to 0.031, Adam 0.0014 to 0.0028; the recipes have 0.001, 0.03 and 0.001. Runs of 150 steps end at a
    validation loss of 2.41, 2.38 and 2.63 by AdamW at 0.001, 0.003 and 0.01; of 2.25, 1.99 and 2.24 by Muon
    at 0.01, 0.03 and 0.1; of 2.41 and 2.84 by Adam at 0.001 and 0.002: for Adam it suggests too much, perhaps
    because such a run begins at its full rate, without the rise that a search has. A search sees the first
    steps only: the longer a run, the smaller is mostly its best rate.

    Raises ConfigError when the loss never fell.
    """
    first = trials[0].smoothed if trials else math.nan
    lowest = min(trials, key=lambda trial: trial.smoothed, default=None)
    fall = first - lowest.smoothed if lowest else 0.0
    if lowest is None or fall < LEAST_FALL:
        raise ConfigError(
            f"The loss fell at no learning rate from {LOWEST_RATE:g} to {HIGHEST_RATE:g} in so few steps.",
            "A search can only compare rates at which a model learns something.",
            "Choose a model that does not know this text yet, or leave the rate to the recipe.",
        )
    reached = next(trial for trial in trials if trial.smoothed <= lowest.smoothed + LEFT * fall)
    rising = (
        trial.learning_rate
        for trial in trials[lowest.step :]
        if trial.smoothed > lowest.smoothed + GIVEN_BACK * fall
    )
    last = trials[-1]
    cut_off = last.learning_rate if last.step + 1 < last.steps else None
    return Suggestion(
        learning_rate=float(f"{reached.learning_rate:.1e}"),
        lowest=lowest.learning_rate,
        explodes=next(rising, cut_off),
    )


def _throwaway(model: GPT2Config, training: TrainingConfig, start: LanguageModel | None) -> LanguageModel:
    with torch.random.fork_rng(devices=[]):  # PyTorch's layers draw numbers of their own when they are made
        made = make_model(model, seed=training.seed)
    if start is not None:
        load_gpt2_tensors(made, to_gpt2_tensors(start))
    return made.to(device_for(training.precision))


def _trials(state: TrainingState, data: TokenData, config: TrainingConfig, steps: int) -> Iterator[Trial]:
    losses: list[float] = []
    began = time.monotonic()
    while state.step < steps:
        if time.monotonic() - began > 2 * SECONDS:
            raise BusyError(
                f"The search came to step {state.step} of {steps} in {2 * SECONDS:.0f} seconds.",
                "This machine is busier than when its speed was measured.",
                "Try again later, or with a smaller model.",
            )
        rate = rate_at(state.step, steps)
        try:
            loss, _, _ = gradient_step(state, data, config, rate / HIGHEST_RATE, learn=True)
        except DivergedError:
            return
        losses.append(loss)
        smoothed = fmean(losses[-SMOOTHED_OVER:])
        yield Trial(step=state.step, steps=steps, learning_rate=rate, loss=loss, smoothed=smoothed)
        state.step += 1
        if smoothed > losses[0] + LOST:
            return
