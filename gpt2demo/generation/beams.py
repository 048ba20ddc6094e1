"""Beam search: not the likeliest token at each place, but the likeliest text of all that were followed."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gpt2demo.errors import check_range
from gpt2demo.generation.records import Written, check_finite, describe
from gpt2demo.generation.sampling import MAX_NEW_TOKENS, SamplingConfig
from gpt2demo.generation.writing import Manuscript
from gpt2demo.model.language_model import LanguageModel

MAX_BEAMS = 8
SCORES_BYTES = 8_000_000  # of scores that a search keeps for its texts; the oldest are forgotten first


@dataclass(frozen=True, kw_only=True)
class Beam:
    """One of the texts that are followed."""

    written: tuple[Written, ...]  # after the prompt, each token with all that is known about it
    logprob: float  # natural log of the probability of all of it under the model

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens after the prompt."""
        return tuple(step.id for step, _ in self.written)


@dataclass(frozen=True, kw_only=True)
class BeamStep:
    """All texts that are followed after one more token, the likeliest first."""

    index: int  # of the token, from 0
    beams: tuple[Beam, ...]
    dropped: int  # of the beams before, how many no text goes on from
    last: bool  # the texts are as long as they were to be


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
    room = max(1, SCORES_BYTES // (4 * model.config.vocab_size * count))
    cache = model.new_cache(count)
    windows = [list(window) for _ in range(count)]
    texts: list[tuple[Written, ...]] = [()] * count
    scores = torch.full((count,), -torch.inf, dtype=torch.float64)
    scores[0] = 0.0  # all begin alike: only one of them counts
    for index in range(length):
        last = index == length - 1
        unread = torch.tensor([view[cache.length :] for view in windows])  # (beams, T)
        with torch.inference_mode():
            logits = model.next_logits(unread.to(model.device), cache).float().cpu()  # (beams, V)
            check_finite(logits)
            scores, parents, ids = _best(logits, scores)
            cache.reorder(parents)
            new = _written(logits[parents], ids, index, end="length" if last else "")
        from_ = parents.tolist()
        texts = [(*_forgetting(texts[p], room), one) for p, one in zip(from_, new, strict=True)]
        windows = [[*windows[p], one.step.id] for p, one in zip(from_, new, strict=True)]
        yield BeamStep(
            index=index,
            beams=tuple(Beam(written=t, logprob=s) for t, s in zip(texts, scores.tolist(), strict=True)),
            dropped=count - len(set(from_)),
            last=last,
        )
        if len(windows[0]) > n_positions:
            windows = [view[-max(1, n_positions // 2) :] for view in windows]
            cache.truncate(0)


def _written(logits: Tensor, ids: Tensor, index: int, *, end: str) -> list[Written]:
    """The new token of each text with its record. (beams, V), (beams,)"""
    steps = describe(logits, ids, None, [index] * len(ids))
    return [Written(replace(s, end=end), row.numpy()) for s, row in zip(steps, logits, strict=True)]


def _forgetting(text: tuple[Written, ...], room: int) -> tuple[Written, ...]:
    """The same text, of which only the last `room` tokens, with the one to come, keep their scores."""
    place = len(text) - room
    return text if place < 0 else (*text[:place], text[place]._replace(logits=None), *text[place + 1 :])


def _best(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest continuations. (beams, V), (beams,) → scores, parents and ids, (beams,) each"""
    whole = scores[:, None] + logits.double().log_softmax(dim=-1)  # (beams, V)
    best = whole.flatten().topk(len(scores))
    return best.values, best.indices // logits.size(-1), best.indices % logits.size(-1)
