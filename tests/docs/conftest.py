"""What the tests of the documentation share."""

from __future__ import annotations

import pytest
from building import Built, build


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The site, built anew beside a copy of what it is built from."""
    return build(tmp_path_factory.mktemp("site"))
