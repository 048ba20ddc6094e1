"""The loop that writes: read, choose a token, read that too. Plain, for one text; `engine.py` does it fast.

It knows only token ids. `guard` is the shared model's lock: it is held for one forward pass at a time, never
while a token is on its way to the reader.
"""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from gpt2demo.generation.records import Logits, TokenStep, check_finite, choose
from gpt2demo.generation.sampling import SamplingConfig, luck
from gpt2demo.generation.stopping import StopWatch
from gpt2demo.model.cache import Cache
from gpt2demo.model.gpt2 import check_ids
from gpt2demo.model.language_model import LanguageModel

Guard = AbstractContextManager[object]


def prompt_window(prompt_ids: Sequence[int], n_positions: int) -> list[int]:
    """The part of a prompt that is read: all of it, or its last n_positions tokens where it is longer."""
    return list(prompt_ids[-n_positions:])


def context_window(prompt_ids: Sequence[int], written: Sequence[int], n_positions: int) -> list[int]:
    """What the model still has in view after writing: it keeps the last half whenever its context is full."""
    window = prompt_window(prompt_ids, n_positions)
    for id_ in written:
        window.append(id_)
        _slide(window, n_positions)
    return window


def _slide(window: list[int], n_positions: int) -> bool:
    """Keeps the last n_positions // 2 tokens of a context that has become too long. → whether it had"""
    if len(window) <= n_positions:
        return False
    del window[: -max(1, n_positions // 2)]
    return True


class Manuscript:
    """A text in the making: what the model has in view of it, how its luck stands, and when it ends.

    written: what was written after the prompt before; the text goes on as if it had not been interrupted.
    stops: watches for the stop strings of `config`. Raises TextError for an empty prompt (give a start token)
    and for ids that the model does not know.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt_ids: Sequence[int],
        config: SamplingConfig,
        *,
        written: Sequence[int] = (),
        stops: StopWatch | None = None,
    ) -> None:
        if model.training:
            raise ValueError(
                "the model is in training mode, where dropout changes what it says: call model.eval()"
            )
        vocab_size, self._n_positions = model.config.vocab_size, model.config.n_positions
        check_ids(prompt_ids, vocab_size)
        if written:
            check_ids(written, vocab_size)
        self.config = config
        self.window = context_window(prompt_ids, written, self._n_positions)
        self.index = len(written)  # of the next token
        self.last = self.index + int(config.max_new_tokens) - 1
        self.stops = stops
        self.seen: Tensor | None = None  # (V,) bool, where a rule asks which tokens were in the text
        if config.repetition_penalty != 1:
            self.seen = torch.zeros(vocab_size, dtype=torch.bool)
            self.seen[[*prompt_ids, *written]] = True
        self._generator = torch.Generator().manual_seed(int(config.seed))
        for _ in written:  # the same draws as before, so that the luck goes on where it was
            self.luck()

    def luck(self) -> float:
        """The random number that decides about the next token."""
        return luck(self._generator)

    def add(self, step: TokenStep) -> tuple[TokenStep, bool]:
        """Writes a token down. → its record, which says if the text ends here; whether the view moved"""
        stopped = self.stops is not None and self.stops.add(step.id)
        if stopped or self.index == self.last:
            step = replace(step, end="stop" if stopped else "length")
        self.index += 1
        self.window.append(step.id)
        if self.seen is not None:
            self.seen[step.id] = True
        return step, _slide(self.window, self._n_positions)


def generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    config: SamplingConfig,
    *,
    written: Sequence[int] = (),
    stops: StopWatch | None = None,
    cached: bool = True,
    guard: Guard | None = None,
) -> Generator[TokenStep, None, None]:
    """Continues a prompt, one TokenStep at a time; the same seed gives the same text.

    When the context is full, the model keeps the last n_positions // 2 tokens, reads them afresh and goes on.
    cached=False reads the whole context for every token: slow and plain, it is what the cache is tested
    against. The rest as for `Manuscript`.
    """
    text = Manuscript(model, prompt_ids, config, written=written, stops=stops)
    return (step for step, _ in _generate(model, text, model.new_cache() if cached else None, guard))


def generate_with_logits(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    config: SamplingConfig,
    *,
    written: Sequence[int] = (),
    guard: Guard | None = None,
) -> Generator[tuple[TokenStep, Logits], None, None]:
    """Does what `generate` does, and hands out the scores that each token was chosen by."""
    return _generate(model, Manuscript(model, prompt_ids, config, written=written), model.new_cache(), guard)


def _generate(
    model: LanguageModel, text: Manuscript, cache: Cache | None, guard: Guard | None
) -> Generator[tuple[TokenStep, Logits], None, None]:
    while True:
        unread = text.window if cache is None else text.window[cache.length :]
        logits = _forward(model, unread, cache, guard)
        (step,) = choose(logits, [text.config], [text.luck()], [text.index], [text.seen])
        step, moved = text.add(step)
        yield step, logits[0].numpy()  # outside of every lock: the reader may take his time, or never return
        if step.end:
            return
        if moved and cache is not None:
            cache.truncate(0)


def next_token_logits(
    model: LanguageModel, prompt_ids: Sequence[int], *, guard: Guard | None = None
) -> Tensor:
    """The model's scores for what may follow a prompt, to try temperature and filters on.  → (V,) float32"""
    text = Manuscript(model, prompt_ids, SamplingConfig())
    return _forward(model, text.window, None, guard)[0]


@torch.inference_mode()
def _forward(model: LanguageModel, ids: Sequence[int], cache: Cache | None, guard: Guard | None) -> Tensor:
    """One forward pass under the guard; the logits after the last token.  → (1, V)"""
    with guard or nullcontext():
        logits = model.next_logits(torch.tensor([ids], device=model.device), cache).float().cpu()  # (1, V)
    check_finite(logits)
    return logits
