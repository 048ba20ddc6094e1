"""Reading a text in a real Chromium: an example is there, one's own is read, and what was copied is marked"""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SLOW = 60_000
COPIED = "Once upon a time there was a quiet fox"
TEXT = f"The harbour tasted of iron. {COPIED}. Nobody remembers <b>why</b>."


def test_a_pasted_text_is_read_and_what_was_copied_is_marked(address, open_page):
    page = open_page(address)
    page.get_by_role("tab", name="Generate", exact=True).click()
    strip, box = page.locator("#reading-text"), page.locator("#reading-own textarea")
    expect(strip).to_have_attribute("data-status", "done", timeout=SLOW)
    expect(box).not_to_have_value("")
    expect(strip.locator(".gd-tokens")).to_have_text(box.input_value().replace("\n", " "))
    numbers = page.locator("#reading-numbers")
    expect(numbers.get_by_role("row")).to_have_count(4)

    box.fill(TEXT)
    page.get_by_role("button", name="Read my text").click()
    expect(strip.locator(".gd-tokens")).to_have_text(TEXT, timeout=SLOW)
    marked = strip.locator(".gd-token.gd-marked")
    passage = "".join(marked.all_inner_texts())
    assert len(passage) >= 18 and passage in TEXT and passage.strip() in COPIED, passage
    line = marked.first.evaluate("(token) => getComputedStyle(token).textDecoration")
    assert "underline" in line and "double" in line, "a mark that is not a colour"
    expect(strip.locator(".gd-token").first).not_to_have_class("gd-marked")
    expect(page.locator("#reading-copies q")).to_contain_text("quiet")

    marked.first.hover()
    tip = page.locator("#gd-tip")
    expect(tip).to_be_visible()
    for said in ("probability", "rank", "stands in the training text", "The model's choices here:"):
        expect(tip).to_contain_text(said)
    expect(marked.first).to_have_attribute("aria-label", re.compile("stands in the training text"))

    page.get_by_role("button", name="A piece of training text").click()
    expect(box).not_to_have_value(TEXT, timeout=SLOW)
    expect(strip.locator(".gd-token:not(.gd-marked)")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
