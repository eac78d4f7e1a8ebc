"""Whole runs by fakes, in a second each; what they come to; and processes that end when they must not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rsft
from rsft import failpoints
from rsft.keeping import Keeping
from rsft.store import RunFolder

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good: {prompt}", "Good again: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40, temperature: tune}
scorers:
  polite: {type: format, pattern: "Good.*"}
  long: {type: length, min_words: 2}
  whole: {type: combined, sum: {polite: 1, words: 0.1}, standardise: true}
  words: mine.py:words
selection: [polite >= 1, long >= 1, no_duplicates, {cap: 2}]
baselines: [greedy, reference]
training: {type: "null"}
evaluation: {samples: 2, scorers: {liked: mine.py:liked}}
guards: {plateau: off}
loop: {iterations: 2, control: [random, unfiltered], improve: [words >= 5]}
"""
SCORERS = """
def words(replies):
    return [len(reply.text.split()) for reply in replies]


def liked(replies):
    return ["well" in reply.text or "again" in reply.text for reply in replies]
"""


KEY = ["iteration", "prompt_id", "sample_index", "generator"]
IDENTITIES = {
    "candidates": [*KEY, "text"],
    "scores": [*KEY, "scorer", "fingerprint", "value"],
    "decisions": [*KEY, "selection", "accepted", "rule"],
}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rsft.Recipe:
    """A recipe that has every stage there is, in a folder of its own; some rows at a time are committed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Keeping.__init__.__kwdefaults__, "at_once", 24)
    monkeypatch.setitem(Keeping.__init__.__kwdefaults__, "seconds", 0.0)
    return make_recipe()


def make_recipe() -> rsft.Recipe:
    """Write the recipe and its files into this folder."""
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(SCORERS)
    for split, count in (("train", 5), ("heldout", 3)):
        rows = [
            {"id": f"{split}{i}", "prompt": f"question {i} of {split}", "reference": f"Good reply {i}"}
            for i in range(count)
        ]
        Path(f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return rsft.load_recipe("scripted.yaml")


def elsewhere(run: str, *overrides: str) -> rsft.Recipe:
    """The recipe, in another run folder."""
    return rsft.load_recipe("scripted.yaml", f"run={run}", *overrides)


def outcome(run: str | Path) -> dict[str, Any]:
    """What a run came to: everything but times, the way that segments were cut, and what was drawn in which sitting."""
    sitting = ("seconds", "drawn_tokens", "unneeded_tokens")
    with RunFolder.open(Path(run), write=False) as folder:
        return {
            "candidates": folder.candidates(),
            "scores": folder.scores(),
            "decisions": {name: folder.decisions(name) for name in _sets(folder)},
            "selections": folder.selections(),
            "labels": folder.labels(),
            "stages": sorted(
                (stage["iteration"], stage["arm"], stage["stage"], stage["status"], _plain(stage["info"], sitting))
                for stage in folder.stages()
            ),
            "events": [{k: v for k, v in event.items() if k != "at"} for event in folder.ledger.events()],
            "finished": folder.finished,
        }


def _sets(folder: RunFolder) -> list[str]:
    return sorted({segment.scope.split(":", 1)[1] for segment in folder.ledger.segments("decisions")})


def _plain(info: dict[str, Any] | None, left_out: tuple[str, ...]) -> str:
    return json.dumps({k: v for k, v in (info or {}).items() if k not in left_out}, sort_keys=True)


def acknowledged(run: str | Path) -> set[Any]:
    """Every row that a reader of the run finds now: what a crash from now on must leave. A row that is there twice, or
    that the ledger does not count, is an error."""
    path = Path(run)
    if not (path / "ledger.sqlite").is_file():
        return set()
    rows: list[Any] = []
    with RunFolder.open(path, write=False) as folder:
        for kind, columns in IDENTITIES.items():
            for scope in dict.fromkeys(segment.scope for segment in folder.ledger.segments(kind)):
                for table in folder.tables(kind, scope, columns):
                    values = (column.to_pylist() for column in table.columns)
                    rows += [(kind, scope, *row) for row in zip(*values, strict=True)]
        counted = sum(segment.rows for kind in IDENTITIES for segment in folder.ledger.segments(kind))
        assert counted == len(rows), "the ledger counts what the segments hold"
        rows += [("label", label) for label in folder.labels()]
        rows += [("stage", s["iteration"], s["arm"], s["stage"]) for s in folder.stages() if s["status"] == "done"]
    assert len(rows) == len(set(rows)), "a row is there twice"
    return set(rows)


def in_child(work: Callable[[], Any], listener: Callable[[str], None] | None = None) -> int:
    """Do something in a process of its own, a copy of this one. Returns its exit code, or minus the signal's number."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        code = 1
        try:
            with failpoints.listening(listener or (lambda _: None)):
                work()
            code = 0
        except BaseException as error:
            Path("child.error").write_text(repr(error))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def killed_at(point: str, times: int) -> Callable[[str], None]:
    """A listener that ends its process when a point is reached for the so-manieth time."""
    left = [times]

    def listener(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return listener


def killed_after(points: int, *, of_draws: bool) -> Callable[[str], None]:
    """A listener that ends its process at the so-manieth point of all; draws, most of them, count or do not."""
    left = [points]

    def listener(name: str) -> None:
        left[0] -= of_draws or name != "sample.drawn"
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return listener
