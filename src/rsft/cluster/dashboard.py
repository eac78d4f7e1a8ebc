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


def run_name(folder: Path) -> str:
    """What a run is called there: the last two names of its folder's path, as in runs/bot."""
    return "/".join(folder.absolute().parts[-2:])


def engine_name(run: str, worker: str) -> str:
    """What a worker of a run's engine is called."""
    return _unique(f"rsft {run} {worker}")


def scorer_name(run: str, scorer: str) -> str:
    """What a copy of a run's scorer is called."""
    return _unique(f"rsft {run} scorer {scorer}")


def _unique(name: str) -> str:
    # Ray refuses a name that another actor has, or had until just now.
    return f"{name} ({socket.gethostname()} {os.getpid()}.{next(_numbers)})"


class Counted:
    """Counters of one actor, made and added to in its process. Each is told apart by who counts: `run` and `worker`.
    Ray exports them, every ten seconds, as ray_NAME_total."""

    def __init__(self, run: str, worker: str, *names: str) -> None:
        from ray.util.metrics import Counter

        who = {"run": run, "worker": worker}
        self._counters = {name: Counter(name, _DESCRIBED[name], tuple(who)).set_default_tags(who) for name in names}

    def add(self, **counts: int) -> None:
        """Add to the counters of these names."""
        for name, further in counts.items():
            if further:  # Ray refuses to add nothing
                self._counters[name].inc(further)
