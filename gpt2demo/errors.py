"""What can go wrong because of what a person gave us, told so that the person can mend it.

UserError
├── TextError       an upload or a prompt that cannot be used
├── ConfigError     a model or a training run that cannot be built
├── LimitError      a number outside its range, or more than this machine can hold
├── NotFoundError   a run, step or model that does not exist (or is not yours)
├── BusyError       not now: somebody else is using it
├── FileError       a file that is damaged, or not what it claims to be
├── LostError       another process of the same training is gone
└── DivergedError   training left the realm of numbers (NaN or infinity)

Anything else that is raised is a bug in this program.
"""

import math
from collections.abc import Sequence
from typing import TypeGuard


class UserError(Exception):
    """Says what was got, what is needed and what to do, in three short sentences."""

    def __init__(self, got: str, needed: str, todo: str) -> None:
        super().__init__(" ".join(part for part in (got, needed, todo) if part))
        self.got = got
        self.needed = needed
        self.todo = todo


class TextError(UserError):
    """An upload or a prompt that cannot be used."""


class ConfigError(UserError):
    """A model or a training run that cannot be built."""


class LimitError(UserError):
    """A number outside its range, or more than this machine can hold."""


class NotFoundError(UserError):
    """A run, step or model that does not exist, or that belongs to somebody else."""


class BusyError(UserError):
    """Not now: somebody else is using it."""


class FileError(UserError):
    """A file that is damaged, or not what it claims to be."""


class LostError(UserError):
    """Another process of the same training ended, or does not answer."""


class DivergedError(UserError):
    """Training left the realm of numbers: the loss or a gradient became NaN or infinite."""


def is_number(value: object) -> TypeGuard[float]:
    """True for a finite int or float; False for NaN, infinity, True, None and text."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def check_range(name: str, value: object, low: float, high: float, *, integer: bool = False) -> None:
    """Refuses a value that is not a number from `low` to `high`, naming the nearest one that is.

    name: what the person calls it ("temperature"). integer: also refuse fractions. Raises LimitError.
    """
    kind = "a whole number" if integer else "a number"
    if is_number(value) and low <= value <= high and (not integer or value == int(value)):
        return
    nearest = low if not is_number(value) else min(max(value, low), high)
    nearest = round(nearest) if integer else nearest
    if isinstance(value, int) and abs(value) > 10**100:
        shown = "a number of hundreds of digits"
    else:
        shown = "not given" if value is None else repr(value)
    raise LimitError(
        f"{name} is {shown[:40]}.",
        f"It must be {kind} from {low:,} to {high:,}.",
        f"The nearest value that works is {nearest:,}.",
    )


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuses a value that is not one of a few, naming them. Raises ConfigError."""
    if any(type(value) is type(choice) and value == choice for choice in allowed):
        return
    names = [str(choice) for choice in allowed]
    must = " or ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + " or " + names[-1]
    raise ConfigError(f"{name} is {repr(value)[:40]}.", f"It must be {must}.", f"Choose {names[0]}.")
