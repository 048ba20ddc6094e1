"""Maps of embeddings and positions: each token at its place, named exactly, and honest about gaps."""

import html
from typing import Any

import numpy as np
import pytest

from gpt2demo.figures.colours import TOKEN_KINDS
from gpt2demo.figures.embeddings import MAX_POINTS, embedding_figure
from gpt2demo.figures.positions import MAX_POSITIONS, position_figure
from tests.figures.read_figure import HOSTILE, named, numbers, sent, size, strings

POINTS = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
SOLID = [[0.0, 1.0, 9.0], [2.0, 3.0, 8.0], [4.0, 5.0, 7.0]]
TOKENS = ["·the", "ing", "·the"]
KINDS = ["word start", "word part", "word start"]


def drawn(trace: dict[str, Any]) -> list[tuple[int, str, float, float]]:
    """(id, token, x, y) of each point of a trace."""
    columns = (numbers(trace["customdata"]), trace["text"], numbers(trace["x"]), numbers(trace["y"]))
    return [(int(i), t, float(x), float(y)) for i, t, x, y in zip(*columns, strict=True)]


def test_every_token_is_at_its_place_with_its_id_and_equal_tokens_stay_two() -> None:
    figure = sent(embedding_figure(POINTS, TOKENS, KINDS))
    assert drawn(named(figure, "word start")) == [(0, "·the", 0.0, 1.0), (2, "·the", 4.0, 5.0)]
    assert drawn(named(figure, "word part")) == [(1, "ing", 2.0, 3.0)]
    assert {trace["type"] for trace in figure["data"]} == {"scattergl"}


def test_three_dimensions_can_be_turned() -> None:
    figure = sent(embedding_figure(SOLID, TOKENS, KINDS, explained=[0.5, 0.25, 0.125]))
    trace = named(figure, "word start")
    assert trace["type"] == "scatter3d"
    assert numbers(trace["z"]).tolist() == [9.0, 7.0]
    scene = figure["layout"]["scene"]
    assert [scene[a]["title"]["text"] for a in ("xaxis", "yaxis", "zaxis")] == [
        "PC 1 (50.0 % of variance)",
        "PC 2 (25.0 % of variance)",
        "PC 3 (12.5 % of variance)",
    ]


def test_axes_say_how_much_of_the_variance_they_show() -> None:
    layout = embedding_figure(POINTS, TOKENS, KINDS, explained=[0.123, 0.08])["layout"]
    assert layout["xaxis"]["title"]["text"] == "PC 1 (12.3 % of variance)"
    assert layout["yaxis"]["title"]["text"] == "PC 2 (8.0 % of variance)"
    assert layout["yaxis"]["scaleanchor"] == "x"
    unknown = embedding_figure(POINTS, TOKENS, KINDS)["layout"]
    assert unknown["xaxis"]["title"]["text"] == "dimension 1"


def test_kinds_have_their_colour_and_their_symbol() -> None:
    marker = named(embedding_figure(POINTS, TOKENS, KINDS), "word part")["marker"]
    assert (marker["color"], marker["symbol"]) == ("#0E7490", "square")
    assert {m.symbol for m in TOKEN_KINDS.values()} <= {
        "circle", "circle-open", "cross", "diamond", "diamond-open", "square", "square-open", "x",
    }  # fmt: skip  # what scatter3d has


@pytest.mark.parametrize(
    ("colour_by", "title", "hover"),
    [
        ("norm", "length of the vector", "word part, vector length 20.000"),
        ("drift", "distance moved in training", "word part, moved by 20.000"),
        ("frequency", "times in the training text", "word part, 20 times in the text"),
    ],
)
def test_amounts_have_a_titled_colour_bar_and_their_number_on_hover(
    colour_by: str, title: str, hover: str
) -> None:
    figure = sent(embedding_figure(POINTS, TOKENS, KINDS, colour_by=colour_by, values=[0, 20, 9999]))
    trace = named(figure, "tokens")
    assert trace["marker"]["colorbar"]["title"]["text"] == title
    assert trace["hovertext"][1] == hover
    shade = numbers(trace["marker"]["color"])
    expected = np.log10([1, 21, 10000]) if colour_by == "frequency" else [0, 20, 9999]
    assert shade == pytest.approx(expected)


def test_the_frequency_bar_is_labelled_with_counts_at_their_place() -> None:
    figure = sent(embedding_figure(POINTS, TOKENS, KINDS, colour_by="frequency", values=[0, 9, 100]))
    bar = named(figure, "tokens")["marker"]["colorbar"]
    assert bar["ticktext"] == ["0", "1", "10", "100"]
    assert bar["tickvals"] == pytest.approx(np.log10([1, 2, 11, 101]))


def test_the_searched_token_and_its_neighbours_stand_out_in_2d_and_3d() -> None:
    for points, star in ((POINTS, "star"), (SOLID, "diamond")):
        figure = sent(embedding_figure(points, TOKENS, KINDS, highlight=[(2, "·the"), (1, "ing 0.91")]))
        trace = named(figure, "searched token and its neighbours")
        assert drawn(trace) == [(2, "·the", 4.0, 5.0), (1, "ing", 2.0, 3.0)]
        assert trace["marker"]["symbol"] == [star, "circle-open"]
        assert named(figure, "word start")["marker"]["opacity"] < 0.5 < trace["marker"]["opacity"]
        notes = (figure["layout"] if len(points[0]) == 2 else figure["layout"]["scene"])["annotations"]
        assert [(n["x"], n["y"], n["text"]) for n in notes] == [(4.0, 5.0, "·the"), (2.0, 3.0, "ing 0.91")]


