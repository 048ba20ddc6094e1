"""Bad input on the real page: every refusal is a sentence that helps, and the form keeps what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SLOW = 60_000
GERMAN = "Die Bäume grünen schön, süß wie Äpfel.\n" * 200
CASES = {
    "empty": ({"empty.txt": b""}, "empty.txt is empty"),
    "binary": ({"noise.txt": bytes(range(256)) * 40}, "noise.txt is not text"),
    "latin-1": ({"umlaut.txt": GERMAN.encode("latin-1")}, "Read it as windows-1252"),
    "UTF-16 without its mark": ({"wide.txt": GERMAN.encode("utf-16-le")}, "Read it as utf-16-le"),
    "13 MB": ({"huge.txt": b"a b c d\n" * (13 * 2**17)}, "At most 12 MB"),
    "one bad of two": ({"good.txt": GERMAN.encode(), "bad.txt": b"ab\0" * 500}, "bad.txt is not text"),
}


def upload(page: Page, folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    page.locator("#train-files input[type=file]").first.set_input_files([folder / name for name in files])


@pytest.mark.parametrize("case", CASES)
def test_a_bad_upload_is_refused_in_place_and_at_start_and_stays_in_the_form(
    address, open_page, tmp_path: Path, case: str
):
    files, sentence = CASES[case]
    page = open_page(address)
    page.locator("#train-source").get_by_text("My files").click()
    expect(page.locator("#train-report")).to_contain_text("There is no text yet", timeout=SLOW)
    upload(page, tmp_path, files)
    expect(page.locator("#train-report")).to_contain_text(sentence, timeout=SLOW)
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-text")).to_contain_text(sentence, timeout=SLOW)
    expect(page.locator("#train-said")).to_have_text("", timeout=SLOW)  # it is not preparing anything
    for name in files:
        expect(page.locator("#train-files")).to_contain_text(Path(name).stem)


def test_numbers_may_be_typed_in_peace(address, open_page):
    """On the way to a number its field is empty, or holds "0": nobody is told off for that."""
    page = open_page(address)
    page.locator("#mode").get_by_text("Full").click()
    expect(page.locator("#train-estimate .gd-estimate")).to_be_visible(timeout=SLOW)
    minutes = page.locator("#train-minutes input[type=number]")
    for typed in ("", "0", "0.0", "99", "-3"):
        minutes.fill(typed)
    minutes.fill("3")
    expect(page.locator("#train-estimate")).to_contain_text("In 3 minutes", timeout=SLOW)
    page.locator("#train-budget").get_by_text("steps", exact=True).click()
    steps = page.locator("#train-steps input")
    steps.fill("-5")
    expect(page.locator("#train-report")).to_contain_text("The number of steps is -5", timeout=SLOW)
    steps.fill("")
    expect(page.locator("#train-report")).to_contain_text("The number of steps is not given", timeout=SLOW)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)

    page.get_by_role("tab", name="Generate", exact=True).click()
    bars = page.locator("#generate-bars")
    expect(bars).to_have_attribute("data-status", "ready", timeout=SLOW)
    share = page.locator("#generate-top-p input[type=number]")
    drawn = int(bars.get_attribute("data-drawn") or 0)
    for typed in ("", "0", "0.", "0.4"):
        share.fill(typed)
    page.wait_for_function(
        "drawn => +document.querySelector('#generate-bars').dataset.drawn > drawn", arg=drawn, timeout=SLOW
    )
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
