"""The Generate tab in a real Chromium: write, look at a token, move a slider, branch, stop, three at once."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import served

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds, on machines that may be busy
TEXT = "#generate-text"


@pytest.fixture(scope="module")
def generate_page() -> Iterator[str]:
    with served([sys.executable, "-m", "tests.browser.generate_page"]) as address:
        yield address


def has(page: Page, name: str, value: str | re.Pattern[str]) -> None:
    expect(page.locator(TEXT)).to_have_attribute(f"data-{name}", value, timeout=PATIENCE)


def opened(page: Page) -> Page:
    """The tab with its first example, and all its controls."""
    has(page, "status", "done")
    page.evaluate("document.body.classList.remove('gd-simple')")  # as the switch in the header does
    return page


def write(page: Page, button: str = "#generate-go") -> None:
    """Presses a button and waits until its text is there."""
    before = page.locator(TEXT).get_attribute("data-text")
    page.locator(button).click()
    page.wait_for_function(
        f"(before) => document.querySelector('{TEXT}').dataset.text !== before", arg=before, timeout=PATIENCE
    )
    has(page, "status", "done")
    expect(page.locator("#generate-stop")).to_be_disabled(timeout=PATIENCE)


def asked(page: Page, address: str, name: str, *values: object) -> object:
    """What an endpoint of the test's own server answers."""
    call = f"{address}/gradio_api/call/{name}"
    event = page.request.post(call, data={"data": values}).json()["event_id"]
    (found,) = re.findall(r"event: complete\ndata: (.*)", page.request.get(f"{call}/{event}").text())
    (answer,) = json.loads(found) or [None]  # one that returns nothing
    return answer


def passes(page: Page, address: str) -> int:
    """How many forward passes the server has made."""
    return int(str(asked(page, address, "passes")))


def set_slider(page: Page, name: str, value: str) -> None:
    field = page.locator(f"#{name} input[type=number]")
    field.fill(value)
    field.press("Tab")


def test_one_writes_looks_moves_a_slider_and_branches(generate_page, open_page):
    page = opened(open_page(generate_page))
    page.locator("#generate-prompt textarea").fill("Once upon a time")
    write(page)
    has(page, "columns", "1")
    assert int(page.locator(TEXT).get_attribute("data-tokens") or 0) > 100
    token = page.locator(f"{TEXT} .gd-token:not(.gd-prompt)").nth(4)
    token.hover()
    expect(page.locator("#gd-tip")).to_contain_text("probability")
    expect(page.locator("#gd-tip")).to_contain_text("The model's choices here")
    token.click()
    expect(page.locator("#generate-token")).to_contain_text("Token 5 of the continuation")

    before = passes(page, generate_page)
    same_text = page.locator(TEXT).get_attribute("data-text")
    bars = page.locator("#generate-bars .js-plotly-plot").inner_html()
    set_slider(page, "generate-temperature", "0.3")
    expect(page.locator("#generate-token")).to_contain_text("temperature 0.3")
    set_slider(page, "generate-min-p", "0.5")
    expect(page.locator("#generate-token")).to_contain_text("min-p cuts")
    page.wait_for_function(
        "(bars) => document.querySelector('#generate-bars .js-plotly-plot').innerHTML !== bars", arg=bars
    )
    set_slider(page, "generate-penalty", "1.5")
    expect(page.locator("#generate-road")).to_contain_text("after penalty")
    assert passes(page, generate_page) == before, "moving a slider runs no model"
    has(page, "text", same_text)

    old = page.locator(f"{TEXT} .gd-column .gd-tokens").first.inner_text()
    write(page, "#generate-take")
    has(page, "columns", "2")
    has(page, "active", "1")
    assert page.locator(f"{TEXT} .gd-column .gd-tokens").first.inner_text() == old
    expect(page.locator(f"{TEXT} .gd-column-title").nth(1)).to_contain_text("Branch at token 5")
    expect(page.locator("#generate-token")).to_contain_text("You put it here")
    assert passes(page, generate_page) > before


def test_three_samples_stack_on_a_phone_and_one_is_kept(generate_page, open_page):
    page = opened(open_page(generate_page, width=390, height=800))
    set_slider(page, "generate-length", "20")
    page.locator("#generate-samples").get_by_text("3", exact=True).click()
    write(page)
    has(page, "columns", "3")
    boxes = [part.bounding_box() for part in page.locator(f"{TEXT} .gd-column").all()]
    assert all(a and b and a["y"] + a["height"] <= b["y"] for a, b in zip(boxes, boxes[1:], strict=False))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    second = page.locator(f"{TEXT} .gd-column").nth(1)
    second.locator(".gd-token:not(.gd-prompt)").first.click()
    has(page, "active", "1")
    expect(page.locator("#generate-token")).to_contain_text("Token 1 of the continuation")
    kept = second.locator(".gd-tokens").inner_text()
    with page.expect_response(lambda answer: "queue/data" in answer.url):  # the server hears of it
        second.locator(".gd-pin").click()
    expect(second.locator(".gd-pin")).to_have_attribute("aria-pressed", "true")
    page.locator("#generate-samples").get_by_text("1", exact=True).click()
    write(page)
    has(page, "columns", "2")
    assert page.locator(f"{TEXT} .gd-tokens").first.inner_text() == kept
    with page.expect_download() as download:
        page.locator("#generate-save-all").click()
    texts = json.loads(download.value.path().read_text(encoding="utf-8"))["texts"]
    assert [len(text["tokens"]) for text in texts] == [20, 20]


