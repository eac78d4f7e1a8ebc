"""What Ray's dashboard and its metrics show of this project: who works, by names that a person can read, and how much.

Counters are added to once for each answer, not for each candidate; where nobody collects them Ray drops the numbers.
"""

from __future__ import annotations

import os
import socket
from itertools import count
from pathlib import Path

_numbers = count(1)

_DESCRIBED = {
    "rsft_candidates": "Candidates that a worker has drawn",
    "rsft_tokens": "Tokens of the candidates that a worker has drawn",
    "rsft_scores": "Replies that a copy of a scorer has scored",
}


def engine_name(logs: Path, worker: str) -> str:
    """What a worker of an engine is called, whose logs are kept below `logs`, in a run folder."""
    return _unique(f"rsft {'/'.join(logs.absolute().parts[-3:])} {worker}")


def scorer_name(scorer: str) -> str:
    """What a copy of a scorer is called."""
    return _unique(f"rsft scorer {scorer}")


def _unique(name: str) -> str:
    # Ray refuses a name that another actor has, or had until just now.
    return f"{name} ({socket.gethostname()} {os.getpid()}.{next(_numbers)})"


class Counted:
    """Counters of one actor, made and added to in its process. Each is told apart by who counts: `worker`. Ray exports
    them, every ten seconds, as ray_NAME_total."""

    def __init__(self, worker: str, *names: str) -> None:
        from ray.util.metrics import Counter

        self._counters = {
            name: Counter(name, _DESCRIBED[name], ("worker",)).set_default_tags({"worker": worker}) for name in names
        }

    def add(self, **counts: int) -> None:
        """Add to the counters of these names."""
        for name, further in counts.items():
            if further:  # Ray refuses to add nothing
                self._counters[name].inc(further)
