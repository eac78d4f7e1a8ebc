"""The same recipe under several seeds: each a run of its own, and what they say together."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.errors import RunError
from rsft.evaluated import evaluated
from rsft.evaluation import ACCEPTANCE, Evaluation
from rsft.loop import run
from rsft.metrics import crossed_mean
from rsft.progress import Reporter, Silent
from rsft.saved import saved_recipe
from rsft.store import ARMS, RunFolder, files
from rsft.version import __version__

Evaluations = Mapping[tuple[int, str], Evaluation]
"""A run's evaluations by iteration and arm."""


def run_seeds(recipe: Recipe, seeds: int, tell: Reporter | None = None) -> dict[str, Any]:
    """Run the recipe with `seeds` seeds from its own on, each in a run folder of its own below the recipe's, or go on
    with them. Returns the summary of all, which `summary.json` of the recipe's folder holds.

    Each seed's best iteration is its own, of the policy as of the control. Means are over seeds and prompts, with
    intervals that hold for other seeds and other prompts (`metrics.crossed_mean`). Raises a UserError.
    """
    tell = tell or Silent()
    group = Path(recipe.run)
    if (group / "recipe.yaml").is_file():
        raise RunError(f"{group} holds a single run: name another folder for several seeds (--set run=...).")
    runs = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        one = recipe.model_copy(update={"seed": seed, "run": str(group / f"seed_{seed}")})
        tell.say(f"seed {seed}: {one.run}")
        runs.append(run(one, tell))
    summary = pooled(group, runs)
    files.put(group / "summary.json", lambda aside: _written(aside, summary))
    return summary


def pooled(group: Path, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several runs of one recipe, by their summaries, say together."""
    measured = [_measured(Path(one["run"])) for one in runs]
    best = [(one["best_iteration"], "policy") for one in runs]
    control = [(one["best_control_iteration"], "control") for one in runs]
    base = [(0, "policy")] * len(runs)
    scorers = list(runs[0]["heldout_score_gains"])
    return {
        "run": str(group),
        "rsft": __version__,
        "seeds": [one["run"] for one in runs],
        "finished": all(one["finished"] for one in runs),
        "fakes": runs[0]["fakes"],
        "base": _acceptance(measured, 0, "policy"),
        "iterations": [
            {"iteration": i, **{arm: _acceptance(measured, i, arm) for arm in ARMS}}
            for i in range(1, 1 + max(len(one["iterations"]) for one in runs))
        ],
        "best_iterations": [iteration for iteration, _ in best],
        "gain_over_base": _gain(measured, best, base),
        "gain_over_control": _gain(measured, best, control),
        "heldout_score_gains": {
            name: {
                "over_base": _gain(measured, best, base, name),
                "over_control": _gain(measured, best, control, name),
            }
            for name in scorers
        },
        "stopped": [one["stopped"] for one in runs],
        "seconds": round(sum(one["seconds"] for one in runs), 1),
    }


def _measured(path: Path) -> Evaluations:
    recipe = saved_recipe(path)
    with RunFolder.open(path, write=False) as folder:
        found = {(i, arm): evaluated(folder, recipe, i, arm) for i, arm in folder.done("evaluate")}
    return {key: evaluation for key, evaluation in found.items() if evaluation is not None}


def _acceptance(runs: Sequence[Evaluations], iteration: int, arm: str) -> dict[str, Any] | None:
    """The share of prompts that pass, of each seed that came so far and of all together."""
    there = [one[iteration, arm] for one in runs if (iteration, arm) in one]
    if not there:
        return None
    return {
        "by_seed": [one.acceptance.value for one in there],
        "heldout_acceptance": _crossed([one.values(ACCEPTANCE) for one in there], within=(0.0, 1.0)),
    }


def _gain(
    runs: Sequence[Evaluations],
    ours: Sequence[tuple[int | None, str]],
    theirs: Sequence[tuple[int | None, str]],
    by: str = ACCEPTANCE,
) -> dict[str, Any] | None:
    """The paired differences of each seed's own two policies, pooled; None where a seed lacks one of them."""
    differences = []
    for measured, one, other in zip(runs, ours, theirs, strict=True):
        after = None if one[0] is None else measured.get((one[0], one[1]))
        before = None if other[0] is None else measured.get((other[0], other[1]))
        if after is None or before is None:
            return None
        had, has = before.values(by), after.values(by)
        differences.append({prompt_id: value - had[prompt_id] for prompt_id, value in has.items() if prompt_id in had})
    return _crossed(differences, within=(-1.0, 1.0) if by == ACCEPTANCE else (-math.inf, math.inf))


def _crossed(rows: Sequence[Mapping[str, float]], within: tuple[float, float]) -> dict[str, Any] | None:
    """The mean over seeds and the prompts that all of them have, with its interval as far as it can be; None without
    any."""
    common = sorted(set.intersection(*(set(row) for row in rows)))
    if not common:
        return None
    found = crossed_mean([[row[prompt_id] for prompt_id in common] for row in rows])
    return asdict(replace(found, low=max(found.low, within[0]), high=min(found.high, within[1])))


def _written(path: Path, said: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
