"""What a training asks of the nodes of a Ray cluster, and nodes that are reserved for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from rsft.errors import TrainingError
from rsft.machines.connection import connected
from rsft.machines.room import Waiting, fits, in_words
from rsft.training.settings import SftSettings, launch_file

# Nodes that are busy, or that an autoscaler is about to start, are waited for; who waits long is told for what.
_WAIT_SECONDS, _LOOK_SECONDS = 1800.0, 5.0

_log = logging.getLogger("rsft")


@dataclass(frozen=True, slots=True)
class Share:
    """What a training asks of each node."""

    processes: int
    gpus: int
    cpus: int

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of a node are told of it."""
        threads = {"OMP_NUM_THREADS": str(max(1, self.cpus // self.processes))}
        return threads if self.gpus else threads | {"CUDA_VISIBLE_DEVICES": ""}

    @property
    def bundle(self) -> dict[str, float]:
        """The same as Ray says it."""
        return {"CPU": float(self.cpus)} | ({"GPU": float(self.gpus)} if self.gpus else {})


def share(settings: SftSettings, found: list[Mapping[str, Any]]) -> Share:
    """What `settings` ask of each node of a cluster with these (as ray.nodes() tells them).

    A configuration's num_processes are those of its num_machines; without it there is one for each GPU. Raises
    TrainingError where that makes none.
    """
    assert settings.launch is not None
    assert settings.nodes is not None
    said = yaml.safe_load(launch_file(settings.launch).read_text(encoding="utf-8"))
    fixed = int(said.get("num_processes") or 0) // int(said.get("num_machines") or 1)
    gpus = settings.gpus_per_node
    if gpus is None:
        counts = [int(_has(node).get("GPU", 0)) for node in found if node["Alive"]]
        gpus = min(sorted(filter(None, counts), reverse=True)[: settings.nodes], default=0)
    gpus = min(gpus, fixed) if fixed else gpus
    processes = fixed or gpus
    if processes == 0:
        raise TrainingError(
            f"training.launch: {settings.launch} trains on all GPUs of each node, and no node of the Ray cluster has"
            " any. Say how many a node will have (training.gpus_per_node) if nodes are still to come,"
            f" or how many processes there shall be (num_processes) in a copy of {launch_file(settings.launch)}."
        )
    return Share(processes, gpus, settings.cpus_per_node or processes)


def check(settings: SftSettings) -> None:
    """Raise RunError if there is no cluster, TrainingError if there is nothing to train on; warn if nodes are still to
    come."""
    with connected() as ray:
        found = ray.nodes()
    asked = share(settings, found)
    there = sum(fits(node, asked.bundle) for node in found)
    if there < (settings.nodes or 0):
        _log.warning(
            "training.nodes is %s, and %s of the Ray cluster's nodes could train (%s each): the others are waited for"
            " when it comes to training.",
            settings.nodes,
            there,
            in_words(asked.bundle),
        )


@dataclass(frozen=True, slots=True)
class Reserved:
    """Nodes that are held: Ray's placement group, with a bundle on each, and what the nodes are called."""

    group: Any
    names: tuple[str, ...]


@contextmanager
def reserved(ray: Any, asked: Share, wanted: int, *, least: int, patience: float) -> Iterator[Reserved]:
    """`wanted` nodes; after `patience` seconds as many as are there, but not fewer than `least`.

    Raises TrainingError if they can't be had in half an hour.
    """
    began, count, waiting = time.monotonic(), wanted, Waiting(ray, asked.bundle)
    group = _group(ray, asked, count)
    try:
        while not group.wait(_LOOK_SECONDS):
            waited = time.monotonic() - began
            there = sum(fits(node, asked.bundle) for node in ray.nodes())
            if waited > patience and least <= there < count:
                _log.warning("Of %s nodes to train on, %s are there: these train.", wanted, there)
                ray.util.remove_placement_group(group)
                count = there
                group = _group(ray, asked, count)
            elif waited > _WAIT_SECONDS:
                raise TrainingError(
                    f"The Ray cluster had no {count} nodes ({in_words(asked.bundle)} each) to train on for"
                    f" {_WAIT_SECONDS / 60:.0f} minutes; {there} could do it when nothing else uses them. Add nodes,"
                    " ask for fewer or less (training.nodes, gpus_per_node, cpus_per_node), and go on with rsft resume."
                )
            waiting.look(f"{count} nodes to train on have")
        yield Reserved(group, _names(ray, group, count))
    finally:
        ray.util.remove_placement_group(group)


def _group(ray: Any, asked: Share, count: int) -> Any:
    return ray.util.placement_group([asked.bundle] * count, strategy="STRICT_SPREAD", name="rsft training")


def _names(ray: Any, group: Any, count: int) -> tuple[str, ...]:
    """What the nodes of the bundles are called: by the name they were started with, or their host's. No two by one."""
    nodes = {node["NodeID"]: node for node in ray.nodes()}
    where = ray.util.placement_group_table(group)["bundles_to_node_id"]
    names: list[str] = []
    for bundle in range(count):
        node = nodes.get(where.get(bundle), {})
        named, address = node.get("NodeName", ""), node.get("NodeManagerAddress", "")
        name = named if named and named != address else node.get("NodeManagerHostname") or address or "node"
        names.append(name if name not in names else f"{name}-{bundle}")
    return tuple(names)


def _has(node: Mapping[str, Any]) -> Mapping[str, float]:
    return node.get("Resources") or {}
