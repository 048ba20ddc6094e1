"""The texts of one session side by side: samples of one prompt, and branches of one text."""

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from gpt2demo.errors import LimitError
from gpt2demo.text.display import display_token
from gpt2demo.ui.components import column_line, in_column, select_line, strip_start
from gpt2demo.ui.generate_draft import Draft, forgetting, selection, stopped
from gpt2demo.ui.text import generate as words

COLUMNS = 4


@dataclass
class Turn:
    """What a session wants from whoever writes in it: "write" on, "stop" and keep it, or "leave"."""

    wanted: str = "write"


@dataclass(frozen=True, kw_only=True)
class Spot:
    """The text in hand, and the token of it that the panel shows."""

    column: int = 0
    step: int | None = None  # negative for the prompt's tokens, counted from its end; None for no token


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One to four texts side by side. Every change is a new Sheet; `strip` only grows until it is redrawn."""

    drafts: tuple[Draft, ...]
    strip: str = ""  # the value of the component that shows them

    def at(self, spot: Spot | None) -> Draft | None:
        """The text in hand."""
        column = spot.column if spot is not None else 0
        return self.drafts[column] if 0 <= column < len(self.drafts) else None

    @property
    def share(self) -> int:
        """Among how many texts the room for scores is divided."""
        return len(self.drafts)

    def grown(self, columns: Sequence[int], drafts: Sequence[Draft]) -> "Sheet":
        """The same sheet, in which some texts have grown at their end."""
        texts = list(self.drafts)
        lines = []
        for column, draft in zip(columns, drafts, strict=True):
            lines.append(in_column(column, draft.strip[len(texts[column].strip) :]))
            texts[column] = draft
        return replace(self, drafts=tuple(texts), strip=self.strip + "".join(lines))

    def marked(self, spot: Spot) -> "Sheet":
        """The same sheet with the token marked whose road the panel shows."""
        draft = self.at(spot)
        line = select_line(None) if draft is None else selection(draft, spot.step)
        return replace(self, strip=self.strip + in_column(spot.column, line))


def lay_out(drafts: Sequence[Draft], pins: Collection[str] = ()) -> Sheet:
    """Texts side by side, drawn from the beginning; one that was left in the middle counts as stopped.

    pins: the keys of those that are to stay.
    """
    texts = tuple(forgetting(stopped(draft), len(drafts)) for draft in drafts)
    lines = [strip_start()]
    for column, draft in enumerate(texts):
        lines.append(in_column(column, column_line(title(draft), pinned=draft.key in pins)))
        lines.append(in_column(column, draft.strip[draft.strip.index("\n") + 1 :]))
    return Sheet(drafts=texts, strip="".join(lines))


def title(draft: Draft) -> str:
    """What stands above a text when there are several."""
    if draft.found is not None:
        return words.beam(draft.found.place, draft.found.logprob)
    if draft.branched is None:
        return words.sample(draft.seed)
    token = display_token(draft.tokenizer.token_bytes(draft.steps[draft.branched].id), 24)
    return words.branch(draft.branched, token)


def start(old: Sheet | None, new: Sequence[Draft], pins: Collection[str]) -> tuple[Sheet, list[int]]:
    """New texts beside those that were pinned. → the sheet, and the columns of the new ones

    Raises LimitError when these are too many.
    """
    kept = [draft for draft in (old.drafts if old else ()) if draft.key in pins]
    if len(kept) + len(new) > COLUMNS:
        raise LimitError(
            f"{len(kept)} kept and {len(new)} new texts would stand side by side.",
            f"There is room for {COLUMNS}.",
            f"Let one go (press “{words.KEEP}” above it again), or write fewer samples.",
        )
    sheet = lay_out([*kept, *new], pins)
    return sheet, list(range(len(kept), len(sheet.drafts)))


def add_branch(
    sheet: Sheet, parent: int, branch: Draft, pins: Collection[str]
) -> tuple[Sheet, int, Draft | None]:
    """A branch beside the other texts. → the sheet, the branch's column, and the text that had to go for it

    When there is no room the oldest that is not pinned goes, the one it was taken from last. Raises
    LimitError when all are pinned.
    """
    texts = list(sheet.drafts)
    gone = None
    if len(texts) >= COLUMNS:
        loose = [draft for draft in texts if draft.key not in pins]
        if not loose:
            raise LimitError(
                "All four texts are kept.",
                "A branch needs a place.",
                f"Let one of them go: press “{words.KEEP}” above it again.",
            )
        others = [draft for draft in loose if draft is not texts[parent]]
        gone = (others or loose)[0]
        texts = [draft for draft in texts if draft is not gone]
    drawn = lay_out([*texts, branch], pins)
    return drawn, len(texts), gone


def grow(
    sheet: Sheet, columns: list[int], growing: Generator[tuple[Draft, ...], None, None], turn: Turn
) -> Generator[Sheet, None, None]:
    """The sheet with what has come in some of its columns, until all is there or a person stops it."""
    with closing(growing):
        for texts in growing:
            stop = turn.wanted == "stop"
            sheet = sheet.grown(columns, tuple(map(stopped, texts)) if stop else texts)
            yield sheet
            if stop:
                return
