"""The numbers that trackers are told, from what a run's finished stages left in its folder. No text is among them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rsft.store import RunFolder
from rsft.tracking.base import Axis

# What is told of each stage's note; the same words in all notes. Intervals are told with their ends.
_COUNTS = ("candidates", "tokens", "accepted", "prompts_solved", "ended_early", "temperature")
_RENAMED = {"failed": "failed_candidates", "rows": "trained_on", "steps": "train_steps"}
_WORDS = ("whole_words", "accepted_words")
_OF_REPLIES = ("distinct_1", "distinct_2", "self_bleu", "vendi", "mean_words", "mean_tokens", "cut_share", "failed")
_OF_SAMPLES = ("acceptance", "best_of", "entropy", "unique_share", *_OF_REPLIES)
_OF_TRAINING = {"loss": "train_loss", "learning_rate": "learning_rate", "heldout_loss": "train_heldout_loss"}
ON_ITERATIONS = tuple(name for name in (*_COUNTS, *_RENAMED.values(), *_WORDS, *_OF_SAMPLES) if name != "failed")
TRAINING = (*_OF_TRAINING.values(), "train_heldout_score")
"""The numbers that optimizer steps have; all others have iterations."""


@dataclass(frozen=True, slots=True)
class Place:
    """Numbers of one place on an axis, by their names."""

    axis: Axis
    at: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Committed:
    """What one stage that is done left to tell. `key` is its name for good: it is told once under it."""

    key: str
    when: datetime
    places: Sequence[Place]


def committed(run: Path, known: frozenset[str] = frozenset()) -> list[Committed]:
    """What the run's folder holds to tell, in the order in which its stages were begun, without what is known."""
    with RunFolder.open(run, write=False) as folder:
        stages = [stage for stage in folder.stages() if stage["status"] == "done"]
    file = run / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found = [*_of_stages(run, stages, known), *_of_summary(summary, stages)]
    return [one for one in found if one.key not in known]


def _of_stages(run: Path, stages: Sequence[Mapping[str, Any]], known: frozenset[str]) -> Iterator[Committed]:
    steps_before: dict[str, int] = {}
    for stage in stages:
        iteration, arm, name, note = stage["iteration"], stage["arm"], stage["stage"], stage["info"] or {}
        key = f"{iteration}/{arm}/{name}"
        before = steps_before.get(arm, 0)
        if name == "train":
            steps_before[arm] = before + int(note.get("steps", 0))
        if key in known:
            continue
        values = _Numbers(arm)
        values.add(f"seconds_{name}", note.get("seconds"))
        if name == "evaluate":
            _add_evaluation(values, note)
        elif name == "guard":
            _add_alarms(values, note)
        else:
            _add_counts(values, name, note)
        log = _log(run, iteration, arm) if name == "train" else []
        steps = [Place("train_step", before + step, numbers) for step, numbers in _training(arm, log)]
        yield Committed(key, _when(stage), [*steps, Place("iteration", iteration, values.found)])


def _add_counts(values: _Numbers, name: str, note: Mapping[str, Any]) -> None:
    # What else is drawn (to tune, to compare with) is told apart from what the iteration selects among.
    of = "" if name in ("sample", "select", "train") else f"_{name}"
    for key in (*_COUNTS, *_WORDS, *_RENAMED):
        if not (name == "select" and key == "candidates"):  # as the sampling said
            values.add(_RENAMED.get(key, key) + of, note.get(key))


def _add_evaluation(values: _Numbers, note: Mapping[str, Any]) -> None:
    values.add("heldout_acceptance", note.get("heldout_acceptance"))
    values.add("kl_from_base", note.get("kl_from_base"))
    for kind in ("scores", "heldout_scores"):
        for scorer, said in (note.get(kind) or {}).items():
            values.add(f"{kind}_{scorer}", said)
    for key in _OF_REPLIES:
        values.add(f"greedy_{key}", note.get(key))
    sampled = note.get("sampled") or {}
    for key in _OF_SAMPLES:
        values.add(f"sampled_{key}", sampled.get(key))


def _add_alarms(values: _Numbers, note: Mapping[str, Any]) -> None:
    alarms = [alarm["guard"] for alarm in note.get("alarms", ())]
    values.add("alarms", len(alarms))
    for guard in alarms:
        values.add(f"alarms_{guard}", 1)


def _training(arm: str, log: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    """The numbers of each optimizer step that has some, in order."""
    by_step: dict[int, _Numbers] = {}
    for entry in log:
        values = by_step.setdefault(int(entry["step"]), _Numbers(arm))
        for key, name in _OF_TRAINING.items():
            values.add(name, entry.get(key))
        values.add("train_heldout_score", entry.get("heldout_score"))
    yield from ((step, by_step[step].found) for step in sorted(by_step) if by_step[step].found)


def _log(run: Path, iteration: int, arm: str) -> Sequence[Mapping[str, Any]]:
    """A training's log; empty where somebody took it away."""
    file = run / "iterations" / str(iteration) / arm / "training.json"
    return list(json.loads(file.read_text(encoding="utf-8"))["log"]) if file.is_file() else []


def _of_summary(summary: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> Iterator[Committed]:
    """The gains of each iteration that the summary has, and how the run ended, at the times of the last stages."""
    ends = {stage["iteration"]: _when(stage) for stage in stages if stage["stage"] == "guard"}
    parts = [part for part in summary.get("iterations", ()) if part["iteration"] in ends]
    for part in parts:
        values = _Numbers("policy")
        for gain in ("gain_over_base", "gain_over_control"):
            values.add(gain, part.get(gain))
        number = part["iteration"]
        yield Committed(f"{number}/gains", ends[number], [Place("iteration", number, values.found)])
    if summary.get("finished") and parts:
        last = parts[-1]["iteration"]
        values = _Numbers("run")
        for key in ("best_iteration", "handed_back", "gain_over_base", "gain_over_control", "seconds"):
            values.add(key, summary.get(key))
        yield Committed(f"{last}/result", ends[last], [Place("iteration", last, values.found)])


class _Numbers:
    """Gathers an arm's numbers under the names that trackers show: what it is first, so that arms stand together."""

    def __init__(self, arm: str) -> None:
        self.arm = arm
        self.found: dict[str, float] = {}

    def add(self, name: str, said: Any) -> None:
        """A number, or a mapping with a value and the ends of its interval; nothing else is taken."""
        if isinstance(said, Mapping):
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
                self._take(f"{name}/{self.arm}{end}", said.get(key))
        else:
            self._take(f"{name}/{self.arm}", said)

    def _take(self, name: str, said: Any) -> None:
        if isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said):
            self.found[name] = float(said)


def _when(stage: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(stage["finished_at"])
