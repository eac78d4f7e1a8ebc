"""Training on a named set of decisions, beside the run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsft.errors import RunError, SelectionError
from rsft.progress import Reporter
from rsft.saved import saved_recipe
from rsft.stages import Round, Stages


def retrain(run: Path, name: str, tell: Reporter) -> dict[str, Any]:
    """Train a policy on what the named set accepted, as the run trained its last one, and measure it on the held-out
    prompts by the same rules. Resumable like a run. Raises a UserError.

    Returns the iteration, the rows trained on, and the held-out acceptance of this policy and of the run's own.
    """
    recipe = saved_recipe(run)
    with Stages.open(recipe, tell) as stages:
        folder = stages.folder
        if name not in folder.selections():
            known = ", ".join(folder.selections()) or "none yet; rsft select RUN --save NAME keeps one"
            raise RunError(f"The run {run} has no set of decisions named '{name}'. There are: {known}.")
        stages.standardise()
        iteration = max(folder.decided_iterations(name))
        if not any(decision.accepted for decision in folder.decisions(name).values()):
            raise SelectionError(f"The set '{name}' accepts nothing, so there is nothing to train on.")
        trained = stages.train(Round(iteration, 1), name, stages.sets_out(iteration, "policy"))
        stages.evaluate(iteration, name, trained)
        own = folder.stage_done(iteration, "policy", "evaluate") or {}
        done = folder.stage_done(iteration, name, "evaluate") or {}
        return {
            "run": str(run),
            "selection": name,
            "iteration": iteration,
            "rows": (folder.stage_done(iteration, name, "train") or {}).get("rows"),
            "policy": str(folder.iteration_path(iteration, name)),
            "heldout_acceptance": done.get("heldout_acceptance"),
            "own_heldout_acceptance": own.get("heldout_acceptance"),
        }
