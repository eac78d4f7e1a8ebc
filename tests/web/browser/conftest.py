"""A real browser, and the real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from windows import Site, Windows, browsing, served


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


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Site]]:
    """Starts servers that end with the file's tests."""
    told, number = tmp_path_factory.mktemp("told"), count()
    with contextlib.ExitStack() as running:
        yield lambda runs: running.enter_context(served(runs, told / str(next(number))))
