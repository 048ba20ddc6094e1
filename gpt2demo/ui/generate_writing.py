"""Texts that grow: what an engine writes, taken in a few times a second, for the page and for programs."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any, Generic

from gpt2demo.errors import UserError
from gpt2demo.generation.beams import BeamStep
from gpt2demo.generation.records import Written
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import stop_watch
from gpt2demo.generation.streams import Item, Place
from gpt2demo.runs.models import LoadedModel
from gpt2demo.ui.components import status_line
from gpt2demo.ui.generate_draft import Draft, added, ended, facts_line, failed, flow_after, step_line
from gpt2demo.ui.text import generate as words

YIELD_SECONDS = 0.14  # so seldom each visitor gets what is new ...
CROWD = 10  # ... and more seldom where more than so many write: messages cost the server as much as tokens
SELDOM_SECONDS = 0.5
WAITING_SECONDS = 0.5  # and while the text waits for its turn
LOOK_SECONDS = 1.0  # so often is looked whether the model still exists
SPEED_TOKENS = 5  # of fewer no speed is told


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A text that is to be written."""

    prompt_ids: Sequence[int]
    rules: SamplingConfig
    written: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Growth(Generic[Item]):
    """What has come since the last time."""

    new: tuple[tuple[Item, ...], ...]  # of each text
    over: tuple[bool, ...]  # whether nothing more will come
    problems: tuple[UserError | None, ...]  # why a text ended before its time
    ahead: int  # how many texts of others wait before these; 0 when it is their turn
    seconds: float  # since it was their turn


def follow(
    loaded: LoadedModel,
    asked: Sequence[Asked],
    *,
    precision: str = "fp32",
    with_logits: bool = False,
    there: Callable[[], object] = lambda: None,
) -> Generator[Growth[Written], None, None]:
    """Has texts written side by side; when it is closed, their places are free at the next token.

    there: raises a UserError when the model is gone; what is written by then stays. Raises BusyError.
    """
    engine = loaded.engine(precision)
    with ExitStack() as places:
        streams = [
            places.enter_context(
                engine.write(
                    text.prompt_ids,
                    text.rules,
                    written=text.written,
                    stops=stop_watch(loaded.tokenizer, text.rules),
                    with_logits=with_logits,
                )
            )
            for text in asked
        ]
        yield from _taken(streams, there)


def follow_search(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    *,
    beams: Any,
    max_new_tokens: int,
    precision: str = "fp32",
    there: Callable[[], object] = lambda: None,
) -> Generator[Growth[BeamStep], None, None]:
    """Has a beam search made; the rest as for `follow`. Raises LimitError for numbers out of range."""
    engine = loaded.engine(precision)
    with engine.search(prompt_ids, beams=beams, max_new_tokens=max_new_tokens) as search:
        yield from _taken([search], there)


def _taken(
    streams: Sequence[Place[Item]], there: Callable[[], object]
) -> Generator[Growth[Item], None, None]:
    going = list(range(len(streams)))
    count = 0
    began = looked = time.monotonic()
    ahead = streams[0].ahead
    while going:
        new: list[tuple[Item, ...]] = [()] * len(streams)
        problems: list[UserError | None] = [None] * len(streams)
        crowded = min(SELDOM_SECONDS, YIELD_SECONDS * max(1.0, streams[0].company / CROWD))
        pause = WAITING_SECONDS if ahead else crowded
        for i in list(going):
            try:
                new[i] = tuple(streams[i].take(pause))
            except UserError as error:
                problems[i] = error
            if problems[i] or streams[i].over:
                going.remove(i)
            pause = 0.0
        count += sum(map(len, new))
        ahead = 0 if count else streams[0].ahead
        now = time.monotonic()
        if ahead:
            began = now
        if going and now - looked > LOOK_SECONDS:
            looked = now
            try:
                there()
            except UserError as error:
                problems = [error if i in going else problem for i, problem in enumerate(problems)]
                going = []
        over = tuple(i not in going for i in range(len(streams)))
        yield Growth(
            new=tuple(new),
            over=over,
            problems=tuple(problems),
            ahead=ahead,
            seconds=max(now - began, 1e-6),
        )


def write(
    drafts: Sequence[Draft],
    loaded: LoadedModel,
    *,
    share: int = 1,
    seconds: float = math.inf,
    there: Callable[[], object] = lambda: None,
) -> Generator[tuple[Draft, ...], None, None]:
    """Lets the model write on in all drafts, each by its own rules; yields them as they have grown.

    share: among how many texts the room for scores is divided. seconds: stops after so long. After a bug the
    texts say so too, before its exception goes on to who tells of it.
    """
    growing = [_Growing(draft) for draft in drafts]
    yield tuple(one.draft for one in growing)
    started = time.monotonic()
    asked = [Asked(prompt_ids=d.prompt.ids, rules=d.rules, written=d.written) for d in drafts]
    following = follow(loaded, asked, precision=drafts[0].precision, with_logits=True, there=there)
    with closing(following):
        try:
            for grown in following:
                late = time.monotonic() - started > seconds
                for i, one in enumerate(growing):
                    one.add(grown, i, share=share, late=late)
                yield tuple(one.draft for one in growing)
                if late:
                    return
        except UserError as problem:  # too many wait
            yield tuple(ended(one.draft, "stopped", str(problem)) for one in growing)
        except Exception:
            yield tuple(failed(one.draft) for one in growing)
            raise


class _Growing:
    """One draft on its way."""

    def __init__(self, draft: Draft) -> None:
        self.draft = replace(added(draft, [], status_line("running", words.WRITING)), finished=False)
        self._flow = flow_after(draft)
        self._count = 0
        self._status = ""

    def add(self, grown: Growth[Written], i: int, *, share: int, late: bool) -> None:
        """Takes in what came for text `i`. late: it ends here, as nobody wants to wait for more."""
        if self.draft.finished:
            return
        self._count += len(grown.new[i])
        speed = self._count / grown.seconds if self._count >= SPEED_TOKENS else None
        lines = [step_line(self.draft.tokenizer, step, self._flow) for step, _ in grown.new[i]]
        over = grown.over[i] or late
        if not over:
            lines.append(self._how_it_goes(grown, i, speed))
        self.draft = added(self.draft, grown.new[i], "".join(lines), share=share)
        if over:
            self.draft = _last_words(self.draft, grown.problems[i], speed)

    def _how_it_goes(self, grown: Growth[Written], i: int, speed: float | None) -> str:
        """A status line; "" where it has nothing new to say."""
        status = self._status
        if grown.ahead:
            status = status_line("waiting", words.ahead(grown.ahead))
        elif grown.new[i]:
            status = status_line("running", words.writing(self._count, speed))
        known, self._status = self._status, status
        return "" if status == known else status


def _last_words(draft: Draft, problem: UserError | None, speed: float | None) -> Draft:
    """The end of a text: who wrote it, or what went wrong and that all written so far stays."""
    if problem is not None:
        return ended(draft, "stopped", words.broken_off(str(problem)))
    return ended(draft, "done", facts_line(draft, speed))
