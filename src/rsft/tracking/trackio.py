"""Tells a run to Trackio, by its own client."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import IO, Any, ClassVar, Self

from rsft.config.tracking import Trackio
from rsft.tracking.base import About, Row


class TrackioTracker:
    """Each telling is a sitting of its own at Trackio, which ends once it has kept the rows: it takes them in the
    background, and says nothing of when they are safe. A row's number is its step, so that what is there is known."""

    begins_anew: ClassVar[bool] = False

    def __init__(self, options: Trackio, about: About) -> None:
        self._options, self._about = options, about

    @classmethod
    def problem(cls) -> str | None:
        return None

    @classmethod
    def open(cls, options: Trackio, about: About) -> Self:
        return cls(options, about)

    def tell(self, rows: Sequence[Row]) -> None:
        import trackio

        with _quiet():
            run: Any = trackio.init(
                project=self._options.project or "rsft",
                # It knows runs by their names: two of one name must not become one run.
                name=f"{self._about.name}-{self._about.id[:6]}",
                config=dict(self._about.config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            try:
                there = int(getattr(run, "_next_step", 0))
                for row in rows:
                    if row.number >= there:
                        run.log({**row.values, row.axis: row.at}, step=row.number)
            finally:
                run.finish()

    def close(self, finished: bool) -> None:
        pass


@contextmanager
def _quiet() -> Iterator[None]:
    """It prints, and standard output is for what a command says. What other threads print goes there all the same."""
    quiet: Any = _Quiet(sys.stdout)
    with redirect_stdout(quiet):
        yield


class _Quiet:
    """A stream that passes on all but what this thread writes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
