"""The word2vec panel of the Embeddings tab: what came before, from the same text, beside GPT-2's own."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from gpt2demo.figures.embeddings import embedding_figure
from gpt2demo.figures.text import percent
from gpt2demo.inspection.embeddings import neighbours, pca
from gpt2demo.inspection.word2vec import Word2VecStep
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.runs.word_vectors import WordVectors
from gpt2demo.ui.bars import Bar, bars
from gpt2demo.ui.components import PlotlyPlot, SafeHTML, plot_value
from gpt2demo.ui.embeddings_parts import MARKED, NEIGHBOURS, Maps
from gpt2demo.ui.escape import Safe, join
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Page
from gpt2demo.ui.text import word2vec as words
from gpt2demo.ui.theme import hint, section

HEIGHT = 480
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


class Word2VecPart:
    """A button, then a map and the neighbours of the token that is chosen above."""

    def __init__(self, page: Page, maps: Maps, seen: gr.State) -> None:
        """seen: what the tab shows, with the chosen token under "token"."""
        self.maps = maps
        self.models = page.services.models
        self.vectors = WordVectors(self.models)
        with gr.Row(elem_classes="gd-panel gd-split-right", elem_id="word2vec"):
            with gr.Column():
                SafeHTML(section(words.TITLE, words.HINT))
                with gr.Row(elem_classes="gd-actions"):
                    self.learn = gr.Button(words.LEARN, elem_id="word2vec-learn")
                self.note = SafeHTML(hint(words.LEARN_INFO), elem_id="word2vec-note")
                self.map = PlotlyPlot(label=words.MAP_LABEL, height=HEIGHT, elem_id="word2vec-map")
            with gr.Column():
                self.card = SafeHTML(elem_id="word2vec-neighbours")
        shown = [self.note, self.map, self.card]
        self.learn.click(self.train, [page.ref, seen], shown, **QUIET)
        seen.change(self.follow, [page.ref, seen], shown, **QUIET)

    @guarded
    def train(self, ref: str, seen: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Learns the vectors, telling how far it is, then shows them."""
        loaded = self.models.get(ModelRef.parse(ref))
        said = ""
        for step in self.vectors.learn(loaded):
            if step is None or step.vectors is None:
                now = self._going(step)
                if now != said:
                    said = now
                    yield hint(said), gr.skip(), gr.skip()
            else:
                yield self._shown(loaded, step, seen)

    @guarded
    def follow(self, ref: str, seen: dict[str, Any]) -> tuple[Any, ...]:
        """Another token or another model: what is known of it."""
        loaded = self.models.get(ModelRef.parse(ref))
        step = self.vectors.known(loaded)
        return (hint(words.LEARN_INFO), "", "") if step is None else self._shown(loaded, step, seen)

    def _going(self, step: Word2VecStep | None) -> str:
        if step is None:
            return words.WAITING
        return words.GOING.format(done=step.pairs / 1e6, all=self._pairs, loss=step.loss)

    @property
    def _pairs(self) -> float:
        """How many pairs are learnt from, in millions."""
        return self.vectors.config.pairs / 1e6

    def _shown(self, loaded: LoadedModel, step: Word2VecStep, seen: dict[str, Any]) -> tuple[Any, ...]:
        """→ what was learnt in a sentence, the map, the neighbours of the chosen token"""
        assert step.vectors is not None
        known = self.maps.vocabulary(loaded)
        token = int(seen.get("token", 0)) if isinstance(seen, dict) else 0
        nearest = neighbours(step.vectors, token, NEIGHBOURS) if step.vectors[token].any() else []
        marked = [token, *(i for i, _ in nearest[:MARKED])] if nearest else []
        drawn = step.vectors.any(axis=1).nonzero()[0]
        projection = pca(step.vectors[drawn], 2)
        points = np.full((len(step.vectors), 2), np.nan, dtype=np.float32)
        points[drawn] = projection.points
        figure = embedding_figure(
            points,
            known.glyphs,
            known.kinds,
            explained=projection.explained.tolist(),
            highlight=[(i, known.glyphs[i]) for i in marked],
        )
        figure["layout"]["uirevision"] = f"word2vec {loaded.ref.kind} {loaded.ref.run_id}"
        told = words.LEARNT.format(
            all=self._pairs,
            dimensions=step.vectors.shape[1],
            loss=step.loss,
            share=percent(float(projection.explained.sum())),
        )
        return hint(told), plot_value(figure, name="word2vec"), _card(known.glyphs, token, nearest)


def _card(glyphs: list[str], token: int, nearest: list[tuple[int, float]]) -> Safe:
    """The neighbours of a token, or why there are none."""
    title = words.NEIGHBOURS_TITLE.format(token=glyphs[token])
    if not nearest:
        return join(section(title, level=3), hint(words.NOT_IN_TEXT))
    rows = [Bar(glyphs[i], cosine, f"{cosine:.2f}") for i, cosine in nearest]
    return join(section(title, words.NEIGHBOURS_HINT, level=3), bars(rows, caption=words.NEIGHBOURS_CAPTION))
