"""Named points at which a crash test can have the process killed. Free otherwise.

`RSFT_FAILPOINT=candidates.renamed` kills the first time that the point is reached, `candidates.renamed:3` the third.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_reached: Counter[str] = Counter()


def reached(name: str) -> None:
    """Die here, at once and without any clean-up, if the environment asks for it."""
    wanted = os.environ.get("RSFT_FAILPOINT")
    if not wanted:
        return
    _reached[name] += 1
    point, _, times = wanted.partition(":")
    if point == name and _reached[name] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
