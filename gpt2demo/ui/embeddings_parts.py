"""What the Embeddings tab shows of a model: its map, one token with its neighbours, and its positions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2demo.figures.embeddings import MAX_POINTS, embedding_figure
from gpt2demo.figures.positions import position_figure
from gpt2demo.figures.text import percent
from gpt2demo.inspection.embeddings import (
    Basis,
    drift,
    extent,
    lengths,
    neighbours,
    pca,
    position_embeddings,
    position_similarity,
    token_embeddings,
    token_kind,
)
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.models import LoadedModel, ModelStore
from gpt2demo.text.display import display_token, display_tokens
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.ui.bars import Bar, bars
from gpt2demo.ui.components import plot_value
from gpt2demo.ui.escape import Safe, join, tag
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.own_text import OwnTexts
from gpt2demo.ui.text import embeddings as words
from gpt2demo.ui.theme import facts, hint, notice, section

NEIGHBOURS = 8
MARKED = 5  # of them on the map, where more labels would hide each other
FEWEST_DRAWN = 10  # with fewer tokens in the text, all are drawn
REMEMBERED = 32
TELLING = (
    " boy",
    " he",
    " she",
    " was",
    " said",
    " king",
    " day",
    " red",
)  # whose neighbours are plain to see
TELLING_KINDS = ("word start", "other script", "word part")


@dataclass(frozen=True, kw_only=True)
class Side:
    """From which side a model's tokens are looked at: fitted on its newest weights."""

    basis: Basis
    step: int
    frame: list[tuple[float, float]]  # from where to where the map reaches along each axis


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What is known of each token without looking at the model."""

    glyphs: list[str]
    kinds: list[str]


class Maps:
    """Computes maps, and remembers what all visitors of a model share."""

    def __init__(self, models: ModelStore) -> None:
        self.models = models
        self.texts = OwnTexts(models)
        self._sides: Memo[Side] = Memo(REMEMBERED)
        self._vocabularies: Memo[Vocabulary] = Memo(REMEMBERED)

    def side(self, loaded: LoadedModel, dimensions: int) -> Side:
        """The directions in which the newest tokens of this model differ most, kept for all its steps."""
        newest = self.models.get(replace(loaded.ref, step=None))

        def fit() -> Side:
            projection = pca(token_embeddings(newest.model)[self.drawn(newest)], dimensions)
            return Side(basis=projection.basis, step=newest.step, frame=extent(projection.points))

        return self._sides.get((newest.ref, dimensions), fit)

    def drawn(self, loaded: LoadedModel) -> NDArray[np.intp]:
        """The tokens that the map shows: those of the text, because the others have learned nothing."""
        counts = self.texts.counts(loaded)
        used = None if counts is None else counts.nonzero()[0]
        return np.arange(loaded.config.vocab_size) if used is None or len(used) < FEWEST_DRAWN else used

    def vocabulary(self, loaded: LoadedModel) -> Vocabulary:
        """How each token is drawn, and its kind."""

        def describe() -> Vocabulary:
            spelled = [loaded.tokenizer.token_bytes(i) for i in range(loaded.config.vocab_size)]
            return Vocabulary(
                glyphs=[display_token(data) for data in spelled], kinds=[token_kind(data) for data in spelled]
            )

        return self._vocabularies.get((loaded.ref.kind, loaded.ref.run_id), describe)

    def colours(self, loaded: LoadedModel) -> list[str]:
        """What the points can be coloured by: frequency needs the text, drift the weights of step 0."""
        missing = set()
        if self.texts.counts(loaded) is None:
            missing.add("frequency")
        if 0 not in self.models.steps(loaded.ref):
            missing.add("drift")
        return [name for name in words.COLOURS if name not in missing]

    def values(self, loaded: LoadedModel, colour: str) -> NDArray[Any] | None:
        """The number of each token that the colour tells; None for the kind, or where it is not known."""
        if colour == "norm":
            return lengths(token_embeddings(loaded.model))
        if colour == "frequency":
            return self.texts.counts(loaded)
        if colour == "drift" and 0 in self.models.steps(loaded.ref):
            first = self.models.get(replace(loaded.ref, step=0))
            return drift(token_embeddings(first.model), token_embeddings(loaded.model))
        return None

    def token_map(
        self,
        loaded: LoadedModel,
        *,
        colour: str,
        dimensions: int,
        marked: Sequence[int],
        found: Sequence[int],
    ) -> str:
        """All tokens as points. marked: the chosen token, its neighbours; found: all that a search gave."""
        side = self.side(loaded, dimensions)
        known = self.vocabulary(loaded)
        values = self.values(loaded, colour)
        others = [i for i in found if i not in marked]
        shown = [*self.drawn(loaded), *marked, *others]
        points = np.full((loaded.config.vocab_size, dimensions), np.nan, dtype=np.float32)
        points[shown] = side.basis.project(token_embeddings(loaded.model)[shown])
        figure = embedding_figure(
            points,
            known.glyphs,
            known.kinds,
            colour_by=colour if values is not None else "kind",
            values=values,
            explained=side.basis.explained.tolist() if side.step == loaded.step else None,
            highlight=[(i, known.glyphs[i]) for i in (*marked, *others)],
        )
        layout = figure["layout"]
        layout["uirevision"] = f"{replace(loaded.ref, step=None)} {dimensions}"
        axes = layout if dimensions == 2 else layout["scene"]
        axes["annotations"] = axes["annotations"][::-1]  # the chosen token's label lies on top
        for name, reach in zip(("xaxis", "yaxis", "zaxis"), side.frame, strict=False):
            axes[name]["range"] = list(reach)  # the same for all steps: one sees the tokens spread
        return plot_value(figure, name=f"token embeddings step {loaded.step}")

    def caption(self, loaded: LoadedModel, dimensions: int) -> Safe:
        """What the map shows, and what it does not."""
        side = self.side(loaded, dimensions)
        share = percent(float(side.basis.explained.sum()))
        vocabulary, channels = loaded.model.wte.weight.shape
        caveat = words.CAVEAT.format(channels=channels, dimensions=dimensions, share=share)
        several = len(self.models.steps(loaded.ref)) > 1
        part = words.PART.format(shown=MAX_POINTS, all=vocabulary) if vocabulary > MAX_POINTS else None
        unused = vocabulary - len(self.drawn(loaded))
        return join(
            hint(caveat),
            hint(words.SAME_SIDE.format(newest=side.step)) if several else None,
            hint(part) if part else None,
            hint(words.UNUSED.format(count=unused, all=vocabulary)) if unused else None,
        )

    def card(self, loaded: LoadedModel, token: int) -> tuple[Safe, list[int]]:
        """One token with its nearest neighbours. → what is shown, and the token with its neighbours"""
        known = self.vocabulary(loaded)
        matrix = token_embeddings(loaded.model)
        nearest = neighbours(matrix, token, NEIGHBOURS)
        rows = [Bar(known.glyphs[i], cosine, f"{cosine:.2f}") for i, cosine in nearest]
        counts = self.values(loaded, "frequency")
        moved = self.values(loaded, "drift")
        about = {
            "id": f"{token:,}",
            "kind": known.kinds[token],
            "bytes": loaded.tokenizer.token_bytes(token).hex(" "),
            "count": None if counts is None else f"{int(counts[token]):,}",
            "norm": f"{float(lengths(matrix[token])):.2f}",
            "drift": None if moved is None else f"{float(moved[token]):.2f}",
        }
        title = words.NEIGHBOURS_TITLE.format(token=known.glyphs[token])
        shown = join(
            section(title, words.NEIGHBOURS_HINT),
            bars(rows, caption=words.NEIGHBOURS_CAPTION),
            tag("h3", words.FACTS_LABEL),
            facts((words.FACTS[name], value) for name, value in about.items() if value is not None),
        )
        return shown, [token, *(i for i, _ in nearest[:MARKED])]


def telling_token(tokenizer: Tokenizer, kinds: Sequence[str]) -> int:
    """A token to begin with: a common word whose neighbours are plain to see, or else any word."""
    for word in TELLING:
        if not tokenizer.unknown(word) and len(ids := tokenizer.encode(word)) == 1:
            return ids[0]
    for kind in TELLING_KINDS:
        if kind in kinds:
            return kinds.index(kind)
    return 0


def position_map(loaded: LoadedModel, centred: bool) -> str:
    """How alike the model finds any two places; "" for a model without a table of them."""
    if _why_no_positions(loaded.config):
        return ""
    figure = position_figure(position_similarity(position_embeddings(loaded.model), centred=centred))
    return plot_value(figure, name=f"position embeddings step {loaded.step}")


def position_words(config: GPT2Config) -> Safe:
    """What to look for in the map of the places, or why there is none."""
    if why := _why_no_positions(config):
        return notice(f"{words.NO_POSITIONS} {why}")
    lines = [tag("li", line) for line in words.POSITIONS_WORDS]
    return join(section(words.POSITIONS_LOOK, level=3), tag("ul", *lines, class_="gd-look-for"))


def _why_no_positions(config: GPT2Config) -> str:
    kind = config.positions if config.architecture == "gpt2" else config.architecture
    return words.WHY_NO_POSITIONS.get(kind, "")


def found_lines(loaded: LoadedModel, ids: Sequence[int]) -> list[tuple[str, bytes]]:
    """The tokens that a search found, as they are drawn and exactly."""
    exact = [loaded.tokenizer.token_bytes(i) for i in ids]
    return list(zip(display_tokens(loaded.tokenizer, ids), exact, strict=True))
