"""A real browser, and the real server. The browser's driver runs a loop of its own in this thread, in which no other
loop could run: it ends with each file of tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from windows import PATIENCE, Site, Windows, served

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("Chromium is not there: `make chromium` installs it where apt-get can")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, timeout=2 * PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def windows(chromium: Browser) -> Iterator[Windows]:
    """Opens windows. Whatever was amiss in one of them fails the test."""
    opened = Windows(chromium)
    yield opened
    opened.close()
    assert opened.amiss == []


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Site]]:
    """Starts servers that end with the file's tests."""
    told, number = tmp_path_factory.mktemp("told"), count()
    with contextlib.ExitStack() as running:
        yield lambda runs: running.enter_context(served(runs, told / str(next(number))))
