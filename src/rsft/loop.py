"""The algorithm: sample, score, select, train, evaluate, and again from the new policy.

Read this file first. Each stage keeps what it has done in the run folder and does only what is still owed, so that
running this again after an interruption goes on where it stopped; a finished run is not run again.
"""

from __future__ import annotations

from typing import Any

from rsft.config import Recipe
from rsft.progress import Reporter, Silent
from rsft.stages import Stages
from rsft.summary import finished_summary, summarise


def run(recipe: Recipe, tell: Reporter | None = None) -> dict[str, Any]:
    """Run the recipe to its end, or from where it was interrupted. Returns the summary, which `summary.json` holds.

    Raises a UserError for a mistake that the user can fix; what was done until then is kept.
    """
    if (summary := finished_summary(recipe)) is not None:
        return summary

    with Stages.open(recipe, tell or Silent()) as stages:
        policy = control = stages.base
        stages.standardise()
        stages.evaluate(0, "policy", stages.base)

        for iteration in range(1, recipe.loop.iterations + 1):
            candidates = stages.sample(iteration, policy)
            accepted = stages.select(iteration, "policy", candidates)
            policy = stages.train(iteration, "policy", policy)
            stages.evaluate(iteration, "policy", policy)

            if recipe.loop.control == "random":
                # The control is a run of its own: its candidates come from its own policy, and as many of each
                # prompt are chosen at random as the real arm accepted.
                candidates = stages.sample_control(iteration, control, accepted)
                stages.select_at_random(iteration, "control", candidates, accepted)
                control = stages.train(iteration, "control", control)
                stages.evaluate(iteration, "control", control)

            summarise(stages)

        return summarise(stages, finished=True)
