"""Beam search on the page: the likeliest texts are followed out of sight, and shown when they are found."""

import secrets
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from dataclasses import replace

from gpt2demo.errors import UserError
from gpt2demo.generation.beams import Beam, BeamStep
from gpt2demo.runs.models import LoadedModel
from gpt2demo.ui.components import status_line
from gpt2demo.ui.generate_draft import Draft, Found, added, drawn, ended, facts_line, failed
from gpt2demo.ui.generate_sheet import COLUMNS, Sheet, Turn, lay_out
from gpt2demo.ui.generate_writing import SPEED_TOKENS, Growth, follow_search
from gpt2demo.ui.text import generate as words


def search(
    sheet: Sheet,
    column: int,
    loaded: LoadedModel,
    *,
    beams: int,
    turn: Turn,
    pins: Collection[str],
    there: Callable[[], object] = lambda: None,
) -> Generator[Sheet, None, None]:
    """Looks for the likeliest texts after the prompt in the last column; yields the sheet as it changes.

    While the search goes on only its progress is told, because the texts change from their beginning. At last
    the likeliest stand there, as many as there is room for; also when a person or a problem has ended it.
    """
    draft = sheet.drafts[column]
    growing = _growing(draft, loaded, beams=beams, turn=turn, there=there)
    with closing(growing):
        for texts in growing:
            if not texts[0].finished:
                sheet = sheet.grown([column], texts)
            else:
                sheet = lay_out([*sheet.drafts[:column], *texts[: COLUMNS - column]], pins)
            yield sheet


def _growing(
    draft: Draft, loaded: LoadedModel, *, beams: int, turn: Turn, there: Callable[[], object]
) -> Generator[tuple[Draft, ...], None, None]:
    """The draft with a line about how it goes, again and again; at last the texts that were found."""
    start = draft
    draft = replace(draft, finished=False)
    newest: BeamStep | None = None
    following = follow_search(
        loaded,
        draft.prompt.ids,
        beams=beams,
        max_new_tokens=int(draft.rules.max_new_tokens),
        precision=draft.precision,
        there=there,
    )
    try:
        draft = _told(draft, "running", words.following(beams, 0, None))
        yield (draft,)
        with closing(following):
            for grown in following:
                newest = grown.new[0][-1] if grown.new[0] else newest
                speed = _speed(grown, newest)
                if grown.problems[0] is not None:
                    yield _found(start, newest, speed, "stopped", words.broken_off(str(grown.problems[0])))
                elif turn.wanted == "stop":
                    yield _found(start, newest, speed, "stopped", words.STOPPED)
                    return
                elif grown.over[0]:
                    yield _found(start, newest, speed, "done")
                elif grown.ahead:
                    draft = _told(draft, "waiting", words.ahead(grown.ahead))
                    yield (draft,)
                elif newest is not None:
                    draft = _told(draft, "running", words.following(beams, newest.index + 1, speed))
                    yield (draft,)
    except UserError as problem:  # too many wait, or there is no room for so many beams
        yield (ended(draft, "stopped", str(problem)),)
    except Exception:
        yield (failed(draft),) if newest is None else _found(start, newest, None, "failed", words.FAILED)
        raise


def _told(draft: Draft, status: str, sentence: str) -> Draft:
    """The draft with a new line about how it goes."""
    return added(draft, [], status_line(status, sentence))


def _speed(grown: Growth[BeamStep], newest: BeamStep | None) -> float | None:
    """Tokens per second of each text; None as long as there are too few to tell."""
    if newest is None or newest.index < SPEED_TOKENS:
        return None
    return (newest.index + 1) / grown.seconds


def _found(
    start: Draft, newest: BeamStep | None, speed: float | None, status: str, why: str = ""
) -> tuple[Draft, ...]:
    """The texts of a search as drafts, the likeliest first. why: what ended it before its time."""
    if newest is None:
        return (ended(start, status, why),)
    texts = []
    for place, beam in enumerate(newest.beams, start=1):
        text = _as_draft(start, beam, Found(beams=len(newest.beams), place=place, logprob=beam.logprob))
        texts.append(ended(text, status, f"{why} {facts_line(text, speed)}".strip()))
    return tuple(texts)


def _as_draft(start: Draft, beam: Beam, found: Found) -> Draft:
    return drawn(
        replace(
            start,
            steps=tuple(step for step, _ in beam.written),
            logits=tuple(scores for _, scores in beam.written),
            found=found,
            key=secrets.token_hex(4),
        )
    )
