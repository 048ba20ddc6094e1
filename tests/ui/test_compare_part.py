"""Runs laid over each other: what was chosen stays, curves of what has curves, and a table that tells all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from gpt2demo.runs.models import ModelRef
from gpt2demo.ui.compare_part import MOST_CURVES, ComparePart
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import compare as words
from tests.figures.read_figure import named, numbers
from tests.ui.little_runs import ME, SOMEBODY, blocks, bring_run, forget_runs, make_run, make_services

STARTER = ModelRef("starter")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("compare"))


@pytest.fixture
def services(shared: Services) -> Iterator[Services]:
    yield shared
    forget_runs(shared)


@pytest.fixture(scope="module")
def part(shared: Services) -> ComparePart:
    with blocks():
        return ComparePart(shared, "compare")


def cells(table: str) -> list[list[str]]:
    """The rows of a table, as text."""
    rows = re.findall(r"<tr.*?</tr>", table)
    split = [re.findall(r"<t[hd].*?</t[hd]>", row) for row in rows]
    return [[re.sub(r"<[^>]+>", " ", cell).strip() for cell in row] for row in split]


def names(figure: str) -> list[str]:
    """Which runs have a line in a picture."""
    traces = json.loads(figure)["figure"]["data"]
    return [trace["name"] for trace in traces if trace.get("showlegend", True)]


def test_post_ln_against_pre_ln_tells_what_differs(part: ComparePart, services: Services):
    post = make_run(services, title="Post <b>", variant={"norm": "post", "activation": "relu"})
    pre = make_run(services, title="Pre")
    figure, table = part.compare([post, pre], "steps")
    head, first, second = cells(table)
    assert head == [name for name, _ in words.HEAD]
    assert first[0].startswith("Post &lt;b&gt;") and "nano · AdamW · characters" in first[0]
    assert (first[1], second[1]) == ("post-LN · ReLU", "as GPT-2")
    assert first[2:6] == ["7,072", "30", "3 s", "640"]  # 1,920 tokens in three seconds
    assert first[6] == "1.600 at step 30" and first[7].startswith(f"{1.61 / 0.6931472:.2f}")
    assert names(figure) == ["Post &lt;b&gt;", "Pre"]


def test_the_lowest_is_marked_only_among_several(part: ComparePart, services: Services):
    run = make_run(services, state="running")
    assert "gd-results-lowest" not in part.compare([run], "steps")[1]
    table = part.compare([run, "starter"], "steps")[1]
    marked = [row[7] for row in cells(table)[1:]]
    assert [words.LOWEST in cell for cell in marked] == [True, False], (
        "1.600 so far, against 1.610 at the end"
    )


@pytest.mark.parametrize("across", [value for _, value in words.ACROSSES])
def test_curves_are_drawn_across_steps_tokens_and_time(part: ComparePart, across: str):
    figure, _ = part.compare(["starter"], across)
    line = named(json.loads(figure)["figure"], "training, smoothed")
    expected = {"steps": [0, 10, 30], "tokens": [0, 640, 1920], "seconds": [0, 1, 3]}
    assert numbers(line["x"]).tolist() == expected[across]


def test_a_model_from_elsewhere_has_a_row_and_no_curve(part: ComparePart, services: Services, tmp_path: Path):
    run = bring_run(services, tmp_path / "files")
    figure, table = part.compare([run, "starter"], "seconds")
    foreign = cells(table)[1]
    assert "trained elsewhere" in foreign[0] and foreign[3:] == [words.UNKNOWN] * 5
    assert "Uploaded model" not in figure
    figure, table = part.compare([run], "steps")
    assert figure == "" and words.ALL_ELSEWHERE in table


def test_nonsense_is_refused_in_sentences(part: ComparePart):
    assert part.compare([], "steps") == part.compare(None, "steps") == ("", "")
    wrong: list[tuple[Any, Any]] = [
        (["../etc"], "steps"), ([None], "steps"), (["starter"] * (MOST_CURVES + 1), "steps"),
        (["starter"], "miles"), (["starter"], None), ([["starter"]], "steps"),
    ]  # fmt: skip
    for chosen, across in wrong:
        with pytest.raises(gr.Error) as refused:
            part.compare(chosen, across)
        assert "fault" not in str(refused.value)


def test_the_choice_begins_with_what_is_in_hand_and_the_newest(part: ComparePart, services: Services):
    assert part.refresh(ME, STARTER, [])["value"] == ["starter"]
    old, new = make_run(services, title="Old"), make_run(services, title="New")
    update = part.refresh(ME, STARTER, ["starter"])
    assert [name for name, _ in update["choices"]] == ["Starter", "New", "Old"]
    assert update["value"] == [new, old], "two of one's own are more telling than the starter"
    assert part.refresh(ME, ModelRef("run", old), [])["value"] == [old, new]
    assert part.refresh(ME, ModelRef("run", old), [new, "starter", "gone"])["value"] == [new, "starter", old]
    assert part.refresh(ME, STARTER, [new, old])["value"] == [new, old]


def test_runs_of_others_come_along_while_they_are_there(part: ComparePart, services: Services):
    theirs = make_run(services, SOMEBODY, "Theirs")
    linked = (theirs, "x" * 16)
    update = part.refresh(ME, ModelRef("run", theirs), [], linked)
    assert [name for name, _ in update["choices"]] == ["Starter", "Theirs"]
    assert update["value"] == [theirs, "starter"]
