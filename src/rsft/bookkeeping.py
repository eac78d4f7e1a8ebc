"""The stages of a run as they are noted, timed and announced."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rsft.cluster.rolls import worked_since
from rsft.participants import LOGS
from rsft.progress import Reporter
from rsft.store import RunFolder

Arm = str
"""policy, control, unfiltered, a further round of training of one of these, or a named set of decisions."""

_WHAT = {
    "compare": "drawing replies to compare with",
    "standardise": "measuring the spread of scores",
    "tune": "tuning the temperature",
    "sample": "sampling",
    "select": "selecting",
    "train": "training",
    "evaluate": "evaluating",
    "guard": "looking back",
}


class Books:
    """Keeps a run folder's books, and tells whoever watches."""

    def __init__(self, folder: RunFolder, tell: Reporter) -> None:
        self.folder = folder
        self.tell = tell

    @contextmanager
    def stage(self, iteration: int, arm: Arm, stage: str, total: int = 0, unit: str = "") -> Iterator[dict[str, Any]]:
        """A stage. What is put into the note is kept with it once it is done; `events` (kind, data) among the run's.

        A stage that was done before passes in silence: it only reads again what the folder holds.
        """
        if self.folder.stage_done(iteration, arm, stage) is not None:
            yield {}
            return
        self.folder.begin_stage(iteration, arm, stage)
        self.begin(iteration, arm, stage, total, unit)
        note: dict[str, Any] = {}
        moment, began = time.time(), time.monotonic()
        yield note
        note["seconds"] = round(time.monotonic() - began, 3)
        self.folder.finish_stage(iteration, arm, stage, note, note.pop("events", ()))
        if line := _line(stage, note):
            # Who did it is not of the note: it has nothing to do with what came of the stage.
            self.tell.end(", ".join([line, *worked_since(self.folder.path / LOGS, moment)]))

    def begin(self, iteration: int, arm: Arm, stage: str, total: int, unit: str) -> None:
        """Announce (a part of) a stage of so many steps."""
        if total:
            self.tell.begin(_title(iteration, arm, stage), total, unit)


def _title(iteration: int, arm: Arm, stage: str) -> str:
    if iteration == 0:
        return f"base · {_WHAT[stage]}"
    return f"iteration {iteration} · {'' if arm == 'policy' else f'{arm} · '}{_WHAT[stage]}"


def _line(stage: str, note: Mapping[str, Any]) -> str:
    """What came of a stage, in one line; nothing for one that is not announced."""
    seconds = note["seconds"]
    if stage == "compare":
        return f"{note['candidates']} greedy replies, {note['tokens']} tokens"
    if stage == "standardise":
        return ", ".join(f"{name} {mean:.3g} ± {spread:.2g}" for name, (mean, spread) in note["standards"].items())
    if stage == "tune":
        found = ", ".join(f"{one['accepted']} accepted at {one['temperature']:g}" for one in note["tried"])
        return f"temperature {note['temperature']:g} ({found})"
    if stage == "sample":
        rate = f", {note['drawn_tokens'] / max(seconds, 1e-9):.0f} tokens/s" if note["drawn_tokens"] else ""
        early = f", {note['ended_early']} ended early" if note.get("ended_early") else ""
        return f"{note['candidates']} candidates{early}, {note['tokens']} tokens{rate}{_failures(note)}"
    if stage == "select":
        return f"accepted {note['accepted']} of {note['candidates']} candidates, of {note['prompts_solved']} prompts"
    if stage == "train":
        return f"{note['rows']} accepted replies, {note['steps']} steps, {seconds:.0f} s"
    if stage == "evaluate":
        acceptance = note["heldout_acceptance"]
        low, high = 100 * acceptance["low"], 100 * acceptance["high"]
        return f"held-out {acceptance['value']:.1%} [{low:.1f}, {high:.1f}], n = {acceptance['n']}"
    return ""


def _failures(note: Mapping[str, Any]) -> str:
    """Which scorers failed, and how often: such replies are never accepted, so it can look like a bad policy."""
    said = note.get("failed_scores") or {}
    return "".join(f", {name} failed on {of['failed']} of {of['of']} replies" for name, of in said.items())
