"""What came of a run so far, as `summary.json` holds it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsft import lineage
from rsft.bookkeeping import Arm
from rsft.config import Recipe
from rsft.errors import RunError
from rsft.evaluation import ACCEPTANCE, Evaluation
from rsft.guards import best_of
from rsft.habits import grown
from rsft.saved import refuse_other_recipe
from rsft.servers import SPENDING
from rsft.stages import Stages
from rsft.store import RunFolder
from rsft.types import Interval
from rsft.version import __version__

_FILE = "summary.json"
_OF_SAMPLE = (
    "candidates",
    "tokens",
    "unneeded_tokens",
    "prompts",
    "failed",
    "failed_scores",
    "ended_early",
    "resting",
    "temperature",
    "speculative",
)
_OF_SELECT = (
    "accepted",
    "prompts_solved",
    "rejected_by",
    "unsolved",
    "deferred",
    "always_solved",
    "whole_words",
    "accepted_words",
    "length_correlations",
)
_NOT_OF_EVALUATE = ("seconds", "of_policy", "drawn_in", "replies")
_STAGES = ("tune", "sample", "select", "train", "evaluate")


def summarise(stages: Stages, *, finished: bool = False) -> dict[str, Any]:
    """Build the summary from what the run folder holds, write it there, and return it.

    `finished` says that nothing is owed any more. What the run folder then says is final.
    An arm's best iteration is the one with the best held-out score, the earlier of equals, but for what a guard
    disowned. All arms choose theirs in the same way otherwise, so that choosing favours none. What is handed back is
    the best policy; 0 is the base, where training made nothing better.
    """
    recipe, parts = stages.recipe, stages.parts
    by = recipe.evaluation.best_is_by
    best, best_control = _best(stages, "policy"), _best(stages, "control")
    rounds = [_round(stages, iteration) for iteration in range(1, recipe.loop.iterations + 1)]
    alarms = _alarms(stages)
    summary: dict[str, Any] = {
        "run": str(stages.folder.path),
        "rsft": __version__,
        "finished": finished,
        "model": recipe.model,
        "base_policy": stages.base.hash,
        "fakes": _fakes(stages),
        "prompts": {"train": len(parts.train), "heldout": len(parts.heldout)},
        "example_prompt": (parts.heldout or parts.train)[0].id,
        "base": _arm(stages, 0, "policy"),
        "iterations": [one for one in rounds if one is not None],
        "best_by": by,
        "best_iteration": best,
        "best_control_iteration": best_control,
        "handed_back": best_of(_may_be_best(stages, "policy"), by),
        "gain_over_base": _gain(stages, (best, "policy"), (0, "policy")),
        "gain_over_control": _gain(stages, (best, "policy"), (best_control, "control")),
        "heldout_score_gains": {
            name: {
                "over_base": _gain(stages, (best, "policy"), (0, "policy"), name),
                "over_control": _gain(stages, (best, "policy"), (best_control, "control"), name),
            }
            for name in parts.heldout_scorers
        },
        "habits": grown([note["phrases"] for note in _selections(stages)]),
        "alarms": alarms,
        "stopped": next((alarm for alarm in alarms if alarm["act"] == "stop"), None),
        "spent": {name: sums for name, sums in SPENDING.sums.items() if sums["cost"]},
        "seconds": round(sum(stage["info"].get("seconds", 0) for stage in stages.folder.stages() if stage["info"]), 1),
    }
    stages.folder.write_json(_FILE, summary)
    if finished:
        stages.folder.finish()
    return summary


def finished_summary(recipe: Recipe) -> dict[str, Any] | None:
    """The summary of the recipe's run if nothing of it is owed any more, without loading any model; else None.

    Raises RunError if the run is finished and of another recipe.
    """
    path = Path(recipe.run)
    if not (path / _FILE).is_file():
        return None
    if not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} holds the runs of several seeds: name one of them, or go on with all (--seeds N).")
    with RunFolder.open(path, write=False) as folder:
        if not folder.finished or not folder.is_whole:
            return None
    refuse_other_recipe(recipe, path)
    summary: dict[str, Any] = json.loads((path / _FILE).read_text(encoding="utf-8"))
    summary["run"] = str(path)  # it may have been moved
    goes_on = len(summary["iterations"]) < recipe.loop.iterations and summary["stopped"] is None
    return None if goes_on else summary


def _round(stages: Stages, iteration: int) -> dict[str, Any] | None:
    """All arms of an iteration, or None if it has not begun."""
    policy = _arm(stages, iteration, "policy")
    if policy is None:
        return None
    others = ("control", *(arm for arm in stages.recipe.loop.arms if arm != "control"))
    return {
        "iteration": iteration,
        **policy,
        "gain_over_base": _gain(stages, (iteration, "policy"), (0, "policy")),
        "gain_over_control": _gain(stages, (iteration, "policy"), (iteration, "control")),
        **{arm: _arm(stages, iteration, arm) for arm in others},
    }


def _alarms(stages: Stages) -> list[dict[str, Any]]:
    """What the guards found, in the order of iterations."""
    notes = [(stage["iteration"], stage["info"]) for stage in stages.folder.stages() if stage["stage"] == "guard"]
    return [{"iteration": i, **alarm} for i, note in notes if note for alarm in note["alarms"]]


def _selections(stages: Stages) -> list[dict[str, Any]]:
    """What the iterations' selections noted, in order."""
    iterations = range(1, stages.recipe.loop.iterations + 1)
    notes = [stages.folder.stage_done(iteration, "policy", "select") for iteration in iterations]
    return [note for note in notes if note is not None]


