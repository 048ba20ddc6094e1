"""Weights flow both ways in a real Chromium: out as a zip and in again, and runs are laid over each other."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SLOW = 60_000


def open_models(page: Page) -> None:
    page.get_by_role("tab", name="Models", exact=True).click()
    expect(page.locator("#models-list")).to_have_attribute("data-status", "ready", timeout=SLOW)
    expect(page.locator("#chip")).to_contain_text("Starter", timeout=SLOW)


def bring(page: Page, *files: Path) -> None:
    page.locator("#bring-files input[type=file]").first.set_input_files(list(files))
    expect(page.locator("#bring-files")).to_contain_text(files[0].stem, timeout=SLOW)
    page.locator("#bring-go").click()


def answered(page: Page, state: str) -> None:
    expect(page.locator(f"#bring-files-said [data-state={state}]")).to_be_visible(timeout=SLOW)


@pytest.fixture
def exported(address, open_page, tmp_path: Path) -> Path:
    """The starter as the page itself packs it."""
    page = open_page(address)
    open_models(page)
    with page.expect_download(timeout=SLOW) as download:
        page.get_by_role("button", name="Export: Starter").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_what_the_page_exports_it_takes_in_again_in_hand_and_ready_to_write(
    address, open_page, exported: Path, tmp_path: Path
):
    page = open_page(address)
    open_models(page)

    bad = tmp_path / "pytorch_model.bin"
    bad.write_bytes(b"\x80\x04not a model")
    bring(page, bad)
    answered(page, "refused")
    expect(page.locator("#bring-files-said")).to_contain_text("Python pickle")
    expect(page.locator("#bring-files")).to_contain_text("pytorch_model")  # the form stays
    expect(page.locator("#models-list")).to_have_attribute("data-own", "0")
    page.locator("#bring-files").get_by_label("Clear").click()

    bring(page, exported)
    answered(page, "done")
    expect(page.locator("#models-list")).to_have_attribute("data-own", "1", timeout=SLOW)
    in_hand = page.locator("#models-list").get_attribute("data-hand") or ""
    assert in_hand.startswith("run:")
    expect(page.locator("#chip")).to_contain_text("step 6,500", timeout=SLOW)
    expect(page.locator("#bring-files-said")).to_contain_text("under Train it shows its curve")

    page.get_by_role("tab", name="Generate", exact=True).click()
    page.locator("#generate-prompt textarea").fill("Once upon a time")
    page.locator("#generate-go").click()
    expect(page.locator("#generate-text")).to_have_attribute("data-status", "done", timeout=SLOW)
    page.wait_for_function("+document.querySelector('#generate-text')?.dataset.tokens > 10", timeout=SLOW)


def test_loose_files_of_anybodys_gpt2_come_in_and_two_runs_are_laid_over_each_other(
    address, open_page, exported: Path, tmp_path: Path
):
    with zipfile.ZipFile(exported) as archive:
        for name in archive.namelist():
            if Path(name).name in ("config.json", "model.safetensors", "tokenizer.json") and "/s" not in name:
                (tmp_path / Path(name).name).write_bytes(archive.read(name))
    page = open_page(address, width=1024, height=768)
    open_models(page)
    bring(page, *(tmp_path / name for name in ("config.json", "model.safetensors", "tokenizer.json")))
    answered(page, "done")
    expect(page.locator("#bring-files-said")).to_contain_text("trained elsewhere")
    expect(page.locator("#models-compare-results")).to_contain_text("Uploaded model", timeout=SLOW)

    bring(page, exported)
    expect(page.locator("#models-list")).to_have_attribute("data-own", "2", timeout=SLOW)
    runs = page.locator("#models-compare-results tbody th")
    expect(runs).to_have_text(
        [re.compile(name) for name in ("Uploaded model", "Starter", "Starter")], timeout=SLOW
    )
    page.locator("#models-compare-across").get_by_text("time", exact=True).click()
    plot = page.locator("#models-compare-plot")
    expect(plot).to_contain_text("seconds of training", timeout=SLOW)
    expect(page.locator("#models-compare-results")).to_contain_text("lowest")
    page.locator("#models-compare-runs").get_by_role("button", name="Remove").first.click()
    expect(runs).to_have_text([re.compile("Starter")] * 2, timeout=SLOW)