def test_a_long_text_is_stopped_and_kept(generate_page, open_page):
    page = opened(open_page(generate_page))
    set_slider(page, "generate-length", "300")
    asked(page, generate_page, "slow_down", 0.05)  # else the text may be there before Stop is pressed
    page.locator("#generate-go").click()
    has(page, "status", "running")
    page.wait_for_function(f"+document.querySelector('{TEXT}').dataset.tokens > 40", timeout=PATIENCE)
    page.locator("#generate-stop").click()
    has(page, "status", "stopped")
    expect(page.locator(f"{TEXT} .gd-tokens-note")).to_contain_text("Stopped.")
    assert 40 < int(page.locator(TEXT).get_attribute("data-tokens") or 0) < 300
    expect(page.locator("#generate-go")).to_be_enabled(timeout=PATIENCE)
    asked(page, generate_page, "slow_down", 0)


def test_beam_search_shows_its_texts_side_by_side(generate_page, open_page):
    page = opened(open_page(generate_page, width=1024))
    set_slider(page, "generate-length", "15")
    page.locator("#generate-beams").get_by_text("3", exact=True).click()
    write(page)
    has(page, "columns", "3")
    titles = page.locator(f"{TEXT} .gd-column-title").all_inner_texts()
    assert all(re.fullmatch(rf"Beam {i}: log p −\d+\.\d\d", t) for i, t in enumerate(titles, 1))
    numbers = [float(title.rsplit(" ", 1)[1].replace("−", "-")) for title in titles]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) > 1
    last = page.locator(f"{TEXT} .gd-column").nth(2)
    expect(last.locator(".gd-token.gd-tinted")).to_have_count(15)
    expect(last.locator(".gd-tokens-note")).to_contain_text("beam search with 3 beams")
    last.locator(".gd-token:not(.gd-prompt)").nth(14).click()
    expect(page.locator("#generate-token")).to_contain_text("Token 15 of the continuation")
    set_slider(page, "generate-length", "300")
    asked(page, generate_page, "slow_down", 0.05)
    page.locator("#generate-go").click()
    has(page, "status", "running")
    expect(page.locator(f"{TEXT} .gd-tokens-note").first).to_contain_text("Following the likeliest 3 texts")
    page.locator("#generate-stop").click()
    has(page, "status", "stopped")
    expect(page.locator("#generate-go")).to_be_enabled(timeout=PATIENCE)
    asked(page, generate_page, "slow_down", 0)


def test_after_a_fault_of_ours_the_text_stays_and_says_so(generate_page, open_page):
    page = opened(open_page(generate_page))
    set_slider(page, "generate-length", "300")
    asked(page, generate_page, "fail_soon")
    page.locator("#generate-go").click()
    has(page, "status", "failed")
    note = page.locator(f"{TEXT} .gd-tokens-note")
    expect(note).to_contain_text("our mistake and not yours. What is written stays")
    expect(page.get_by_text("A fault in the program, sorry")).to_be_visible()
    assert page.locator(f"{TEXT} .gd-token:not(.gd-prompt)").count() >= 20
    for name, usable in (("go", True), ("step", True), ("stop", False), ("reset", True), ("take", True)):
        expect(page.locator(f"#generate-{name}")).to_be_enabled(enabled=usable, timeout=PATIENCE)
    set_slider(page, "generate-length", "10")
    write(page)


def test_what_fewer_bits_cost_is_measured_when_somebody_asks(generate_page, open_page):
    page = opened(open_page(generate_page))
    cost = page.locator("#generate-cost")
    expect(cost).to_have_text("")
    page.locator("#generate-precision").get_by_text("8 (int8)").click()
    page.locator("#generate-measure").click()
    expect(cost).to_contain_text("tokens of its held-out text: with 32 bits a loss of", timeout=PATIENCE)
    expect(cost).to_contain_text("with 8 bits (int8)")
    page.locator("#generate-precision").get_by_text("16 (bf16)").click()
    expect(cost).to_have_text("", timeout=PATIENCE)


def test_in_a_window_of_another_width_the_legend_stays_off_the_bars(generate_page, open_page):
    page = opened(open_page(generate_page))
    expect(page.locator("#generate-bars")).to_have_attribute("data-status", "ready")
    page.set_viewport_size({"width": 1024, "height": 900})
    page.wait_for_function(
        """() => {
          const box = (name) => document.querySelector(`#generate-bars ${name}`).getBoundingClientRect();
          const { width } = box(".gd-plot-area");
          const drawn = width > 600 && box(".svg-container").width === width;
          const good = drawn && box(".legend").bottom < box(".yaxislayer-above").top;
          window.goodFrames = good ? (window.goodFrames || 0) + 1 : 0; // it is drawn more than once
          return window.goodFrames > 30;
        }""",
        timeout=PATIENCE,
    )
