"""When things happen in a run: how the learning rate rises and falls, and when the run looks at itself."""

import math
from collections.abc import Sequence

from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.course import Course

SLOWER = 10.0  # so much lower is the learning rate of a run that goes on after it diverged
LAST_FALL = 0.2  # of the steps after the rise, in which the rate falls by "wsd" (Hu et al. 2024, MiniCPM)


def learning_rate_share(step: int, course: Course, config: TrainingConfig) -> float:
    """Which share of the highest learning rate step number `step` uses: first a rise, then a fall.

    A pure function of the step and the course, so that a resumed run goes on exactly where it was. The fall
    is a half cosine (Loshchilov and Hutter 2017, equation 5), a straight line, such a line at the end only
    ("wsd": warmup, stable, decay), or there is none ("constant"). A run that diverged goes on with a tenth of
    what it would have been. → 0 … 1
    """
    return _planned_share(step, course, config) / SLOWER ** sum(step >= start for start in course.slower)


def _planned_share(step: int, course: Course, config: TrainingConfig) -> float:
    done = course.done(step)
    if done < config.warmup:
        one = 1 / course.first_plan  # or the first step would do nothing
        return (done + one) / (config.warmup + one)
    fallen = (done - config.warmup) / (1 - config.warmup)  # 0 at the top, 1 after the last step
    height = {
        "cosine": 0.5 * (1 + math.cos(math.pi * fallen)),
        "linear": 1 - fallen,
        "wsd": min(1.0, (1 - fallen) / LAST_FALL),
        "constant": 1.0,
    }[config.decay]
    return config.final_learning_rate + (1 - config.final_learning_rate) * height


def milestones(steps: int, count: int) -> tuple[int, ...]:
    """At which steps a run keeps its weights and writes a sample: often early, rarely late.

    A model changes most in its first moments, so the steps are spaced evenly on a logarithmic scale, from 0
    over about 1/300 of the run to its end. → at most `count` steps, 0 first, `steps` last.
    """
    if count < 2:
        return (steps,) if count else ()
    first = max(1.0, steps / 300)
    growth = (steps / first) ** (1 / max(1, count - 2))
    return tuple(sorted({0, *(round(first * growth**i) for i in range(count - 2)), steps}))


def evaluation_interval(steps: int, every: int | None = None) -> int:
    """Every how many steps the validation loss is measured: as wanted, or about twenty times in a run."""
    return max(1, steps // 20) if every is None else every


def is_tired(losses: Sequence[float], patience: int) -> bool:
    """Whether a run may end early: the last `patience` validation losses brought no new best.

    losses: all of them so far. patience: 0 never tires (Prechelt 1998, "Early Stopping — But When?").
    """
    return 0 < patience < len(losses) and min(losses[-patience:]) >= min(losses[:-patience])
