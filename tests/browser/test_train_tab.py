"""The Train tab in a real Chromium: what one fills in stays, one start is one run, and others may watch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import served

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds: training has to begin, on machines that may be busy


@pytest.fixture(scope="module")
def train_page() -> Iterator[str]:
    with served([sys.executable, "-m", "tests.browser.train_page"]) as address:
        yield address


def state(page: Page, pattern: str) -> None:
    expect(page.locator("#train-run")).to_have_attribute("data-status", re.compile(pattern), timeout=PATIENCE)


def test_an_upload_is_reported_a_wrong_encoding_asked_about_and_the_form_kept(
    train_page, open_page, tmp_path: Path
):
    page = open_page(train_page)
    expect(page.locator("#train-report .gd-stats")).to_be_visible(timeout=PATIENCE)
    page.get_by_text("My files", exact=True).click()
    expect(page.locator("#train-report")).to_contain_text("There is no text yet", timeout=PATIENCE)
    wrong = tmp_path / "umlaut.txt"
    wrong.write_bytes(("Die Bäume grünen schön, süß wie Äpfel.\n" * 200).encode("cp1252"))
    page.locator("#train-files input[type=file]").first.set_input_files(wrong)
    expect(page.locator("#train-report")).to_contain_text("is not UTF-8", timeout=PATIENCE)
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("windows-1252", timeout=PATIENCE)
    expect(page.locator("#train-files")).to_contain_text("umlaut")
    page.locator("#train-encoding input").click()
    page.get_by_role("option", name="windows-1252").click()
    expect(page.locator("#train-report")).to_contain_text("It was read as cp1252", timeout=PATIENCE)
    expect(page.locator("#train-tokens")).to_contain_text("ä")


def test_two_clicks_are_one_run_that_is_watched_paused_resumed_and_stopped(train_page, open_page):
    page = open_page(train_page)
    expect(page.locator("#train-estimate .gd-estimate")).to_contain_text("steps", timeout=PATIENCE)
    expect(page.locator("#train-pause")).to_be_hidden()
    page.get_by_text("Pico: 2 layers").click()
    page.locator("#train-start").dblclick()
    whose = page.locator("#train-whose [data-run]")
    expect(whose).to_contain_text("Cats, pico, Muon", timeout=PATIENCE)
    state(page, "running")
    page.wait_for_function("+document.querySelector('#train-run')?.dataset.points > 3", timeout=PATIENCE)
    expect(page.locator("#train-heads canvas").first).to_be_visible(timeout=PATIENCE)

    run = whose.get_attribute("data-run")
    watcher = open_page(f"{train_page}/?run={run}", width=390)
    watcher.wait_for_function("+document.querySelector('#train-run')?.dataset.points > 3", timeout=PATIENCE)
    expect(watcher.locator("#train-whose")).to_contain_text("read-only")
    expect(watcher.locator("#train-pause")).to_be_hidden()

    page.locator("#train-pause").click()
    state(page, "paused")
    expect(page.locator("#train-pause")).to_be_hidden()
    page.locator("#train-resume").click()
    state(page, "running")
    page.locator("#train-stop").click()
    state(page, "stopped|done")
    state(watcher, "stopped|done")
    said = re.compile(r"^(Stopped|Finished) after \d+ steps?[^.]*\.$")  # and not "Finished. Finished after …"
    expect(page.locator("#train-run .gd-run-status")).to_have_text(said)
    expect(page.locator("#train-run .gd-stats")).to_contain_text("over all the held-out text")
    expect(page.locator("#train-note")).to_contain_text("The model is kept", timeout=PATIENCE)
    page.locator("#train-compare-runs input").click()
    expect(page.get_by_role("option", name=re.compile("Cats"))).to_have_count(1)


def test_a_variant_is_trained_and_the_model_in_hand_goes_on_learning(train_page, open_page):
    page = open_page(train_page)
    expect(page.locator("#train-estimate .gd-estimate")).to_contain_text("steps", timeout=PATIENCE)
    page.evaluate("document.body.classList.remove('gd-simple')")  # as the switch in the header does
    page.get_by_text("Pico: 2 layers").click()
    page.locator("#train-budget").get_by_text("steps", exact=True).click()
    page.locator("#train-steps input").fill("20")
    page.get_by_role("button", name="What if GPT-2 had").click()
    page.locator("#train-norm").get_by_text("after it (post-LN)", exact=True).click()
    page.locator("#train-positions").get_by_text("rotary", exact=True).click()
    page.locator("#train-n-head input").fill("3")
    page.locator("#train-n-head input").blur()
    expect(page.locator("#train-report")).to_contain_text("nearest value that works is", timeout=PATIENCE)
    page.locator("#train-n-head input").fill("1")
    page.locator("#train-n-head input").blur()
    expect(page.locator("#train-model-report .gd-stats")).to_be_visible(timeout=PATIENCE)
    page.locator("#train-start").click()
    whose = page.locator("#train-whose [data-run]")
    expect(whose).to_contain_text("Cats, pico, Muon, n_head 1, post-LN · rotary", timeout=PATIENCE)
    state(page, "done")
    expect(page.locator("#train-compare-results")).to_contain_text("post-LN · rotary", timeout=PATIENCE)
    first = whose.get_attribute("data-run")

    page.get_by_text("The model in hand", exact=True).click()
    expect(page.locator("#train-size")).to_be_hidden(timeout=PATIENCE)
    expect(page.locator("#train-model-report")).to_contain_text(
        "It goes on from Cats, pico", timeout=PATIENCE
    )
    page.locator("#train-start").click()
    expect(whose).to_contain_text("Cats, from Cats, pico", timeout=PATIENCE)
    assert whose.get_attribute("data-run") != first
    state(page, "done")
