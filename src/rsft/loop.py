"""The algorithm: sample, score, select, train, evaluate, and again from the new policy.

Read this file first. Each stage keeps what it has done in the run folder and does only what is still owed, so that
running this again after an interruption goes on where it stopped; a finished run is not run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.progress import Reporter, Silent
from rsft.stages import Stages
from rsft.summary import finished_summary, summarise


def run(recipe: Recipe, tell: Reporter | None = None, fork: Path | None = None) -> dict[str, Any]:
    """Run the recipe to its end, or from where it was interrupted. Returns the summary, which `summary.json` holds.

    With `fork`, another run's folder, a new run takes over from that one what it would draw and train all the same.
    Raises a UserError for a mistake that the user can fix; what was done until then is kept.
    """
    if (summary := finished_summary(recipe)) is not None:
        return summary

    with Stages.open(recipe, tell or Silent(), fork) as stages:
        policy = stages.base
        controls = dict.fromkeys(recipe.loop.arms, stages.base)
        stages.standardise()
        stages.evaluate(0, "policy", policy)

        for iteration in range(1, recipe.loop.iterations + 1):
            law = stages.tune(iteration, policy)
            candidates = stages.sample(iteration, policy, law)
            rounds = {}
            for training in stages.rounds(iteration):
                rounds[training] = stages.select(training, candidates)
                policy = stages.train(training, "policy", policy)
            stages.evaluate(iteration, "policy", policy)

            for arm, own in controls.items():
                # A control is a run of its own: its candidates come from its own policy, and how many of each prompt
                # it learns from is what it has in common with the real arm.
                candidates = stages.sample_control(iteration, arm, own, law, next(iter(rounds.values())))
                for training, accepted in rounds.items():
                    stages.select_for_control(training, arm, candidates, accepted)
                    controls[arm] = stages.train(training, arm, controls[arm])
                stages.evaluate(iteration, arm, controls[arm])

            verdict = stages.look_back(iteration)
            summarise(stages)
            if verdict == "stop":
                break
            if verdict == "roll_back":
                policy = stages.sets_out(iteration + 1, "policy")
                controls = {arm: stages.sets_out(iteration + 1, arm) for arm in controls}

        return summarise(stages, finished=True)
