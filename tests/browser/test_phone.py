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


def all_tabs_within_reach(page: Page, width: int) -> list[float]:
    """Every tab's name is whole, within the screen and large enough. → the heights at which they stand"""
    expect(tabs(page)).to_have_text([title for _, title, _ in TABS], timeout=SLOW)
    places = []
    for tab in tabs(page).all():
        expect(tab).to_be_visible()
        box = tab.bounding_box()
        assert box is not None
        assert 0 <= box["x"] and box["x"] + box["width"] <= width and box["height"] >= THUMB, (width, box)
        assert tab.evaluate("tab => tab.scrollWidth <= tab.clientWidth"), "its name is cut"
        places.append(box["y"])
    return places


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
    assert len(set(all_tabs_within_reach(page, DESK["width"]))) == 1, "on a wide screen they share one row"
    for width in (390, 844, 320, 641, 640, 1024):
        page.set_viewport_size({"width": width, "height": 700})
        all_tabs_within_reach(page, width)
