"""Colours: to be told apart in light and dark, and never the only sign."""

import pytest

from gpt2demo.figures import colours
from gpt2demo.figures.colours import (
    AMOUNT,
    ATTENTION,
    DARK,
    GROUND,
    INK,
    MASKED,
    RUNS,
    SIGNED,
    SURPRISE,
    TOKEN_KINDS,
    contrast,
    kind_mark,
    recolour,
)
from gpt2demo.inspection.embeddings import TOKEN_KINDS as NAMED_KINDS
from gpt2demo.ui.palette import PALETTE

MODES = {"light": (lambda c: c), "dark": (lambda c: DARK[c])}
MARKS = [
    colours.TRAINING,
    colours.VALIDATION,
    colours.QUERY,
    colours.KEY,
    colours.VALUE,
    AMOUNT[0][1],
    *(colour for colour, _, _ in RUNS),
    *(mark.colour for mark in TOKEN_KINDS.values()),
]


def test_contrast_is_the_ratio_of_wcag() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.478, abs=0.001)
    assert contrast("#FFFFFF", "#FFFFFF") == 1


@pytest.mark.parametrize("mode", MODES)
def test_words_have_contrast_aa(mode: str) -> None:
    for colour in (INK, colours.MUTED, colours.ACCENT):
        assert contrast(MODES[mode](colour), MODES[mode](GROUND)) >= 4.5, colour


@pytest.mark.parametrize("mode", MODES)
def test_lines_and_markers_have_contrast_three(mode: str) -> None:
    low = [c for c in MARKS if contrast(MODES[mode](c), MODES[mode](GROUND)) < 3]
    assert low == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [ATTENTION, AMOUNT, SURPRISE])
def test_a_sequential_scale_moves_away_from_the_ground_at_every_step(mode: str, scale: colours.Scale) -> None:
    ground = MODES[mode](GROUND)
    steps = [contrast(MODES[mode](colour), ground) for _, colour in scale]
    assert all(b - a > 0.3 for a, b in zip(steps, steps[1:], strict=False)), steps


@pytest.mark.parametrize("mode", MODES)
def test_the_signed_scale_is_pale_in_the_middle_and_equal_at_both_ends(mode: str) -> None:
    ground = MODES[mode](GROUND)
    steps = [contrast(MODES[mode](colour), ground) for _, colour in SIGNED]
    assert steps[2] < 1.1
    assert steps[0] / steps[4] == pytest.approx(1, abs=0.35)
    assert min(steps[0], steps[4]) > 4.5
    assert [stop for stop, _ in SIGNED] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_mask_is_neither_paper_nor_a_weight() -> None:
    red, green, blue = (int(MASKED[i : i + 2], 16) for i in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 8
    assert MASKED not in [colour for _, colour in ATTENTION]
    assert contrast(MASKED, GROUND) > 1.2


def test_every_colour_has_a_value_of_its_own_for_dark() -> None:
    used = {c for scale in (ATTENTION, SURPRISE, SIGNED, AMOUNT) for _, c in scale} | set(MARKS)
    assert used <= set(DARK)


def test_no_meaning_by_colour_alone() -> None:
    assert len({(dash, symbol) for _, dash, symbol in RUNS}) == len(RUNS)
    common = [mark.symbol for kind, mark in TOKEN_KINDS.items() if kind != "special"]
    assert len(set(common)) == len(common)


def test_every_kind_of_token_has_a_mark() -> None:
    assert set(NAMED_KINDS) == set(TOKEN_KINDS)
    assert kind_mark("never heard of").symbol == "circle"


def test_pictures_and_page_agree_on_what_a_colour_means() -> None:
    same = {
        "ground": GROUND,
        "surface": colours.SURFACE,
        "ink": INK,
        "muted": colours.MUTED,
        "hairline": colours.HAIRLINE,
        "accent": colours.ACCENT,
        "query": colours.QUERY,
        "key": colours.KEY,
        "value": colours.VALUE,
        "attention": colours.INDIGO,
        "mask": MASKED,
        "surprise": colours.AMBER,
        "training": colours.TRAINING,
        "validation": colours.VALIDATION,
    }
    assert {name: PALETTE[name] for name in same} == {name: (c, DARK[c]) for name, c in same.items()}


def test_recolouring_changes_colours_and_no_words() -> None:
    figure = {
        "data": [{"marker": {"color": INK, "colorscale": [(0, GROUND)]}, "text": [INK], "name": INK}],
        "layout": {"font": {"color": INK}, "title": {"text": INK}},
    }
    assert recolour(figure) == {
        "data": [
            {"marker": {"color": DARK[INK], "colorscale": [[0, DARK[GROUND]]]}, "text": [INK], "name": INK}
        ],
        "layout": {"font": {"color": DARK[INK]}, "title": {"text": INK}},
    }
