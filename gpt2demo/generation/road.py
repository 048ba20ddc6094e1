"""The road of one position, from the model's scores to the chances of each token, rule by rule.

It needs the scores only, not the model: with other settings the same scores give another road.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2demo.errors import check_range
from gpt2demo.generation.records import Logits, count_cuts
from gpt2demo.generation.sampling import SamplingConfig, distribution, penalise_repetition


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One token on its way."""

    id: int
    rank: int  # 1 = the highest score; of equal ones the lowest id comes first
    logit: float  # the model's score
    before: float  # its probability as the model gave it
    penalised: float  # the score after the repetition penalty
    scaled: float | None  # and after temperature; None where temperature 0 leaves only the likeliest
    cut_by: str  # "temperature 0", "top-k", "top-p", "min-p", or "" for a token that stays in the draw
    after: float  # the chance that it is drawn, 0 when cut


@dataclass(frozen=True, kw_only=True)
class Road:
    """The likeliest candidates, and what is left over: together they make up the whole vocabulary."""

    candidates: tuple[Candidate, ...]
    cuts: tuple[tuple[str, int], ...]  # how many tokens each rule cut, in order
    kept: int  # how many tokens stay in the draw
    rest: int  # how many tokens are not among the candidates
    rest_kept: int  # how many of these stay in the draw
    rest_before: float  # their probability together
    rest_after: float


@torch.inference_mode()
def road(
    logits: Logits,
    config: SamplingConfig,
    *,
    shown: int = 12,
    also: tuple[int, ...] = (),
    seen: Collection[int] = (),
) -> Road:
    """Follows the likeliest `shown` tokens, and those in `also`, through all rules.

    seen: the tokens of the text before this place, for the repetition penalty.
    """
    check_range("The number of candidates", shown, 1, 1_000, integer=True)
    scores = torch.from_numpy(logits).double()  # (V,)
    before = scores.softmax(dim=-1)
    met = mark_seen(seen, len(scores))
    penalised = penalise_repetition(scores, met, config.repetition_penalty)
    end = distribution(scores, config, met)
    after = end.probabilities
    order = scores.argsort(descending=True, stable=True).tolist()
    ranks = {id_: rank for rank, id_ in enumerate(order, start=1)}
    ids = order[:shown] + [id_ for id_ in also if ranks[id_] > shown]

    candidates = tuple(
        Candidate(
            id=id_,
            rank=ranks[id_],
            logit=scores[id_].item(),
            before=before[id_].item(),
            penalised=penalised[id_].item(),
            scaled=end.scaled[id_].item() if config.temperature or not end.cut_by(id_) else None,
            cut_by=end.cut_by(id_),
            after=after[id_].item(),
        )
        for id_ in ids
    )
    (cuts,) = count_cuts([(stage.rule, stage.logits[None]) for stage in end.stages], 1)
    kept = int(end.kept.sum())
    rest, rest_kept = len(scores) - len(ids), kept - sum(not c.cut_by for c in candidates)
    return Road(
        candidates=candidates,
        cuts=cuts,
        kept=kept,
        rest=rest,
        rest_kept=rest_kept,
        rest_before=max(0.0, 1.0 - sum(c.before for c in candidates)) if rest else 0.0,
        rest_after=max(0.0, 1.0 - sum(c.after for c in candidates)) if rest_kept else 0.0,
    )


def mark_seen(ids: Collection[int], vocab_size: int) -> Tensor:
    """Which tokens of the vocabulary are in a text.  → (V,) bool"""
    met = torch.zeros(vocab_size, dtype=torch.bool)
    met[torch.tensor(sorted(set(ids)), dtype=torch.int64)] = True
    return met
