"""From which policy each iteration set out, and what the guards took back: read from a run folder's notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsft.store import RunFolder


def set_out_from(folder: RunFolder, iteration: int) -> int:
    """The iteration whose policy this one set out from: the one before it, or the best where a guard rolled back to
    that. 0 is the base."""
    note = _verdicts(folder).get(iteration - 1, {})
    return int(note["best"]) if note.get("act") == "roll_back" else iteration - 1


def taken_back(folder: RunFolder, before: int) -> set[int]:
    """The iterations that guards had taken back when this one set out: nothing of theirs is learnt from."""
    found: set[int] = set()
    for iteration, note in _verdicts(folder).items():
        if iteration < before and note.get("act") == "roll_back":
            found |= set(range(int(note["best"]) + 1, iteration + 1))
    return found


def disowned(folder: RunFolder) -> set[int]:
    """The iterations of whose policies a guard said that they must not be the run's: none of them is ever the best."""
    return {iteration for iteration, note in _verdicts(folder).items() if note.get("disowned")}


def _verdicts(folder: RunFolder) -> dict[int, Mapping[str, Any]]:
    """What the guards noted, by iteration."""
    return {one["iteration"]: one["info"] or {} for one in folder.stages() if one["stage"] == "guard"}
