"""What Ray's dashboard shows: names that are never taken, and counters that are added to once an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsft.cluster.dashboard import Counted, engine_name, run_name, scorer_name


def test_names_say_who_it_is_and_are_never_the_same_twice() -> None:
    run = run_name(Path("/far/runs/bot"))
    names = [engine_name(run, "worker-3") for _ in range(3)] + [scorer_name(run, "relevance") for _ in range(3)]
    assert len(set(names)) == 6
    assert names[0].startswith("rsft runs/bot worker-3 (")
    assert names[3].startswith("rsft runs/bot scorer relevance (")


def test_counters_are_told_whose_they_are_and_never_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = pytest.importorskip("ray.util.metrics")
    told: list[tuple[str, float, dict[str, str]]] = []

    def record(self: Any, value: float, tags: dict[str, str]) -> None:
        told.append((self.info["name"], value, self._get_final_tags(tags)))

    monkeypatch.setattr(metrics.Counter, "_record", record)
    counted = Counted("runs/bot", "worker-3", "rsft_candidates", "rsft_tokens")
    counted.add(rsft_candidates=2, rsft_tokens=0)
    counted.add(rsft_candidates=0, rsft_tokens=0)
    counted.add(rsft_candidates=1, rsft_tokens=7)
    whose = {"run": "runs/bot", "worker": "worker-3"}
    assert told == [("rsft_candidates", 2, whose), ("rsft_candidates", 1, whose), ("rsft_tokens", 7, whose)]
