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
    tell.begin("sampling", 40, "candidates")
    tell.advance(1)
    tell.advance(2)
    tell.end("40 candidates")
    tell.advance(1)
    early, later, last = capsys.readouterr().err.splitlines()
    assert early == "sampling: 1 of 40 candidates", "too early to say how long it takes"
    assert later.startswith("sampling: 3 of 40 candidates, about ")
    assert last == "sampling: 40 candidates"
