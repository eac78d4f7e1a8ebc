"""What workers ask of Ray: what the recipe says, and else so little that those of one run never wait for each other."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from rsft.cluster import panel
from rsft.cluster.resources import asked_of_ray
from rsft.config.cluster import WorkersSection


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What each machine has."""
    machines: list[dict[str, float]] = []
    nodes = lambda: [{"Alive": True, "Resources": one} for one in machines]  # noqa: E731
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=nodes))
    return machines


def asked(share: float = 1.0, **said: Any) -> tuple[float, float, int, int]:
    options, count, threads = asked_of_ray(WorkersSection(**said), gpus=said.get("gpus"), share=share)
    return options["num_cpus"], options["num_gpus"], count, threads


def test_there_is_one_for_each_machine_with_its_cores(cluster: list[dict[str, float]]) -> None:
    cluster += [{"CPU": 8}, {"CPU": 4}, {"memory": 1e9}]  # the last one only directs
    assert asked() == (1, 0, 2, 4)
    assert asked(workers=4) == (1, 0, 4, 2)
    assert asked(workers=4, cpus=3) == (3, 0, 4, 3)


def test_there_is_one_for_each_gpu(cluster: list[dict[str, float]]) -> None:
    cluster += [{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 1}]
    assert asked() == (1, 1, 3, 4)


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_an_engine_and_its_scorers_find_room_on_the_smallest_machine(
    cluster: list[dict[str, float]], cores: float
) -> None:
    cluster += [{"CPU": cores}]
    engine, *_ = asked()
    scorer, *_ = asked(panel._SHARE)
    assert engine + 5 * scorer <= cores
    assert scorer > 0, "one without would go to a machine that only directs"
