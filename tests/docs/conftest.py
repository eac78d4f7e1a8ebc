"""What the tests of the documentation share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from building import Built, build

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the tools


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The site, built anew beside a copy of what it is built from."""
    return build(tmp_path_factory.mktemp("site"))
