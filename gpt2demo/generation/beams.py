"""Beam search: not the likeliest token at each place, but the likeliest text of all that were followed."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2demo.errors import check_range
from gpt2demo.generation.records import check_finite
from gpt2demo.generation.sampling import MAX_NEW_TOKENS, SamplingConfig
from gpt2demo.generation.writing import Manuscript
from gpt2demo.model.language_model import LanguageModel

MAX_BEAMS = 8


@dataclass(frozen=True, kw_only=True)
class Beam:
    """One of the texts that are followed."""

    ids: tuple[int, ...]  # what was written after the prompt
    logprob: float  # natural log of the probability of all of it under the model


@dataclass(frozen=True, kw_only=True)
class BeamStep:
    """All texts that are followed after one more token, the likeliest first."""

    index: int  # of the token, from 0
    beams: tuple[Beam, ...]
    dropped: int  # of the beams before, how many no text goes on from


def beam_search(
    model: LanguageModel, prompt_ids: Sequence[int], *, beams: int, max_new_tokens: int
) -> Generator[BeamStep, None, None]:
    """Follows the `beams` likeliest texts token by token, and drops all others at each (Lowerre 1976, HARPY).

    One beam is the greedy choice; more find likelier texts, which with language models are mostly duller
    ones (Holtzman et al. 2020, section 3). There is no luck in it. The context slides as for `generate`.
    Raises LimitError for numbers out of range, and what `Manuscript` raises.
    """
    check_range("The number of beams", beams, 1, MAX_BEAMS, integer=True)
    check_range("max_new_tokens", max_new_tokens, 1, MAX_NEW_TOKENS, integer=True)
    window = Manuscript(model, prompt_ids, SamplingConfig()).window
    return _follow(model, window, min(int(beams), model.config.vocab_size), int(max_new_tokens))


def _follow(
    model: LanguageModel, window: list[int], count: int, length: int
) -> Generator[BeamStep, None, None]:
    n_positions = model.config.n_positions
    cache = model.new_cache(count)
    windows = [list(window) for _ in range(count)]
    texts: list[tuple[int, ...]] = [()] * count
    scores = torch.full((count,), -torch.inf, dtype=torch.float64)
    scores[0] = 0.0  # all begin alike: only one of them counts
    for index in range(length):
        unread = torch.tensor([view[cache.length :] for view in windows])  # (beams, T)
        with torch.inference_mode():
            logits = model.next_logits(unread.to(model.device), cache).float().cpu()  # (beams, V)
            check_finite(logits)
            scores, parents, ids = _best(logits, scores)
            cache.reorder(parents)
        texts = [(*texts[p], i) for p, i in zip(parents.tolist(), ids.tolist(), strict=True)]
        windows = [[*windows[p], i] for p, i in zip(parents.tolist(), ids.tolist(), strict=True)]
        yield BeamStep(
            index=index,
            beams=tuple(Beam(ids=t, logprob=s) for t, s in zip(texts, scores.tolist(), strict=True)),
            dropped=count - len(set(parents.tolist())),
        )
        if len(windows[0]) > n_positions:
            windows = [view[-max(1, n_positions // 2) :] for view in windows]
            cache.truncate(0)


def _best(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest continuations. (beams, V), (beams,) → scores, parents and ids, (beams,) each"""
    whole = scores[:, None] + logits.double().log_softmax(dim=-1)  # (beams, V)
    best = whole.flatten().topk(len(scores))
    return best.values, best.indices // logits.size(-1), best.indices % logits.size(-1)
