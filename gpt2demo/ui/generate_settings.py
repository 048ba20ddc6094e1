"""The settings of the Generate tab as they come, from the page or from anybody else."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gpt2demo.generation.prompts import beams, precision, samples, sampling, stop_lines
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.ui.generate_draft import Draft

MAX_SEED = 999_999  # of those that the page makes up: short enough to be told to a neighbour


class Settings(NamedTuple):
    """The controls' values, in their order; nothing of them is checked yet."""

    temperature: Any
    top_k: Any
    top_p: Any
    min_p: Any
    penalty: Any
    length: Any
    seed: Any
    stop: Any = ""
    precision: Any = "fp32"
    samples: Any = 1
    beams: Any = 0  # how many texts a beam search follows; 0: tokens are drawn instead
    fresh: Any = False  # a new seed for every new text

    def config(self, old: Draft | None = None, *, length: int | None = None) -> SamplingConfig:
        """Checks them; a text that is continued keeps its seed unless another one was asked for."""
        rules = (*self[:5], 0, self.length if length is None else length, stop_lines(self.stop))
        if old is not None and self.fresh:
            return replace(sampling(*rules), seed=old.seed)
        seed = secrets.randbelow(MAX_SEED + 1) if self.fresh else self.seed
        config = sampling(*rules[:5], seed, *rules[6:])
        return config if old is None else replace(config, seed=int(config.seed) + old.sample)

    def configs(self) -> list[SamplingConfig]:
        """The same for each of the samples that are written side by side."""
        return samples(self.samples, self.config())

    @property
    def followed(self) -> int:
        """How many texts a beam search follows, checked; 0 for none."""
        return beams(self.beams)

    @property
    def bits(self) -> str:
        """The precision, checked."""
        return precision(self.precision)


def rules_of(rules: Sequence[Any]) -> SamplingConfig:
    """The five controls that act on scores; seed and length do not matter for these."""
    return sampling(*rules)
