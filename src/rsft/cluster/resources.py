"""What Ray is asked for each worker, how many there are to be, and what Ray's errors say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rsft.config.cluster import WorkersSection
from rsft.errors import UserError


def asked_of_ray(
    wanted: WorkersSection, *, gpus: float | None = None, ranks: int = 1, share: float = 1.0
) -> tuple[dict[str, Any], int, int]:
    """An actor's options, how many actors there are to be, and how many threads of a CPU's each has.

    By default one for each GPU, or each group of `ranks`, where the cluster has any; else one for each machine, with
    the machine's cores shared among those that are on it: each then holds a `share` of a core by Ray's count, and of a
    machine that has only one no more than half.
    """
    import ray

    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in there if node.get("CPU") or node.get("GPU")]  # a head may be there to direct only
    gpus_there = sum(node.get("GPU", 0) for node in nodes)
    if gpus is None:
        gpus = wanted.gpus if wanted.gpus is not None else (ranks if gpus_there else 0)
    count = wanted.workers or max(1, _fitting(nodes, gpus))
    least = min((node.get("CPU", 1) for node in nodes), default=1)
    cpus = min(share, least / 2) if wanted.cpus is None else wanted.cpus
    asked: dict[str, Any] = {"num_gpus": gpus, "num_cpus": cpus}
    if wanted.memory_gib is not None:
        asked["memory"] = int(wanted.memory_gib * 2**30)
    if wanted.resources:
        asked["resources"] = dict(wanted.resources)
    if wanted.cpus is not None:
        return asked, count, max(1, math.floor(wanted.cpus))
    return asked, count, max(1, int(least // math.ceil(count / max(1, len(nodes)))))


def _fitting(nodes: Sequence[Mapping[str, float]], gpus: float) -> int:
    """How many workers with so many GPUs each have room on these machines; one on each where they take none."""
    return sum(int(node.get("GPU", 0) // gpus) for node in nodes) if gpus else len(nodes)


def raised(error: Any) -> UserError | None:
    """The error of ours behind one of Ray's: what an actor raised, or what ended its making."""
    cause = getattr(error, "cause", None)
    cause = getattr(cause, "cause", cause)
    return cause if isinstance(cause, UserError) else None


def said_of(error: Exception) -> str:
    """What matters of one of Ray's errors, in a line: what was raised there, or that somebody died."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised_there = "creation task" in lines[0] or "ray::" in lines[0]
    return lines[-1] if raised_there else lines[0]
