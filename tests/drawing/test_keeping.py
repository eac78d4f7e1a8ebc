"""How much is committed at once follows how quickly it comes; what is kept already is not kept again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsft import keeping
from rsft.errors import RunError, ScoringError
from rsft.keeping import Keeping
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Score


class Named:
    fingerprint = "f"


SCORERS: Any = {"facts": Named()}


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keeping.time, "monotonic", clock)
    return clock


def scored(index: int, value: float | None = 1.0) -> tuple[Candidate, dict[str, Score]]:
    candidate = Candidate(CandidateKey(1, "p", index, "g"), "hello", (1,), "stop", 0.0, 0.0)
    return candidate, {"facts": Score(value) if value is not None else Score.failed("away")}


@pytest.mark.parametrize(("a_second", "rows"), [(1, 10), (10, 20), (40, 80), (1000, 100)])
def test_a_commits_size_follows_the_rate(tmp_path: Path, clock: Clock, a_second: int, rows: int) -> None:
    """At least ten, and what comes within two seconds, but no more than a hundred."""
    with pytest.MonkeyPatch.context() as patch, RunFolder.open(tmp_path, write=True) as folder:
        patch.setattr(keeping, "_MOST", 100)
        with Keeping(folder, SCORERS, at_once=10, seconds=2.0) as kept:
            for index in range(250):
                clock.seconds += 1 / a_second
                kept.keep([scored(index)])
        sizes = [segment.rows for segment in folder.ledger.segments("candidates")]
        assert sum(sizes) == 250
        assert max(sizes) <= 100
        assert all(abs(size - rows) <= 1 for size in sizes[:-1])


def test_known_scores_are_not_kept_again(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        with Keeping(folder, SCORERS) as kept:
            kept.keep([scored(0), scored(1, None), scored(2, None)])
        known = folder.scores(iteration=1)
        with Keeping(folder, SCORERS, known) as again:
            again.keep([scored(0), scored(1, None), scored(2), scored(3)])
        assert [segment.rows for segment in folder.ledger.segments("scores")] == [3, 2], "what was mended, and another"
        assert len(folder.candidates()) == 3
        values = {key.sample_index: said["facts"].value for key, said in folder.scores(iteration=1).items()}
        assert values == {0: 1.0, 1: None, 2: 1.0, 3: 1.0}


@pytest.mark.parametrize(
    ("error", "rows"), [(KeyboardInterrupt(), 2), (ScoringError("failed"), 2), (RunError("full"), 0), (KeyError(), 0)]
)
def test_what_waits_is_kept_where_a_user_or_a_scorer_ends_it(tmp_path: Path, error: BaseException, rows: int) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        kept = Keeping(folder, SCORERS)
        kept.keep([scored(0), scored(1)])
        kept.__exit__(type(error), error, None)
        assert len(folder.candidates()) == rows


def test_scores_whose_candidates_were_lost_are_not_kept_twice(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder, Keeping(folder, SCORERS) as kept:
        kept.keep([scored(0), scored(1)])
    next((tmp_path / "candidates").glob("*.parquet")).write_bytes(b"")
    with RunFolder.open(tmp_path, write=True) as folder:
        assert not folder.candidates()
        with Keeping(folder, SCORERS) as kept:
            kept.keep([scored(0), scored(1)])
        assert len(folder.candidates()) == len(folder.scores()) == 2
