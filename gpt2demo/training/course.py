"""The course of a run: how far it is at each step, from 0 to 1, which all that rises and falls follows."""

from collections import deque
from collections.abc import Iterable
from dataclasses import astuple, dataclass

CORRECTIONS = 50  # in a run with a budget in time
REMEMBERED = 5  # the pace is that since so many corrections ago


@dataclass(frozen=True)
class Leg:
    """A straight part of the way: from `step`, where `done` of the run is over, to the end at step `last`."""

    step: int
    done: float
    last: int


class Course:
    """The way from the first step to the last, which may be corrected while it is gone.

    With a budget in steps it is one straight leg. With a budget in time nobody knows how many steps fit into
    it until it is over, so every now and then a new leg begins, which ends when the time will. Where a run is
    at a step depends on the legs alone: who knows them repeats the run exactly.
    """

    def __init__(
        self,
        steps: int,
        *,
        seconds: float | None = None,
        legs: Iterable[Leg] = (),
        gone_to: int = -1,
        slower: Iterable[int] = (),
    ) -> None:
        """steps: how many there are, or seem to be. seconds: the budget.

        legs: of an earlier shift, which came to the step `gone_to`: until there it is not corrected again.
        slower: the steps from which on the learning rate is a tenth, and a tenth of that, after it diverged.
        """
        self.legs = list(legs) or [Leg(0, 0.0, steps)]
        self.gone_to = max(gone_to, self.legs[-1].step)
        self.slower = tuple(slower)
        self.seconds = seconds
        self._marks: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)

    @property
    def first_plan(self) -> int:
        """How many steps there seemed to be in the beginning: what happens so many times goes by these."""
        return self.legs[0].last

    @property
    def last(self) -> int:
        """The step at which the run is over, as far as is known now."""
        return self.legs[-1].last

    def done(self, step: int) -> float:
        """Which share of the run is over before this step. → 0 … 1"""
        leg = next(leg for leg in reversed(self.legs) if leg.step <= step)
        return min(1.0, leg.done + (1 - leg.done) * (step - leg.step) / max(1, leg.last - leg.step))

    def correct(self, step: int, elapsed: float) -> bool:
        """Begins a new leg with the next step where it is time to do so. → whether it did

        step: that was just made, the newest of all; elapsed: seconds of training until now.
        """
        if self.seconds is None or step + 1 >= self.last or step < self.gone_to:
            return False
        if not self._marks:  # the first step, which is slower than all others, says nothing
            self._marks.append((step, elapsed))
            return False
        if elapsed - self._marks[-1][1] < self.seconds / CORRECTIONS:
            return False
        self._marks.append((step, elapsed))
        marked, then = self._marks[0]
        left = (self.seconds - elapsed) * (step - marked) / max(elapsed - then, 1e-9)
        here = step + 1
        self.legs.append(Leg(here, self.done(here), here + max(1, round(left))))
        return True

    def to_json(self) -> list[tuple[int, float, int]]:
        """The legs, ready for a JSON file; Python writes and reads its numbers exactly."""
        return [astuple(leg) for leg in self.legs]
