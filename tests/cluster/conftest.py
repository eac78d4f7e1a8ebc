"""Shared fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import Machines, machines


@pytest.fixture(scope="module")
def three() -> Iterator[Machines]:
    """A cluster of three machines, one of them the driver's."""
    with machines() as started:
        yield started
