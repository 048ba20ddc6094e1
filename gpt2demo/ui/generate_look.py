"""Looking at a text: a click on a token, sliders that move, another token chosen, a text taken away."""

from typing import Any

import gradio as gr

from gpt2demo.errors import LimitError, TextError
from gpt2demo.ui.generate_draft import Draft
from gpt2demo.ui.generate_file import as_json
from gpt2demo.ui.generate_panel import PANEL_PARTS, clicked_alternative, panel
from gpt2demo.ui.generate_settings import rules_of
from gpt2demo.ui.generate_sheet import Sheet, Spot
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import said
from gpt2demo.ui.text import generate as words


class Look:
    """Handlers that never run a model: all they need is stored with the texts."""

    @guarded
    def look_at(self, sheet: Sheet | None, spot: Spot, event: gr.EventData, *rules: Any) -> tuple[Any, ...]:
        """The road of a token that was clicked."""
        column, place = said(event, "column"), said(event, "index")
        draft = _text_at(sheet, column)
        if not isinstance(place, int) or not 0 <= place < draft.lead + len(draft.steps):
            raise _put_away()
        spot = Spot(column=column, step=place - draft.lead)
        return (spot, *panel(draft, spot.step, rules_of(rules)))

    @guarded
    def pin(self, sheet: Sheet | None, pins: frozenset[str], event: gr.EventData) -> frozenset[str]:
        """A text is to stay when others are written, or need not any more."""
        column = said(event, "column")
        draft = _text_at(sheet, column)
        there = {text.key for text in (sheet.drafts if sheet else ())}
        pins = pins & there  # those of texts that are gone are forgotten
        return pins | {draft.key} if said(event, "pinned") is True else pins - {draft.key}

    @guarded
    def redraw(self, sheet: Sheet | None, spot: Spot, *rules: Any) -> tuple[Any, ...]:
        """The same token with other settings, from the stored scores; unchanged while a number is typed."""
        try:
            return panel(sheet.at(spot) if sheet else None, spot.step, rules_of(rules))
        except LimitError:
            return (gr.skip(),) * PANEL_PARTS

    @guarded
    def choose_bar(self, sheet: Sheet | None, spot: Spot, event: gr.EventData, *rules: Any) -> Any:
        """A click on a bar chooses its token as the one to continue with."""
        draft = sheet.at(spot) if sheet else None
        found = clicked_alternative(draft, spot.step, rules_of(rules), said(event, "y"))
        return gr.skip() if found is None else found

    @guarded
    def plain_text(self, sheet: Sheet | None, spot: Spot) -> str:
        """The text in hand, to be copied or saved."""
        return _text_at(sheet, spot.column).text

    @guarded
    def whole_sheet(self, sheet: Sheet | None, spot: Spot) -> str:
        """All texts with everything that is known about their tokens, as JSON."""
        if sheet is None:
            raise _put_away()
        return as_json(sheet.drafts)


def _text_at(sheet: Sheet | None, column: object) -> Draft:
    """The text in a column. Raises TextError when it is not there any more."""
    draft = sheet.at(Spot(column=column)) if sheet is not None and isinstance(column, int) else None
    if draft is None:
        raise _put_away()
    return draft


def _put_away() -> TextError:
    return TextError(words.PUT_AWAY, "", "Press Generate to write it anew.")
