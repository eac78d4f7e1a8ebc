"""All looks, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.doctor.check import Check
from rsft.doctor.cluster import cluster
from rsft.doctor.machine import machine
from rsft.doctor.remote import keys, servers
from rsft.doctor.software import software
from rsft.doctor.store import store


def examine(recipe: Recipe | None = None, ray: str | None = None) -> dict[str, Any]:
    """Every check with its state (ok, note, problem), and how many there are of each. `ray` is the address of a cluster
    to look at.

    No model is loaded. Without a recipe nobody is asked anything; with one, each server that it names is asked some ten
    tiny things, and the store of its segments is tried.
    """
    checks = [asdict(check) for check in _checks(recipe, ray)]
    counts = {state: sum(check["state"] == state for check in checks) for state in ("ok", "note", "problem")}
    return {"checks": checks, "counts": counts}


def _checks(recipe: Recipe | None, ray: str | None) -> Iterator[Check]:
    yield from software()
    run = Path(recipe.run if recipe is not None else "runs")
    yield from machine(run, recipe)
    segments = recipe.store.segments if recipe is not None else None
    if ray is not None:
        yield from cluster(ray, run, segments)
    if segments is not None:
        yield from store(segments)
    yield from keys(recipe)
    if recipe is not None:
        yield from servers(recipe)