def test_labels_of_points_that_touch_stand_apart_and_lines_lead_to_those_farther_off() -> None:
    count = 9
    points = np.zeros((count, 2)) + [[3.0, 2.0]]
    points[-1] = [-3.0, -2.0]
    tokens = [f"token{i}" for i in range(count)]
    figure = sent(embedding_figure(points, tokens, ["byte"] * count, highlight=list(enumerate(tokens))))
    labels = figure["layout"]["annotations"]
    places = {(one["xanchor"], one["yanchor"], one.get("yshift"), one.get("ay")) for one in labels[:-1]}
    assert len(places) == count - 1, "eight labels of one point, no two at the same place"
    assert [one["showarrow"] for one in labels] == [False] * 4 + [True] * 4 + [False]
    assert labels[0]["yanchor"] == labels[-1]["yanchor"] == "bottom", "where nothing is in the way"


def test_hostile_tokens_are_drawn_and_not_obeyed() -> None:
    count = len(HOSTILE)
    points = np.arange(count * 2).reshape(count, 2)
    marked = [(i, token) for i, token in enumerate(HOSTILE)]
    by_kind = sent(embedding_figure(points, HOSTILE, ["byte"] * count, highlight=marked))
    by_norm = sent(embedding_figure(points, HOSTILE, HOSTILE, colour_by="norm", values=range(count)))
    texts = [*named(by_kind, "byte")["text"], *(n["text"] for n in by_kind["layout"]["annotations"])]
    texts += named(by_norm, "tokens")["text"] + named(by_norm, "tokens")["hovertext"]
    assert not any(mark in text for text in texts for mark in ("<", "$", "%{", "\n", "\t"))
    assert html.unescape(texts[1]) == "a<br>b"


def test_the_name_of_a_kind_is_no_template() -> None:
    figure = embedding_figure(POINTS[:1], ["a"], ["%{x}<b>"])
    assert (
        figure["data"][0]["hovertemplate"]
        == "%{text}<br>token %{customdata}, &#37;{x}&lt;b&gt;<extra></extra>"
    )


def test_of_a_large_vocabulary_an_even_part_is_drawn_and_a_note_says_so() -> None:
    count = 60_000
    points = np.zeros((count, 2))
    figure = embedding_figure(points, ["·token"] * count, ["word start"] * count, highlight=[(777, "x")])
    ids = [i for i, *_ in drawn(named(sent(figure), "word start"))]
    assert len(ids) == MAX_POINTS
    assert (ids[0], ids[-1]) == (0, count - 1)
    assert max(np.diff(ids)) - min(np.diff(ids)) <= 1
    assert drawn(named(sent(figure), "searched token and its neighbours"))[0][0] == 777
    assert "5,000 of 60,000 tokens" in figure["layout"]["xaxis"]["title"]["text"]
    assert size(figure) < 200_000


def test_the_note_is_written_in_3d_too_and_only_where_something_is_missing() -> None:
    count = MAX_POINTS + 1
    figure = embedding_figure(np.zeros((count, 3)), ["t"] * count, ["byte"] * count)
    assert "5,000 of 5,001 tokens" in figure["layout"]["annotations"][0]["text"]
    assert not any("drawn" in s for s in strings(sent(embedding_figure(POINTS, TOKENS, KINDS))))


@pytest.mark.parametrize(
    "change",
    [
        {"points": [[1.0]] * 3},
        {"points": POINTS[:2]},
        {"tokens": TOKENS[:2]},
        {"kinds": KINDS[:2]},
        {"colour_by": "mood", "values": [1, 2, 3]},
        {"colour_by": "norm"},
        {"colour_by": "norm", "values": [1, 2]},
        {"explained": [0.5]},
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="points|colour_by|explained"):
        embedding_figure(**{"points": POINTS, "tokens": TOKENS, "kinds": KINDS, **change})


def test_positions_are_drawn_on_a_scale_that_is_equal_on_both_sides() -> None:
    figure = sent(position_figure([[1.0, -0.5], [-0.5, 1.0]]))
    trace = named(figure, "positions")
    assert numbers(trace["z"]).tolist() == [[1.0, -0.5], [-0.5, 1.0]]
    assert (trace["zmin"], trace["zmax"]) == (-1, 1)
    assert trace["colorbar"]["title"]["text"] == "cosine similarity"
    assert figure["layout"]["yaxis"]["autorange"] == "reversed"


def test_of_many_positions_an_even_part_is_drawn_at_its_true_place() -> None:
    count = 1024
    matrix = np.add.outer(np.arange(count), np.arange(count)) / (2 * count)
    figure = position_figure(matrix)
    trace = named(sent(figure), "positions")
    x, z = numbers(trace["x"]), numbers(trace["z"])
    assert z.shape == (MAX_POSITIONS, MAX_POSITIONS)
    assert (x[0], x[-1]) == (0, count - 1)
    assert z == pytest.approx(matrix[np.ix_(x, x)], abs=1e-6)
    assert "256 of 1,024 positions" in figure["layout"]["xaxis"]["title"]["text"]
    assert size(figure) < 400_000


def test_a_map_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="similarity"):
        position_figure([[1.0, 0.0]])
