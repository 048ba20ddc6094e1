"""Reloads during a run in a real Chromium: the same run is back at once, no step missing, none twice."""

from __future__ import annotations

import os
import statistics
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
RELOADS = int(os.environ.get("GPT2DEMO_RELOADS", "6"))  # 50 for a figure that means something
SECONDS = float(os.environ.get("GPT2DEMO_RELOAD_SECONDS", "8"))  # 2 on a machine that does nothing else
PATIENCE = 120_000  # milliseconds
# A reload's clock is the page's own: it begins when the reload begins. → milliseconds, steps and losses drawn
BACK = """([run, known]) => {
  const view = document.querySelector("#train-run");
  const plot = view?.querySelector(".gd-plot-area");
  const back = plot?.data && Number(view.dataset.points) >= known && view.dataset.run === run;
  const [steps, losses] = back ? [plot.data[0].x, plot.data[0].y].map((part) => Array.from(part)) : [];
  return back && { milliseconds: performance.now(), steps, losses };
}"""


def back(page: Page, run: str, known: int) -> dict[str, Any]:
    """Waits until a page shows the run with at least so many steps. → what it shows"""
    found = page.wait_for_function(BACK, arg=[run, known], timeout=PATIENCE, polling=20).json_value()
    steps = found["steps"]
    assert steps == list(range(len(steps))), "no gap, and no step twice"
    return dict(found)


def test_a_reload_shows_the_same_run_complete_and_two_tabs_agree(address, open_page):
    # A reload cuts what is on its way, which gradio's own script reports as an error. And gradio forgets a
    # session's messages when a stream is cut while the next one opens: error 404, and the next tick comes.
    page = open_page(
        address,
        forgive="AbortError|Connection errored out|net::ERR|Failed to fetch|NetworkError|Failed to load"
        "|Unexpected error 404|TypeError: network error",
    )
    expect(page.locator("#train-estimate .gd-estimate")).to_contain_text("steps", timeout=PATIENCE)
    page.locator("#mode").get_by_text("Full").click()
    page.locator("#train-budget").get_by_text("steps", exact=True).click()
    page.locator("#train-steps input").fill("1900")  # more would be thinned out on the way to the page
    page.locator("#train-size").get_by_text("Micro").click()  # steps that leave time for the reloads
    page.locator("#train-title textarea").fill("Reloaded")
    expect(page.locator("#train-model-report .gd-stats")).to_be_visible(timeout=PATIENCE)
    page.locator("#train-start").click()
    expect(page.locator("#train-whose [data-run]")).to_contain_text("Reloaded", timeout=PATIENCE)
    run = page.locator("#train-whose [data-run]").get_attribute("data-run") or ""
    known = len(back(page, run, 3)["steps"])

    times = []
    for _ in range(RELOADS):
        page.reload(wait_until="commit")
        shown = back(page, run, known)
        known = len(shown["steps"])
        times.append(shown["milliseconds"] / 1_000)
    times.sort()
    p95 = times[max(0, round(0.95 * len(times)) - 1)]
    median = statistics.median(times)
    print(f"\n{RELOADS} reloads: median {median:.2f} s, p95 {p95:.2f} s, most {times[-1]:.2f} s")
    assert p95 < SECONDS

    other = page.context.new_page()
    other.goto(address + f"?run={run}")
    here, there = back(page, run, known), back(other, run, known)
    common = min(len(here["losses"]), len(there["losses"]))
    assert common >= known and here["losses"][:common] == there["losses"][:common]
    state = page.locator("#train-run").get_attribute("data-status")
    assert state == "running", "the run was long enough for this test"
    page.locator("#train-stop").click()
    for tab in (page, other):
        expect(tab.locator("#train-run")).to_have_attribute("data-status", "stopped", timeout=PATIENCE)
    assert back(page, run, known)["losses"] == back(other, run, known)["losses"]
