"""What is written down about a token that was written or read: everything the page shows of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt2demo.errors import DivergedError
from gpt2demo.generation.sampling import Distribution, SamplingConfig, distribution, draw
from gpt2demo.model.gpt2 import check_ids

TOP = 20  # so many alternatives are recorded with every token

Logits = NDArray[np.float32]  # (V,), the model's score for every token of its vocabulary


class Alternative(NamedTuple):
    """A token that could have come at this place, and its road there."""

    id: int
    logit: float  # the model's score
    logprob: float  # natural log of its probability under the model
    scaled: float  # the score after repetition penalty and temperature
    cut_by: str  # the rule that cut it: "temperature 0", "top-k", "top-p", "min-p"; "" for none
    logprob_sampled: float  # natural log of the chance that it is drawn; −inf when cut


@dataclass(frozen=True, eq=False)
class Likeliest:
    """The likeliest tokens, the highest score first, and last the one that came.

    columns: (6, K) float64, for each token its id, logit, logprob, scaled score, the number of the rule that
    cut it (from 1; 0 for none), and the natural log of the chance that it is drawn, as in `Alternative`.
    """

    columns: NDArray[np.float64]

    @property
    def best_id(self) -> int:
        """The token with the highest score."""
        return int(self.columns[0, 0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Likeliest) and np.array_equal(self.columns, other.columns)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class TokenStep:
    """One token and everything the page shows about it."""

    index: int  # 0 for the first token written, or the place in a text that was read
    id: int
    logit: float  # the model's score
    logprob: float  # natural log of its probability under the model
    logprob_sampled: float  # the same after all rules
    rank: int  # 1 when no token had a higher logit (of equals the lowest id comes first)
    entropy: float  # in nats: how undecided the model was; e**entropy is "between how many tokens"
    cuts: tuple[tuple[str, int], ...]  # how many tokens each rule cut
    likeliest: Likeliest  # read `top` instead
    end: str = ""  # why the text ends here: "length" or "stop" (a stop string); "" where it goes on

    @property
    def top(self) -> tuple[Alternative, ...]:
        """The likeliest 20, and the token itself where it is not among them.

        Made when somebody asks: for thirty readers at once it would cost as much as the model.
        """
        names = ("", *(rule for rule, _ in self.cuts))
        top = [
            Alternative(int(id_), logit, logprob, scaled, names[int(rule)], sampled)
            for id_, logit, logprob, scaled, rule, sampled in self.likeliest.columns.T.tolist()
        ]
        own = top.pop()
        top.sort(key=lambda alternative: (-alternative.logit, alternative.id))
        return tuple(top if own in top else [*top, own])


class Written(NamedTuple):
    """A token, and the scores that it was chosen by, where these were asked for."""

    step: TokenStep
    logits: Logits | None


@torch.inference_mode()
def choose(
    logits: Tensor,
    configs: Sequence[SamplingConfig],
    lucks: Sequence[float],
    indices: Sequence[int],
    seen: Sequence[Tensor | None],
) -> list[TokenStep]:
    """Draws a token for each row of logits (B, V), by the rules of its text, and records what there was.

    seen: for each row the tokens of its text so far, (V,) bool, where a rule asks for them. Rows with the
    same rules are computed together.
    """
    if len({config.rules for config in configs}) == 1:
        return _choose(logits, configs[0], lucks, indices, seen)
    steps: dict[int, TokenStep] = {}
    for rules in {config.rules for config in configs}:
        rows = [i for i, config in enumerate(configs) if config.rules == rules]
        some = _choose(
            logits[rows],
            configs[rows[0]],
            [lucks[i] for i in rows],
            [indices[i] for i in rows],
            [seen[i] for i in rows],
        )
        steps |= zip(rows, some, strict=True)
    return [steps[i] for i in range(len(configs))]


def _choose(
    logits: Tensor,
    config: SamplingConfig,
    lucks: Sequence[float],
    indices: Sequence[int],
    seen: Sequence[Tensor | None],
) -> list[TokenStep]:
    known = [one for one in seen if one is not None]
    found = distribution(logits, config, torch.stack(known) if known else None)
    return describe(logits, draw(found.probabilities, lucks), found, indices)


@torch.inference_mode()
def chosen_instead(
    logits: Logits, id_: int, config: SamplingConfig, index: int, seen: Tensor | None = None
) -> TokenStep:
    """The record of a token that a person put in place of the one that was drawn from the same scores."""
    check_ids([id_], len(logits))
    scores = torch.from_numpy(logits)[None]  # (1, V)
    found = distribution(scores, config, None if seen is None else seen[None])
    return describe(scores, torch.tensor([id_]), found, [index])[0]


def describe(
    logits: Tensor, ids: Tensor, found: Distribution | None, indices: Sequence[int]
) -> list[TokenStep]:
    """One TokenStep per row of logits (N, V).

    found: what the tokens were drawn from; None for a text that was read, of which nothing was cut.
    """
    best = logits.topk(min(TOP, logits.size(-1)), dim=-1).indices  # (N, 20)
    best = torch.cat([best, ids[:, None]], dim=-1)  # (N, 21)
    scores = logits.gather(-1, best).double()
    highest = scores[:, :1]
    chances = logits.softmax(dim=-1)  # (N, V)
    # The likeliest token's chance is never so small that single precision would lose it: from there the
    # others are reckoned in double precision.
    least = -chances.gather(-1, best[:, :1]).double().log()  # (N, 1), how surprising it is
    below = torch.linalg.vecdot(chances, logits - highest.float())[:, None]  # the mean distance from it
    logprobs = scores - highest - least
    stages = found.stages if found else ()
    cut = torch.zeros_like(best)  # the number of the rule that cut each, from 1
    for number, stage in reversed(list(enumerate(stages, start=1))):
        cut = torch.where(stage.logits.gather(-1, best) == -math.inf, number, cut)
    columns = torch.stack(
        [
            best.double(),
            scores,
            logprobs,
            found.scaled.gather(-1, best) if found else scores,
            cut.double(),
            found.probabilities.gather(-1, best).log() if found else logprobs,
        ],
        dim=1,
    ).numpy()  # (N, 6, 21)
    cuts = count_cuts(stages, len(logits))
    ranks = _ranks(logits, best, scores)
    entropies = (least - below)[:, 0].tolist()
    return [
        TokenStep(
            index=indices[row],
            id=int(id_),
            logit=logit,
            logprob=logprob,
            logprob_sampled=sampled,
            rank=ranks[row],
            entropy=max(0.0, entropies[row]),
            cuts=cuts[row],
            likeliest=Likeliest(columns[row].copy()),  # a view would keep everybody's in memory
        )
        for row, (id_, logit, logprob, _, _, sampled) in enumerate(columns[:, :, -1].tolist())
    ]


def _ranks(logits: Tensor, best: Tensor, scores: Tensor) -> list[int]:
    """1 for the token with the highest score, of equals the one with the lowest id.  (N, V) → N ranks

    best, scores: (N, K + 1), the likeliest of each row and last the one that is asked for.
    """
    ids, own_id = best[:, :-1], best[:, -1:]
    highest, own = scores[:, :-1], scores[:, -1:]
    before = (highest > own) | (highest == own) & (ids < own_id)
    ranks = (1 + before.sum(dim=-1)).tolist()
    among = (own > highest[:, -1:])[:, 0].tolist()  # where it is one of them, so are all before it
    for row in (row for row, is_one in enumerate(among) if not is_one):
        score, id_ = logits[row, own_id[row]], int(own_id[row])
        ranks[row] = 1 + int((logits[row] > score).sum()) + int((logits[row, :id_] == score).sum())
    return ranks


def count_cuts(stages: Sequence[tuple[str, Tensor]], rows: int) -> list[tuple[tuple[str, int], ...]]:
    """For each row, how many tokens every rule cut that those before it had left."""
    counts, before = [], [0] * rows
    for _, logits in stages:
        gone = (logits == -math.inf).sum(dim=-1).tolist()
        counts.append([now - then for now, then in zip(gone, before, strict=True)])
        before = gone
    names = [rule for rule, _ in stages]
    return [tuple(zip(names, (column[i] for column in counts), strict=True)) for i in range(rows)]


def check_finite(logits: Tensor) -> None:
    """Raises DivergedError where a model's scores are no numbers."""
    if not bool(torch.isfinite(logits).all()):
        raise DivergedError(
            "The model's scores are not numbers.",
            "Its weights must have been damaged while training: the loss became infinite.",
            "Choose an earlier step of this model, or another one.",
        )
