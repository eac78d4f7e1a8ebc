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


def reached(name: str, times: int = 1) -> None:
    """Die here, at once and without any clean-up, if the environment asks for it; or tell who listens. `times`: it is
    reached so many times at once."""
    if _listener is not None:
        for _ in range(times):
            _listener(name)
    wanted = os.environ.get("RSFT_FAILPOINT")
    if not wanted:
        return
    point, _, deadly = wanted.partition(":")
    before = _reached[name]
    _reached[name] += times
    if point == name and before < int(deadly or 1) <= _reached[name]:
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
