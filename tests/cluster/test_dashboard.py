"""What Ray's dashboard shows: names that are never taken, and counters that are added to once an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsft.cluster.dashboard import Counted, engine_name, scorer_name


def test_names_say_who_it_is_and_are_never_the_same_twice() -> None:
    names = [engine_name(Path("/far/runs/bot/servers"), "worker-3") for _ in range(3)]
    names += [scorer_name("relevance") for _ in range(3)]
    assert len(set(names)) == 6
    assert names[0].startswith("rsft runs/bot/servers worker-3 (")
    assert names[3].startswith("rsft scorer relevance (")


def test_counters_are_told_whose_they_are_and_never_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = pytest.importorskip("ray.util.metrics")
    told: list[tuple[str, float, dict[str, str]]] = []

    def record(self: Any, value: float, tags: dict[str, str]) -> None:
        told.append((self.info["name"], value, self._get_final_tags(tags)))

    monkeypatch.setattr(metrics.Counter, "_record", record)
    counted = Counted("worker-3", "rsft_candidates", "rsft_tokens")
    counted.add(rsft_candidates=2, rsft_tokens=0)
    counted.add(rsft_candidates=0, rsft_tokens=0)
    counted.add(rsft_candidates=1, rsft_tokens=7)
    whose = {"worker": "worker-3"}
    assert told == [("rsft_candidates", 2, whose), ("rsft_candidates", 1, whose), ("rsft_tokens", 7, whose)]
