"""Progress in plain lines, where no terminal is; and warnings, which are seen in either case."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from rich.progress import Progress

from rsft.cli import display

_log = logging.getLogger("rsft")


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


def test_warnings_are_plain_lines_among_the_others_while_somebody_tells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with display.reporter() as tell:
        tell.begin("sampling", 40, "candidates")
        _log.warning("worker-1 is gone: %s", "\x1b[31mred")
        _log.info("not worth a line")
        tell.end("40 candidates")
    assert capsys.readouterr().err.splitlines() == ["worker-1 is gone: \\x1b[31mred", "sampling: 40 candidates"]
    assert _log.handlers == []


def test_warnings_stand_above_the_bars() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with Progress(console=console, transient=True) as progress:
        tell = display.BarReporter(progress)
        with display.warnings_by(tell):
            tell.begin("sampling", 40, "candidates")
            _log.warning("worker-1 is gone: [red]%s", "\x1b[2J")
            tell.advance(3)
            progress.refresh()
    said = screen.getvalue()
    assert "\x1b[2J" not in said
    line = said.index("worker-1 is gone: [red]\\x1b[2J\n")
    assert "\x1b[2K" in said[:line], "the bar makes room for it"
    assert "sampling" in said[line:], "and is drawn again"
