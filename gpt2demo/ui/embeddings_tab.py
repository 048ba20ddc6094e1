"""The Embeddings tab: every token of the model in hand as a point, and what lies close to it."""

from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component

from gpt2demo.errors import check_range
from gpt2demo.inspection.embeddings import MAX_NEIGHBOURS, neighbours, token_embeddings
from gpt2demo.inspection.probe import find_tokens
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.ui.components import PlotlyPlot, SafeHTML, TokenStrip, select_line, strip_value, token_line
from gpt2demo.ui.embeddings_parts import Maps, found_lines, position_map, position_words, telling_token
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Page, Tab, said
from gpt2demo.ui.text import embeddings as words
from gpt2demo.ui.theme import section
from gpt2demo.ui.word2vec_part import Word2VecPart

MAP_HEIGHT, POSITIONS_HEIGHT = 560, 480
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}

Values = dict[Component, Any]


def build(page: Page) -> Tab:
    """Lays the tab out and wires it."""
    tab = EmbeddingsTab(page)
    return Tab(refresh=tab.refresh, inputs=[page.ref, *tab.choices], outputs=tab.outputs)


class EmbeddingsTab:
    """The tab's controls and what they do. `seen` is what one visitor sees: model, token, found tokens."""

    def __init__(self, page: Page) -> None:
        self.models = page.services.models
        self.maps = Maps(self.models)
        self.seen = gr.State({})
        self._layout()
        self.choices: list[Component] = [self.seen, self.colour, self.three, self.centred]
        self.outputs: list[Component] = [
            self.seen, self.intro, self.colour, self.found, self.map, self.caption, self.card, self.places,
            self.positions,
        ]  # fmt: skip
        self._wire(page)
        self.word2vec = Word2VecPart(page, self.maps, self.seen)

    def _layout(self) -> None:
        with gr.Row(elem_classes="gd-split-right"):
            with gr.Column():
                self.intro = SafeHTML(elem_id="embeddings-intro")
                with gr.Row(elem_classes="gd-search"):
                    self.query = gr.Textbox(
                        label=words.SEARCH_LABEL,
                        info=words.SEARCH_INFO,
                        max_lines=1,
                        elem_id="embeddings-search",
                    )
                    self.find = gr.Button(words.SEARCH, variant="primary", elem_id="embeddings-find")
                self.found = TokenStrip(
                    label=words.FOUND_LABEL,
                    placeholder=words.FOUND_NONE,
                    max_lines=3,
                    elem_id="embeddings-found",
                )
                with gr.Row(elem_classes="gd-full gd-cols"):
                    self.colour = gr.Radio(
                        [(name, key) for key, name in words.COLOURS.items()],
                        value="kind",
                        label=words.COLOUR_LABEL,
                        info=words.COLOUR_INFO,
                        elem_id="embeddings-colour",
                    )
                    self.three = gr.Checkbox(
                        label=words.THREE_LABEL, info=words.THREE_INFO, elem_id="embeddings-3d"
                    )
                self.map = PlotlyPlot(
                    label=words.MAP_LABEL,
                    placeholder=words.MAP_EMPTY,
                    height=MAP_HEIGHT,
                    click=True,
                    elem_id="embeddings-map",
                )
                self.caption = SafeHTML(elem_id="embeddings-caption")
            with gr.Column():
                self.card = SafeHTML(elem_id="embeddings-neighbours")
        with gr.Row(elem_classes="gd-panel gd-cols"):
            with gr.Column():
                SafeHTML(section(words.POSITIONS_TITLE, words.POSITIONS_HINT))
                self.places = SafeHTML(elem_id="embeddings-places")
                self.centred = gr.Checkbox(
                    label=words.CENTRED_LABEL,
                    info=words.CENTRED_INFO,
                    value=True,
                    elem_classes="gd-full",
                    elem_id="embeddings-centred",
                )
            with gr.Column():
                self.positions = PlotlyPlot(
                    label=words.POSITIONS_LABEL,
                    height=POSITIONS_HEIGHT,
                    elem_id="embeddings-positions",
                )

    def _wire(self, page: Page) -> None:
        chosen: list[Component] = [self.seen, self.found, self.map, self.card]
        now = [page.ref, *self.choices]
        gr.on([self.find.click, self.query.submit], self.search, [self.query, *now], chosen, **QUIET)
        self.found.token(self.choose_found, now, chosen, **QUIET)
        self.map.point(self.choose_point, now, chosen, **QUIET)
        self.colour.input(self.redraw, now, [self.map, self.caption], **QUIET)
        self.three.input(self.redraw, now, [self.map, self.caption], **QUIET)
        self.centred.input(self.redraw_positions, now, self.positions, **QUIET)
        offer(self.neighbours_of, "neighbours", concurrency_limit=4)

    @guarded
    def refresh(
        self, ref: str, seen: dict[str, Any], colour: str, three: bool, centred: bool
    ) -> tuple[Any, ...]:
        """The model in hand, with the token of before where it is the same model."""
        loaded = self.models.get(ModelRef.parse(ref))
        colours = self.maps.colours(loaded)
        colour = colour if colour in colours else "kind"
        values = self._chosen(loaded, seen, colour, three)
        values |= {
            self.intro: section(words.TITLE, words.INTRO.format(channels=loaded.model.wte.embedding_dim)),
            self.colour: gr.Radio([(words.COLOURS[key], key) for key in colours], value=colour),
            self.caption: self.maps.caption(loaded, _dimensions(three)),
            self.places: position_words(loaded.config),
            self.positions: position_map(loaded, bool(centred)),
        }
        return tuple(values[component] for component in self.outputs)

    @guarded
    def search(
        self, query: str, ref: str, seen: dict[str, Any], colour: str, three: bool, centred: bool
    ) -> tuple[Any, ...]:
        """Finds the tokens that were meant and chooses the first."""
        loaded = self.models.get(ModelRef.parse(ref))
        found = list(find_tokens(loaded.tokenizer, query))
        seen = self._of(loaded, seen) | {"token": found[0], "found": found}
        return tuple(self._chosen(loaded, seen, colour, three).values())

    @guarded
    def choose_found(
        self, ref: str, seen: dict[str, Any], colour: str, three: bool, centred: bool, event: gr.EventData
    ) -> tuple[Any, ...]:
        """Chooses one of the tokens that were found."""
        loaded = self.models.get(ModelRef.parse(ref))
        seen = self._of(loaded, seen)
        index = said(event, "index")
        check_range("The token's place", index, 0, len(seen["found"]) - 1, integer=True)
        seen = seen | {"token": seen["found"][int(index or 0)]}
        return tuple(self._chosen(loaded, seen, colour, three).values())

    @guarded
    def choose_point(
        self, ref: str, seen: dict[str, Any], colour: str, three: bool, centred: bool, event: gr.EventData
    ) -> tuple[Any, ...]:
        """Chooses the token whose point was clicked."""
        loaded = self.models.get(ModelRef.parse(ref))
        token = said(event, "customdata")
        check_range("The token", token, 0, loaded.config.vocab_size - 1, integer=True)
        seen = self._of(loaded, seen) | {"token": int(token or 0), "found": [int(token or 0)]}
        return tuple(self._chosen(loaded, seen, colour, three).values())

    @guarded
    def redraw(
        self, ref: str, seen: dict[str, Any], colour: str, three: bool, centred: bool
    ) -> tuple[Any, ...]:
        """The map in other colours or with another number of dimensions."""
        loaded = self.models.get(ModelRef.parse(ref))
        drawn = self._chosen(loaded, seen, colour, three)[self.map]
        return drawn, self.maps.caption(loaded, _dimensions(three))

    @guarded
    def redraw_positions(
        self, ref: str, seen: dict[str, Any], colour: str, three: bool, centred: bool
    ) -> str:
        """The map of the places, with or without their average."""
        return position_map(self.models.get(ModelRef.parse(ref)), bool(centred))

    @guarded
    def neighbours_of(self, model: str, token: str, count: int = 10) -> dict[str, Any]:
        """The tokens whose embeddings point most nearly the same way as that of a token.

        Args:
            model: "starter", "run:ID" for the newest weights of a run, or either with "@STEP" behind it.
            token: a word, with or without the space in front.
            count: how many neighbours.

        Returns:
            The token that was found, and its nearest neighbours with their cosines, nearest first.
        """
        check_range("count", count, 1, MAX_NEIGHBOURS, integer=True)
        loaded = self.models.get(ModelRef.parse(model))
        found = find_tokens(loaded.tokenizer, token)[0]
        glyphs = self.maps.vocabulary(loaded).glyphs
        nearest = neighbours(token_embeddings(loaded.model), found, int(count))
        return {
            "model": str(loaded.ref),
            "token": glyphs[found],
            "id": found,
            "neighbours": [
                {"token": glyphs[i], "id": i, "cosine": round(cosine, 4)} for i, cosine in nearest
            ],
        }

    def _of(self, loaded: LoadedModel, seen: dict[str, Any]) -> dict[str, Any]:
        """What this visitor sees of this model: the token of before, or one to begin with."""
        model = str(replace(loaded.ref, step=None))
        if seen.get("model") == model:
            return seen
        token = telling_token(loaded.tokenizer, self.maps.vocabulary(loaded).kinds)
        return {"model": model, "token": token, "found": [token]}

    def _chosen(self, loaded: LoadedModel, seen: dict[str, Any], colour: str, three: bool) -> Values:
        """The chosen token: in the strip, on the map, and with its neighbours, in the order of `chosen`."""
        seen = self._of(loaded, seen)
        token, found = seen["token"], seen["found"]
        card, marked = self.maps.card(loaded, token)
        lines = [token_line(glyph, data=data) for glyph, data in found_lines(loaded, found)]
        drawn = self.maps.token_map(
            loaded, colour=colour, dimensions=_dimensions(three), marked=marked, found=found
        )
        return {
            self.seen: seen,
            self.found: strip_value([*lines, select_line(found.index(token))]),
            self.map: drawn,
            self.card: card,
        }


def _dimensions(three: bool) -> int:
    return 3 if three is True else 2
