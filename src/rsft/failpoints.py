"""Named points at which a crash test can have the process killed. Free otherwise.

`RSFT_FAILPOINT=candidates.renamed` kills the first time that the point is reached, `candidates.renamed:3` the third. A
test in the same process may listen instead.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_reached: Counter[str] = Counter()
_listener: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """Die here, at once and without any clean-up, if the environment asks for it; or tell who listens."""
    if _listener is not None:
        _listener(name)
    wanted = os.environ.get("RSFT_FAILPOINT")
    if not wanted:
        return
    _reached[name] += 1
    point, _, times = wanted.partition(":")
    if point == name and _reached[name] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Have somebody hear of every point that is reached."""
    global _listener  # noqa: PLW0603
    _listener = listener
    try:
        yield
    finally:
        _listener = None
