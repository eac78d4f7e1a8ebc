"""A run's progress on the terminal: bars with rates and time left, or plain lines where nobody watches."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from rsft.progress import Reporter
from rsft.wording import printable

# A piped run says how far it is this often.
_PLAIN_SECONDS = 30.0
# Candidates are drawn side by side, so the first few that end say little of the rest.
_KNOWN_SHARE = 0.05


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter that suits where stderr goes; stdout stays free for what the command prints."""
    if not sys.stderr.isatty():
        with warnings_by(plain := PlainReporter()):
            yield plain
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress, warnings_by(bars := BarReporter(progress)):
        yield bars


@contextmanager
def warnings_by(tell: Reporter) -> Iterator[None]:
    """Have the reporter say what the package warns of meanwhile: between bars, and inert."""
    log, teller = logging.getLogger("rsft"), _Teller(tell)
    log.addHandler(teller)
    try:
        yield
    finally:
        log.removeHandler(teller)


class _Teller(logging.Handler):
    """Hands warnings on to a reporter."""

    def __init__(self, tell: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell.say(self.format(record))


class BarReporter:
    """One bar for the stage that runs; a line stays behind for each that is done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: TaskID | None = None
        self.title, self.tokens, self.began = "", 0, 0.0

    def begin(self, title: str, total: int, unit: str) -> None:
        self._clear()
        self.title, self.tokens, self.began = title, 0, time.monotonic()
        self.task = self.progress.add_task(title, total=total, rate=unit)

    def advance(self, steps: int, tokens: int = 0) -> None:
        if self.task is None:
            return
        self.tokens += tokens
        self.progress.update(self.task, advance=steps)
        if self.tokens:
            rate = self.tokens / max(1e-9, time.monotonic() - self.began)
            self.progress.update(self.task, rate=f"{rate:.0f} tokens/s")

    def end(self, note: str) -> None:
        self._clear()
        self.say(f"{self.title}: {note}")

    def say(self, line: str) -> None:
        self.progress.console.print(printable(line), highlight=False, markup=False)

    def _clear(self) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None


class PlainReporter:
    """Lines on stderr: one when a stage is done, and one every half minute in between."""

    def __init__(self) -> None:
        self.title, self.unit = "", ""
        self.done = self.total = self.tokens = 0
        self.began = self.spoke = 0.0

    def begin(self, title: str, total: int, unit: str) -> None:
        self.title, self.unit, self.total = title, unit, total
        self.done = self.tokens = 0
        self.began = self.spoke = time.monotonic()

    def advance(self, steps: int, tokens: int = 0) -> None:
        if not self.title:  # what is done before the first stage begins, or between two
            return
        self.done += steps
        self.tokens += tokens
        now = time.monotonic()
        if now - self.spoke < _PLAIN_SECONDS:
            return
        self.spoke = now
        seconds = now - self.began
        rate = f", {self.tokens / seconds:.0f} tokens/s" if self.tokens else ""
        left = ""
        if self.done >= _KNOWN_SHARE * self.total:
            left = f", about {seconds / max(1, self.done) * (self.total - self.done):.0f} s left"
        self.say(f"{self.title}: {self.done} of {self.total} {self.unit}{rate}{left}")

    def end(self, note: str) -> None:
        self.say(f"{self.title}: {note}")
        self.title = ""

    def say(self, line: str) -> None:
        print(printable(line), file=sys.stderr, flush=True)
