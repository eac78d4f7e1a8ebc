"""What came of a run so far, as `summary.json` holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rsft import __version__
from rsft.types import Interval

if TYPE_CHECKING:
    from rsft.stages import Arm, Stages

_STAGES = ("sample", "select", "train", "evaluate")


def summarise(stages: Stages) -> dict[str, Any]:
    """Build the summary from what the run folder holds, write it there, and return it.

    An arm's best iteration is the one with the highest held-out acceptance, the earlier of equals. Both arms choose
    theirs in the same way, so that choosing favours neither.
    """
    recipe, parts = stages.recipe, stages.parts
    best, best_control = _best(stages, "policy"), _best(stages, "control")
    summary: dict[str, Any] = {
        "run": str(stages.folder.path),
        "rsft": __version__,
        "finished": stages.finished,
        "model": recipe.model,
        "base_policy": stages.base.hash,
        "fakes": _fakes(stages),
        "prompts": {"train": len(parts.train), "heldout": len(parts.heldout)},
        "base": _arm(stages, 0, "policy"),
        "iterations": [
            {"iteration": iteration, **_arm(stages, iteration, "policy"), "control": _arm(stages, iteration, "control")}
            for iteration in range(1, recipe.loop.iterations + 1)
            if stages.folder.stage_done(iteration, "policy", "train") is not None
        ],
        "best_iteration": best,
        "best_control_iteration": best_control,
        "gain_over_base": _gain(stages, (best, "policy"), (0, "policy")),
        "gain_over_control": _gain(stages, (best, "policy"), (best_control, "control")),
    }
    summary["seconds"] = round(
        sum(sum(part["seconds"].values()) for it in summary["iterations"] for part in (it, it["control"] or {"seconds": {}}))
        + sum(summary["base"]["seconds"].values() if summary["base"] else [0.0]),
        1,
    )
    stages.folder.write_json("summary.json", summary)
    return summary


def _arm(stages: Stages, iteration: int, arm: Arm) -> dict[str, Any] | None:
    """What one arm did in one iteration, or None if it has done nothing in it."""
    notes = {stage: stages.folder.stage_done(iteration, arm, stage) for stage in _STAGES}
    done = {stage: note for stage, note in notes.items() if note is not None}
    if not done:
        return None
    said: dict[str, Any] = {}
    if sample := done.get("sample"):
        said |= {key: sample[key] for key in ("candidates", "tokens", "prompts", "failed")}
    if select := done.get("select"):
        said |= {key: select[key] for key in ("accepted", "prompts_solved", "rejected_by")}
    if train := done.get("train"):
        said |= {"trained_on": train["rows"], "policy": train["policy"]}
    if evaluate := done.get("evaluate"):
        said |= {key: value for key, value in evaluate.items() if key != "seconds"}
    return said | {"seconds": {stage: note["seconds"] for stage, note in done.items()}}


def _best(stages: Stages, arm: Arm) -> int | None:
    """The iteration whose policy accepts most on held-out prompts."""
    of_arm = {iteration: e for (iteration, which), e in stages.evaluations.items() if which == arm and iteration > 0}
    return max(of_arm, key=lambda iteration: (of_arm[iteration].acceptance.value, -iteration), default=None)


def _gain(stages: Stages, one: tuple[int | None, Arm], other: tuple[int | None, Arm]) -> dict[str, Any] | None:
    """The paired difference in held-out acceptance, if both were measured."""
    after, before = (stages.evaluations.get(which) for which in (one, other))  # type: ignore[arg-type]
    if after is None or before is None:
        return None
    gain: Interval = after.gain_over(before)
    return asdict(gain)


def _fakes(stages: Stages) -> list[str]:
    """The fakes that took part: a number that one of them made says nothing about a model."""
    recipe = stages.recipe
    fakes = [str(stages.parts.engine.description["engine"])] if stages.parts.engine.description.get("fake") else []
    return fakes + ([recipe.training.type] if recipe.training.type == "null" else [])
