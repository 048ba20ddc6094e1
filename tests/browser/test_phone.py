"""The page on a phone: every tab can be seen and pressed with a thumb, and nothing is wider than it."""

import pytest
from playwright.sync_api import Locator, Page, expect

from gpt2demo.ui.app import TABS

pytestmark = pytest.mark.browser
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
THUMB = 44  # pixels: what Apple and the WCAG call large enough
SLOW = 60_000


def tabs(page: Page) -> Locator:
    return page.get_by_role("tablist").first.get_by_role("tab")


WITHIN_REACH = """([width, thumb, rows]) => {
    const tabs = [...document.querySelector("[role=tablist]").querySelectorAll("[role=tab]")];
    const boxes = tabs.map((tab) => tab.getBoundingClientRect());
    return innerWidth === width && tabs.length > 0
        && boxes.every((b) => b.left >= 0 && b.right <= width && b.height >= thumb)
        && tabs.every((tab) => tab.scrollWidth <= tab.clientWidth)
        && (!rows || new Set(boxes.map((b) => b.top)).size === rows);
}"""


def all_tabs_within_reach(page: Page, width: int, rows: int = 0) -> None:
    """Every tab's name is whole, within the screen and large enough; rows: in so many rows (0: any)."""
    expect(tabs(page)).to_have_text([title for _, title, _ in TABS], timeout=SLOW)
    page.wait_for_function(WITHIN_REACH, arg=[width, THUMB, rows], timeout=SLOW)


@pytest.mark.parametrize("dark", [False, True])
def test_all_tabs_are_within_a_thumbs_reach(address, open_page, dark: bool):
    page = open_page(address, **PHONE, dark=dark)
    all_tabs_within_reach(page, PHONE["width"])
    expect(page.get_by_label("More tabs")).to_have_count(0)
    for key, title, _ in reversed(TABS):
        page.get_by_role("tab", name=title, exact=True).click()
        expect(page.locator(f"#tab-{key}")).to_be_visible(timeout=SLOW)
        expect(page.get_by_role("tab", name=title, exact=True)).to_have_attribute("aria-selected", "true")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], title


def test_turning_and_widening_the_screen_hides_no_tab(address, open_page):
    page = open_page(address, **DESK)
    all_tabs_within_reach(page, DESK["width"], rows=1)
    for width in (390, 844, 320, 641, 640, 1024):
        page.set_viewport_size({"width": width, "height": 700})
        all_tabs_within_reach(page, width)
