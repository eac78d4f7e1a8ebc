"""A real browser; `rsft ui` as a process, as a user has it; and windows that note whatever is amiss."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

PATIENCE = 60_000
"""Milliseconds in which a page that is slow on a busy machine does what it is to do."""
# A server that is asked with a status of its own, which a test expects, is told of by the browser as an error.
_STATUS = "Failed to load resource: the server responded with a status of"


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """A browser, or a skipped test where there is none. Its driver runs a loop of its own in this thread, in which no
    other loop could run: let it end with each file of tests."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("Chromium is not there: `make chromium` installs it where apt-get can")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, timeout=2 * PATIENCE)
        yield browser
        browser.close()


def rsft(*words: str, folder: Path) -> str:
    """What a command prints that is to succeed, in a folder."""
    command = [sys.executable, "-m", "rsft", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Site(NamedTuple):
    """A server: `opening` is the address that it printed, and `base` what its pages begin with."""

    opening: str
    base: str
    runs: Path


@contextlib.contextmanager
def served(runs: Path, told: Path) -> Iterator[Site]:
    """The pages of a folder of runs. Whatever the server says in stderr, which it should not, is kept in `told`."""
    command = [sys.executable, "-m", "rsft", "ui", str(runs), "--no-open", "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        told.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment) as server,
    ):
        try:
            assert server.stdout is not None
            said = json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")
            yield Site(said["address"], said["address"].partition("/?")[0], runs)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)
    assert told.read_text() == ""
    assert server.returncode == 0


def ready(page: Page) -> Page:
    """The page once its scripts listen: text is there to be seen before."""
    page.wait_for_load_state("load")
    return page


def press(page: Page, *keys: str) -> None:
    """Press keys as soon as the page listens to them."""
    ready(page)
    for key in keys:
        page.keyboard.press(key)


class Windows:
    """Windows of one browser. `amiss` has what no page may ever do: show a dialog, open a window, write an error to the
    console, or ask another machine for anything."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.amiss: list[str] = []

    def open(self, site: Site, path: str = "/", **options: Any) -> Page:
        """A page of a server, in a window that holds its cookie. `options` are those of Playwright's contexts."""
        page = self.blank(site.base, **options)
        page.goto(site.opening)
        page.wait_for_url(f"{site.base}/")
        if path != "/":
            page.goto(site.base + path)
        return page

    def blank(self, *allowed: str, **options: Any) -> Page:
        """An empty window that may ask for addresses of these servers only."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.set_default_navigation_timeout(PATIENCE)
        context.on("request", lambda request: self._asked(request.url, allowed))
        context.on("console", lambda said: self._said(said.type, said.text))
        context.on("weberror", lambda error: self.amiss.append(f"error: {error.error}"))
        page = context.new_page()
        page.on("popup", lambda popup: self.amiss.append(f"window: {popup.url}"))
        page.on("dialog", self._dialog)
        return page

    def close(self) -> None:
        while self._contexts:
            self._contexts.pop().close()

    def _asked(self, url: str, allowed: tuple[str, ...]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "file") and f"{parts.scheme}://{parts.netloc}" not in allowed:
            self.amiss.append(f"request: {url[:200]}")

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith(_STATUS):
            self.amiss.append(f"{kind}: {text[:300]}")

    def _dialog(self, dialog: Any) -> None:
        self.amiss.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def windows(chromium: Browser) -> Iterator[Windows]:
    """Opens windows. Whatever was amiss in one of them fails the test."""
    opened = Windows(chromium)
    yield opened
    opened.close()
    assert opened.amiss == []
