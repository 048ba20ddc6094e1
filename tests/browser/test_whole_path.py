"""The whole path in a real Chromium: upload a text, train on it, watch, come back, write, look inside."""

import random
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SLOW = 120_000  # milliseconds; a busy machine must not fail the test


@pytest.fixture(scope="module")
def megabyte(tmp_path_factory) -> Path:
    """A text of one megabyte that nobody has written: words in random order, with some grammar to learn."""
    rng = random.Random(5)
    who, does = (
        "the fox,an owl,the sea,a child,my aunt".split(","),
        "saw,heard,followed,forgot,sang to".split(","),
    )
    lines = []
    while sum(map(len, lines)) < 1_050_000:
        lines.append(f"{rng.choice(who).capitalize()} {rng.choice(does)} {rng.choice(who)}.\n")
    file = tmp_path_factory.mktemp("text") / "fox and owl.txt"
    file.write_text("".join(lines), encoding="utf-8")
    return file


def number_of(page: Page, selector: str, name: str) -> float:
    return float(page.locator(selector).get_attribute(f"data-{name}") or 0)


def wait_for_more(page: Page, selector: str, name: str, than: float) -> None:
    page.wait_for_function(
        "([selector, name, than]) => Number(document.querySelector(selector)?.dataset[name] || 0) > than",
        arg=[selector, name, than],
        timeout=SLOW,
    )


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_upload_train_watch_return_write_look(address, megabyte, open_page):
    # a reload cuts gradio's running stream, which its own script reports as an error
    page = open_page(address, forgive="AbortError|Connection errored out")
    run = "#train-run"

    # upload
    page.locator("#train-source").get_by_text("My files").click()
    page.locator("#train-files input[type=file]").first.set_input_files(megabyte)
    expect(page.locator("#train-report")).to_contain_text(re.compile(r"1,0\d\d,\d\d\d"), timeout=SLOW)
    minutes = page.locator("#train-minutes input[type=number]")
    minutes.fill("0.5")
    minutes.press("Tab")

    # train, and see the curve move and samples appear
    page.locator("#train-start").click()
    expect(page.locator(run)).to_have_attribute("data-status", "running", timeout=SLOW)
    wait_for_more(page, run, "points", 20)
    wait_for_more(page, run, "samples", 2)
    seen = number_of(page, run, "step")
    wait_for_more(page, run, "step", seen)

    # come back, and find the same run complete: no point is missing
    before = number_of(page, run, "points")
    page.reload()
    wait_for_more(page, run, "points", before - 1)
    expect(page.locator(run)).to_have_attribute("data-status", re.compile("running|done"), timeout=SLOW)
    page.wait_for_function(
        "(run) => { const d = document.querySelector(run)?.dataset; return +d?.points > +d?.step; }",
        arg=run,
        timeout=SLOW,
    )
    expect(page.locator("#chip")).to_contain_text("fox and owl")
    link = page.locator("#train-whose [data-run]").get_attribute("data-run")
    assert link

    # a second browser sees it too, and may only watch
    other = open_page(f"{address}/?run={link}")
    wait_for_more(other, run, "points", before - 1)
    expect(other.locator("#train-whose")).to_contain_text("read-only")
    expect(other.locator("#train-stop")).to_be_hidden()

    # stop, unless a slow machine has let the half minute pass
    if page.locator(run).get_attribute("data-status") == "running":
        page.locator("#train-stop").click()
    expect(page.locator(run)).to_have_attribute("data-status", re.compile("stopped|done"), timeout=SLOW)
    expect(other.locator(run)).to_have_attribute("data-status", re.compile("stopped|done"), timeout=SLOW)

    # write with it
    open_tab(page, "Generate")
    page.locator("#generate-prompt textarea").fill("The fox ")
    page.locator("#generate-go").click()
    expect(page.locator("#generate-text")).to_have_attribute("data-status", "done", timeout=SLOW)
    wait_for_more(page, "#generate-text", "tokens", 20)
    expect(page.locator("#generate-text")).to_contain_text("The fox")

    # look inside it
    open_tab(page, "Attention")
    expect(page.locator("#attention-grid")).to_have_attribute("data-status", "ready", timeout=SLOW)
    assert (
        number_of(page, "#attention-grid", "layers") == 4 and number_of(page, "#attention-grid", "heads") == 4
    )
    open_tab(page, "Embeddings")
    expect(page.locator("#embeddings-map")).to_have_attribute("data-status", "ready", timeout=SLOW)
    assert number_of(page, "#embeddings-map", "points") > 10
    open_tab(page, "Models")
    expect(page.locator("#models-list")).to_contain_text("fox and owl", timeout=SLOW)
