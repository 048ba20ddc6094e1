"""The attention map: every number in its cell, the future silent, equal tokens apart."""

import html

import numpy as np
import pytest

from gpt2demo.figures.attention import MAX_ATTENTION_TOKENS, attention_figure
from gpt2demo.figures.colours import INDIGO, MASKED
from tests.figures.read_figure import HOSTILE, named, numbers, sent, size

WEIGHTS = [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.5, 0.125, 0.375]]
TOKENS = ["the", "·cat", "the"]


def test_every_weight_is_in_its_cell_and_the_future_has_no_number() -> None:
    z = numbers(named(sent(attention_figure(WEIGHTS, TOKENS)), "attention")["z"])
    assert z.shape == (3, 3)
    assert z[np.tril_indices(3)].tolist() == [1.0, 0.25, 0.75, 0.5, 0.125, 0.375]
    assert np.isnan(z[np.triu_indices(3, 1)]).all()


def test_a_weight_above_the_diagonal_is_never_drawn() -> None:
    z = numbers(named(sent(attention_figure(np.ones((3, 3)), TOKENS)), "attention")["z"])
    assert np.isnan(z[np.triu_indices(3, 1)]).all()


def test_the_mask_is_grey_and_answers_nothing() -> None:
    figure = sent(attention_figure(WEIGHTS, TOKENS))
    mask = named(figure, "masked")
    assert mask["hoverinfo"] == "skip"
    assert {colour for _, colour in mask["colorscale"]} == {MASKED}
    assert figure["data"].index(mask) < figure["data"].index(named(figure, "attention"))
    left, width = mask["x0"] - mask["dx"] / 2, mask["dx"]
    assert (left, width) == (-0.5, 3)
    assert named(figure, "attention")["hoverongaps"] is False


def test_the_colours_always_span_nothing_to_everything() -> None:
    for stretch in (False, True):
        trace = named(attention_figure(np.eye(3) * 0.1, TOKENS, stretch=stretch), "attention")
        assert (trace["zmin"], trace["zmax"]) == (0, 1)
        assert trace["colorscale"][0][0] == 0
        assert tuple(trace["colorscale"][-1]) == (1, INDIGO)


def test_stretching_moves_the_colours_and_not_the_numbers() -> None:
    plain = named(sent(attention_figure(WEIGHTS, TOKENS)), "attention")
    stretched = named(sent(attention_figure(WEIGHTS, TOKENS, stretch=True)), "attention")
    assert plain["z"] == stretched["z"]
    stops = [stop for stop, _ in stretched["colorscale"]]
    assert stops == sorted(set(stops))
    assert stops[1] < plain["colorscale"][1][0]
    assert "stretched" in stretched["colorbar"]["title"]["text"]


def test_axes_say_who_reads_whom_and_the_hover_names_both() -> None:
    figure = attention_figure(WEIGHTS, TOKENS)
    assert figure["layout"]["xaxis2"]["title"]["text"] == "key (is read)"
    assert figure["layout"]["yaxis2"]["title"]["text"] == "query (reads)"
    assert named(figure, "attention")["hovertemplate"].startswith("%{y} → %{x} : %{z")


def test_equal_tokens_keep_a_row_and_a_column_each() -> None:
    layout = attention_figure(WEIGHTS, TOKENS)["layout"]
    for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2"):
        assert list(layout[axis]["tickvals"]) == [0, 1, 2]
        assert list(layout[axis]["ticktext"]) == ["0: the", "1: ·cat", "2: the"]


def test_the_first_token_is_at_the_top() -> None:
    layout = attention_figure(WEIGHTS, TOKENS)["layout"]
    assert list(layout["yaxis"]["range"]) == list(layout["yaxis2"]["range"]) == [2.5, -0.5]


def test_hostile_tokens_are_drawn_and_not_obeyed() -> None:
    count = len(HOSTILE)
    labels = attention_figure(np.eye(count), HOSTILE)["layout"]["xaxis"]["ticktext"]
    assert not any(mark in label for label in labels for mark in ("<", "$", "%{", "\n", "\t"))
    drawn = [html.unescape(label) for label in labels]
    assert drawn[:4] == ["0: <b>", "1: a<br>b", "2: $x$", "3: %{x}"]
    assert drawn[5:] == ["5: ↵", "6: →", "7: the", "8: the"]


def test_of_many_tokens_some_labels_are_shown_and_all_are_known() -> None:
    figure = attention_figure(np.eye(128), ["t"] * 128)
    assert len(figure["layout"]["xaxis"]["ticktext"]) == 128
    shown = figure["layout"]["xaxis2"]["tickvals"]
    assert len(shown) <= 28
    assert (shown[0], shown[-1]) == (0, 127)
    assert size(figure) < 110_000


def test_zoom_survives_another_head_but_not_another_text() -> None:
    def revision(count: int) -> str:
        return str(attention_figure(np.eye(count), ["t"] * count)["layout"]["uirevision"])

    assert revision(3) == revision(3) != revision(4)


@pytest.mark.parametrize(
    ("weights", "tokens"),
    [
        (np.ones((2, 3)), ["a", "b"]),
        (np.ones((2, 2)), ["a"]),
        (np.ones((0, 0)), []),
        (np.ones((1, 2, 2)), ["a"]),
        (np.eye(MAX_ATTENTION_TOKENS + 1), ["a"] * (MAX_ATTENTION_TOKENS + 1)),
    ],
)
def test_what_does_not_fit_together_is_refused(weights: np.ndarray, tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="weights|tokens"):
        attention_figure(weights, tokens)
