"""Running commands."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from command import Command, Said
from rsft.cli import main


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in the working folder."""

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
