"""A real Chromium for the tests that need one, and the promises that every page has to keep in it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOCAL_SCHEMES = ("data", "blob", "about")
PATIENCE = 20_000  # milliseconds in which anything must come true, also on a machine that is busy


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the session; without a Chromium the tests are skipped, or fail where it is required."""
    executable = next((found for name in NAMES if (found := shutil.which(name))), None)
    if executable is None:
        reason = f"no Chromium: none of {', '.join(NAMES)} is installed"
        if os.environ.get("GPT2DEMO_REQUIRE_BROWSER") == "1":
            pytest.fail(reason + ", and GPT2DEMO_REQUIRE_BROWSER=1 asks for one")
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def served(command: list[str], *, timeout: float = 60, **environment: str) -> Iterator[str]:
    """Run a server that prints its address, and end it by its id afterwards."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ
        | {"GRADIO_ANALYTICS_ENABLED": "False", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said, until = "", time.monotonic() + timeout
    try:
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                return
            if time.monotonic() > until:
                break
        pytest.fail(f"the server did not say its address:\n{said}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def gallery() -> Iterator[str]:
    """The address of a page that shows every shared component."""
    with served([sys.executable, "tests/browser/gallery.py"]) as address:
        yield address


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real page, with a folder for runs that is empty at first."""
    runs = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "app.py", "--runs", str(runs), "--port", str(free_port())]
    with served(command) as address:
        yield address


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Open pages; at the end none of them may have had an error or asked another host for anything.

    `forgive` is a pattern of console errors that the test itself provokes.
    """
    contexts, wrong = [], []

    def open_one(
        address: str, *, width: int = 1440, height: int = 900, dark: bool = False, forgive: str = "never"
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        host = urlsplit(address).netloc

        def check(url: str) -> None:
            parts = urlsplit(url)
            if parts.scheme not in LOCAL_SCHEMES and parts.netloc != host:
                wrong.append(f"asked another host: {url}")

        page.on("request", lambda request: check(request.url))
        page.on("websocket", lambda socket: check(socket.url))
        page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))

        def listen(said: ConsoleMessage) -> None:
            words = f"{said.text} ({said.location.get('url', '')})"
            if said.type == "error" and not re.search(forgive, words):
                wrong.append(f"console: {words}")

        page.on("console", listen)
        page.goto(address + (("&" if "?" in address else "?") + "__theme=dark" if dark else ""))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)
