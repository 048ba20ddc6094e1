"""The text that a model was trained on, where it is at hand: its beginning, and how often tokens occur."""

import numpy as np
from numpy.typing import NDArray

from gpt2demo.errors import UserError
from gpt2demo.inspection.probe import token_counts
from gpt2demo.runs.models import LoadedModel, ModelStore
from gpt2demo.ui.memo import Memo

BEGINNING = 1_000  # characters
REMEMBERED = 32


class OwnTexts:
    """Reads a run's text at most once. A model without one (its file is gone) has "" and None."""

    def __init__(self, models: ModelStore) -> None:
        self.models = models
        self._beginnings: Memo[str] = Memo(REMEMBERED)
        self._counts: Memo[NDArray[np.int64] | None] = Memo(REMEMBERED)

    def beginning(self, loaded: LoadedModel) -> str:
        """The first lines of the text."""

        def read() -> str:
            try:
                return self.models.folder(loaded.ref).corpus().texts[0][:BEGINNING].strip()
            except UserError:
                return ""

        return self._beginnings.get((loaded.ref.kind, loaded.ref.run_id), read)

    def counts(self, loaded: LoadedModel) -> NDArray[np.int64] | None:
        """How often each token of the model occurs in the text."""

        def count() -> NDArray[np.int64] | None:
            try:
                return token_counts(loaded.tokenizer, self.models.folder(loaded.ref).corpus())
            except UserError:
                return None

        return self._counts.get((loaded.ref.kind, loaded.ref.run_id), count)

    def tokens(self, loaded: LoadedModel) -> NDArray[np.int64] | None:
        """The ids of the tokens that occur in the text: those that the model has been trained on."""
        counts = self.counts(loaded)
        return None if counts is None else np.flatnonzero(counts)
