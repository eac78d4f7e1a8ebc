"""All runs of a folder, and how far each is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsft.errors import RunError, UserError
from rsft.reading import summary_of
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.store.files import size


def runs_in(folder: Path) -> list[dict[str, Any]]:
    """Each run in the folder or below it, the last one to change first. One that can't be read says so.

    Raises RunError if there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Name the one that holds your runs: rsft runs FOLDER.")
    # Not by rglob: that ends in an error where a folder goes meanwhile, as runs at work remove some.
    below = ((Path(parent), names) for parent, _, names in os.walk(folder))
    runs = [run for run, names in below if {"recipe.yaml", "ledger.sqlite"} <= set(names)]
    found = [one for run in runs if (one := _described(run)) is not None]
    return sorted(found, key=lambda one: one["changed"], reverse=True)


def _described(run: Path) -> dict[str, Any] | None:
    """None of a run that went meanwhile."""
    times = []
    for file in (run / "recipe.yaml", run / "ledger.sqlite", *run.glob("*-wal")):
        with contextlib.suppress(FileNotFoundError):  # a run at work removes its -wal when it ends
            times.append(file.stat().st_mtime)
    if not times:
        return None
    changed = max(times)
    said = {
        "run": str(run),
        "changed": datetime.fromtimestamp(changed, UTC).astimezone().isoformat(timespec="seconds"),
        "bytes": size(run),
    }
    try:
        return said | _progress(run)
    except UserError as error:
        return said | {"state": "can't be read", "error": str(error)}


def _progress(run: Path) -> dict[str, Any]:
    recipe, summary = saved_recipe(run), summary_of(run)
    with RunFolder.open(run, write=False) as folder:
        done = [iteration for iteration, arm in folder.done("train") if arm == "policy"]
        state = state_of(folder, summary)
    measured = {part["iteration"]: part.get("heldout_acceptance") for part in summary.get("iterations", ())}
    measured[0] = (summary.get("base") or {}).get("heldout_acceptance")
    handed_back = summary.get("handed_back")
    return {
        "state": state,
        "iterations": max(done, default=0),
        "of_iterations": recipe.loop.iterations,
        "base": measured[0],
        "handed_back": handed_back,
        "best": measured.get(handed_back),
        "gain_over_control": summary.get("gain_over_control"),
        "model": recipe.model,
    }


def state_of(folder: RunFolder, summary: Mapping[str, Any]) -> str:
    """Whether a run is finished, interrupted, at work, or was stopped by a guard: which one."""
    if summary.get("stopped"):
        return f"stopped: {summary['stopped']['guard']}"
    if folder.finished:
        return "finished"
    writer = folder.writer_pid()
    return "interrupted" if writer is None else f"at work, process {writer}"