def _arm(stages: Stages, iteration: int, arm: Arm) -> dict[str, Any] | None:
    """What one arm did in one iteration, or None if it has done nothing in it."""
    notes = {stage: stages.folder.stage_done(iteration, arm, stage) for stage in _STAGES}
    done = {stage: note for stage, note in notes.items() if note is not None}
    if not done:
        return None
    said: dict[str, Any] = {}
    if sample := done.get("sample"):
        said |= {key: sample[key] for key in _OF_SAMPLE if key in sample}
    if select := done.get("select"):
        said |= {key: select[key] for key in _OF_SELECT if key in select}
    if train := done.get("train"):
        said |= {"trained_on": train["rows"], "policy": train["policy"]}
    if evaluate := done.get("evaluate"):
        said |= {key: value for key, value in evaluate.items() if key not in _NOT_OF_EVALUATE}
    return said | {"seconds": {stage: note["seconds"] for stage, note in done.items()}}


def _best(stages: Stages, arm: Arm) -> int | None:
    """The iteration whose policy is best on held-out prompts."""
    trained = {i: one for (i, of), one in stages.evaluations.items() if of == arm and i > 0}
    # Where a guard disowned all of them, the best of these is what the summary tells of; it is not handed back.
    owned = {i: one for i, one in _may_be_best(stages, arm).items() if i > 0}
    return best_of(owned or trained, stages.recipe.evaluation.best_is_by)


def _may_be_best(stages: Stages, arm: Arm) -> dict[int, Evaluation]:
    """An arm's evaluations by iteration; of the policy's without those that a guard disowned."""
    disowned = lineage.disowned(stages.folder) if arm == "policy" else set()
    return {i: one for (i, of), one in stages.evaluations.items() if of == arm and i not in disowned}


def _gain(
    stages: Stages, one: tuple[int | None, Arm], other: tuple[int | None, Arm], by: str = ACCEPTANCE
) -> dict[str, Any] | None:
    """The paired difference in a held-out score, if both were measured."""
    (i, arm), (j, other_arm) = one, other
    after = stages.evaluations.get((i, arm)) if i is not None else None
    before = stages.evaluations.get((j, other_arm)) if j is not None else None
    if after is None or before is None:
        return None
    gain: Interval = after.gain_over(before, by)
    return asdict(gain)


def _fakes(stages: Stages) -> list[str]:
    """The fakes that took part: a number that one of them made says nothing about a model."""
    engine = stages.parts.engine
    fakes = [str(engine.description["engine"])] if engine.description.get("fake") else []
    return fakes + sorted({terms.recipe.training.type for terms in stages.parts.terms if terms.trainer.fake})
