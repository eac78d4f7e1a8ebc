"""Progress in plain lines, where no terminal is."""

from __future__ import annotations

import pytest

from rsft.cli import display


def test_plain_lines_tell_of_stages_and_of_nothing_outside_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "_PLAIN_SECONDS", 0)
    tell = display.PlainReporter()
    tell.advance(4)
    tell.begin("sampling", 8, "candidates")
    tell.advance(2)
    tell.end("8 candidates")
    tell.advance(1)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("sampling: 2 of 8 candidates, about ")
    assert last == "sampling: 8 candidates"
