"""Shared fixtures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from command import Command
    from judges import FakeJudge

sys.path.insert(0, str(Path(__file__).parent))
# No timed test, and the same examples on every machine.
settings.register_profile("rsft", deadline=None, derandomize=True)
settings.load_profile("rsft")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests that run side by side have a core each: threads that wait for each other on a shared one take many times as
    # long.
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a ChatML template."""
    from tiny import save_model

    return save_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in the working folder."""
    from command import Said
    from rsft.cli import main

    def command(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["rsft", *words])
        capsys.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        return Said(code, *capsys.readouterr())

    return command


@pytest.fixture
def judge() -> Iterator[FakeJudge]:
    """A chat model behind a server, which judges as the test wants it to."""
    from judges import FakeJudge, serving

    with serving(FakeJudge()) as fake:
        yield fake
