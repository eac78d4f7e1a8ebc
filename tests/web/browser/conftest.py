"""A real browser, and the real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from windows import Site, chromium, served, windows

__all__ = ["chromium", "windows"]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Site]]:
    """Starts servers that end with the file's tests."""
    told, number = tmp_path_factory.mktemp("told"), count()
    with contextlib.ExitStack() as running:
        yield lambda runs: running.enter_context(served(runs, told / str(next(number))))
