"""Runs by fakes, and browsers that may see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_runs import write_recipe

from rsft.loop import run
from rsft.web.app import gated

HOST, PORT = "127.0.0.1", 7878
HERE = f"http://{HOST}:{PORT}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, which nobody changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        run(write_recipe())
        return Path("runs").absolute()


@pytest.fixture
def browser() -> Callable[..., TestClient]:
    """Opens the printed address of a folder's pages: a browser that holds the cookie from then on."""

    def opened(folder: Path) -> TestClient:
        gate = gated(folder, HOST, PORT)
        client = TestClient(gate, base_url=HERE, headers={"Origin": HERE})
        assert client.get(f"/?token={gate.token}").status_code == 200
        return client

    return opened
