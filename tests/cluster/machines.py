"""A Ray cluster whose machines are processes of this one: a head, on which nothing works, and others that may die."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
_STORE = 80 * 2**20  # bytes, the least that Ray takes


class Machines:
    """A head, which is the driver's machine, and so many others."""

    def __init__(self, others: int = 2, cores: int = 4) -> None:
        from ray.cluster_utils import Cluster

        self._cores = cores
        # A machine that died is known to be dead in a second or two, not in fifteen.
        quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3, "health_check_timeout_ms": 2000}
        head = {"num_cpus": cores, "object_store_memory": _STORE, "_system_config": quick}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.others: list[Any] = []
        for _ in range(others):
            self.add()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self) -> None:
        """One machine more."""
        self.others.append(self._cluster.add_node(num_cpus=self._cores, object_store_memory=_STORE))

    def raylets(self) -> list[int]:
        """The processes without which the others are dead."""
        return [_raylet(node) for node in self.others]

    def mend(self) -> None:
        """New machines in the place of the dead."""
        for node in list(self.others):
            if not psutil.pid_exists(_raylet(node)) or psutil.Process(_raylet(node)).status() == psutil.STATUS_ZOMBIE:
                self.others.remove(node)
                self._cluster.remove_node(node, allow_graceful=False)
                self.add()

    def close(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()


def _raylet(node: Any) -> int:
    (raylet,) = node.all_processes["raylet"]
    return int(raylet.process.pid)


def actors() -> list[int]:
    """The processes in which somebody works, on any machine."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if words[0].startswith(("ray::Actor", "ray::_Actor", "ray::rsft")):
            found.append(process.pid)
    return found


def nobody_is_left() -> bool:
    """Whether all of them have ended, in a while: each does so by itself."""
    for pid in actors():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(timeout=30)
    return not actors()


@contextmanager
def machines(others: int = 2) -> Iterator[Machines]:
    started = Machines(others)
    try:
        yield started
    finally:
        started.close()
