"""Telling trackers of a run that is there: one that was not tracked, or whose trackers could not be told all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsft.errors import RecipeError
from rsft.progress import Reporter
from rsft.saved import changed_recipe
from rsft.store import RunFolder
from rsft.tracking import check_trackers, tell_all


def tell_trackers(run: Path, overrides: Sequence[str], tell: Reporter) -> dict[str, Any]:
    """Tell the trackers of the run's recipe, or those of the overrides, what they have not been told yet. Returns by
    tracker how many stages it was told of, and why not of all. Raises a UserError."""
    recipe = changed_recipe(run, overrides, "tracking").model_copy(update={"run": str(run.absolute())})
    if not recipe.tracking.wanted:
        raise RecipeError(
            "The run's recipe names no tracker. Name one: --set 'tracking=[tensorboard]' (or wandb, mlflow, trackio; "
            "with options: --set 'tracking={wandb: {project: bots}}')."
        )
    check_trackers(recipe)
    with RunFolder.open(run, write=True):  # nobody else tells of it meanwhile
        return {"run": recipe.run, "trackers": tell_all(recipe, tell)}
