"""What the rolls of a run's engines say together: read while the run goes on, or later. Nothing of Ray is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsft.cluster.roll import ROLL, Entry, read_roll

LET_GO = "let go for training"
"""The state of those who come back once a policy is trained, where that takes the cluster's machines."""


@dataclass(frozen=True, slots=True)
class Worked:
    """Those who have worked on a run on a cluster, in the order of their coming, engine by engine.

    Each worker is what its roll has of it (see `rsft.cluster.roll.Entry`), and besides: `name`, unique among all, which
    is its folder of logs below the rolls'; `rate`, tokens a second of the last while for one that is at work, else over
    all of its drawings (None: there is none); and `state`: at work, gone, or done.
    """

    workers: Sequence[Mapping[str, Any]] = ()
    overtaken: int = 0
    """How many shares of work were given to another worker as well, since the first was slow."""

    @property
    def lost(self) -> int:
        """How many workers went before their work was over."""
        return sum(worker["gone"] is not None for worker in self.workers)

    @property
    def hosts(self) -> int:
        return len({worker["host"] for worker in self.workers if worker["host"]})


def read_rolls(folder: Path, *, at_work: bool = False) -> Worked:
    """What all rolls below a folder say. `at_work` says whether somebody writes them now."""
    workers: list[Mapping[str, Any]] = []
    overtaken = 0
    for file in sorted(folder.rglob(ROLL)):
        told = read_roll(file)
        overtaken += told.overtaken
        of = file.parent.relative_to(folder)
        workers += [_said(worker, of, at_work and worker.start == told.start) for worker in told.workers]
    return Worked(workers, overtaken)


def _said(worker: Entry, of: Path, at_work: bool) -> Mapping[str, Any]:
    state = "gone" if worker.gone is not None else "done" if not at_work else LET_GO if worker.let_go else "at work"
    mean = worker.tokens / worker.seconds if worker.seconds and worker.tokens else None
    now = worker.tokens_per_second if state == "at work" else None
    return {**asdict(worker), "name": (of / worker.worker).as_posix(), "state": state, "rate": now or mean}


def worked_since(folder: Path, moment: float) -> list[str]:
    """How many workers have given something since a Unix time, and how many were lost, in words; nothing for none."""
    workers = read_rolls(folder).workers
    gave = sum(worker["came_at"] is not None and worker["came_at"] >= moment for worker in workers)
    lost = sum(worker["gone_at"] is not None and worker["gone_at"] >= moment for worker in workers)
    return [*([f"by {many(gave)}"] if gave else ()), *([f"{many(lost)} lost"] if lost else ())]


def many(count: int) -> str:
    return f"{count:,} worker{'' if count == 1 else 's'}"
