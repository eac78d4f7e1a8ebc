"""What a run's page shows, finished or not: read from the ledger, so that it is as fresh as the run's last commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsft.cluster.rolls import LET_GO, Worked
from rsft.reading import summary_of, workers_of
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.web.chart import chart

# So many workers are shown.
_WORKERS = 100
STAGES = ("tune", "sample", "select", "train", "evaluate")
Notes = Mapping[tuple[int, str, str], Mapping[str, Any]]
"""By iteration, arm and stage."""


def overview(run: Path) -> dict[str, Any]:
    """The run's state and what it is `doing` now, each iteration's numbers, the chart of acceptance, all stages and
    alarms. Raises a UserError for a folder that can't be read."""
    recipe, summary = saved_recipe(run), summary_of(run)
    with RunFolder.open(run, write=False) as folder:
        stages, doing = folder.stages(), folder.ledger.begun()
        finished, writer = folder.finished, folder.writer_pid()
    done, arms = noted(stages), arms_beside(stages)
    alarms = [
        {"iteration": iteration, **alarm}
        for (iteration, _, stage), info in done.items()
        if stage == "guard"
        for alarm in info.get("alarms", ())
    ]
    base = measured_acceptance(done, 0, "policy")
    return {
        "state": _state(finished, writer, alarms),
        "at_work": writer is not None,
        "doing": _since(doing) if doing is not None and writer is not None else None,
        "iterations": recipe.loop.iterations,
        "model": recipe.model,
        "handed_back": summary.get("handed_back"),
        "best": summary.get("best_iteration"),
        "gains": {name: summary.get(f"gain_over_{name}") for name in ("base", "control")},
        "fakes": summary.get("fakes") or [],
        "base": base,
        "arms": arms,
        "rounds": [_round(done, iteration, arms) for iteration in range(1, recipe.loop.iterations + 1)],
        "chart": chart(base, _curves(done, ["policy", *arms], recipe.loop.iterations)),
        "stages": [stage for stage in STAGES if any(one["stage"] == stage for one in stages)],
        "times": _times(stages),
        "workers": _workers(workers_of(run, at_work=writer is not None)),
        "alarms": alarms,
    }


def noted(stages: Sequence[Mapping[str, Any]]) -> Notes:
    """What the stages that were begun noted so far."""
    return {(one["iteration"], one["arm"], one["stage"]): one["info"] or {} for one in stages}


def arms_beside(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The arms of stages beside the policy, in the order in which they came."""
    return [arm for arm in dict.fromkeys(one["arm"] for one in stages) if arm != "policy"]


def measured_acceptance(notes: Notes, iteration: int, arm: str) -> Mapping[str, Any] | None:
    """An arm's held-out acceptance with its interval; None where it was not measured (yet)."""
    found: Mapping[str, Any] | None = notes.get((iteration, arm, "evaluate"), {}).get("heldout_acceptance")
    return found


def _state(finished: bool, writer: int | None, alarms: Sequence[Mapping[str, Any]]) -> str:
    if writer is not None:
        return f"at work, process {writer}"
    stopped = next((alarm["guard"] for alarm in alarms if alarm["act"] == "stop"), None)
    if stopped is not None:
        return f"stopped: {stopped}"
    return "finished" if finished else "interrupted"


def _times(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each arm in each iteration: the seconds of its stages (None: begun, and not done), all of them together, and
    the tokens that it drew."""
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for one in stages:
        if one["stage"] not in STAGES:
            continue
        row = rows.setdefault(
            (one["iteration"], one["arm"]),
            {"iteration": one["iteration"], "arm": one["arm"], "seconds": {}, "tokens": None},
        )
        info = one["info"] or {}
        row["seconds"][one["stage"]] = info.get("seconds")
        row["tokens"] = info.get("tokens", row["tokens"])
    return list(rows.values())


def _workers(worked: Worked) -> dict[str, Any] | None:
    """Who works on a cluster, or did, each with its rate as a `share` of the highest in percent: those at work first,
    then those that were let go, then the last ones that were lost. None for nobody."""
    if not worked.workers:
        return None
    at_work = [one for one in worked.workers if one["state"] == "at work"]
    lost = [one for one in worked.workers if one["state"] == "gone"]
    done = [one for one in worked.workers if one["state"] == "done"]
    let_go = [one for one in worked.workers if one["state"] == LET_GO]
    shown = [*at_work, *let_go, *reversed(lost), *done][:_WORKERS]
    highest = max((one["rate"] or 0 for one in shown), default=0) or 1
    return {
        "all": len(worked.workers),
        "hosts": worked.hosts,
        "at_work": len(at_work),
        "let_go": len(let_go),
        "rate": sum(one["tokens_per_second"] for one in at_work),
        "lost": worked.lost,
        "overtaken": worked.overtaken,
        "shown": [{**one, "share": f"{100 * (one['rate'] or 0) / highest:.1f}"} for one in shown],
    }


def _since(doing: Mapping[str, Any]) -> dict[str, Any]:
    """What is being done, with its seconds so far, and candidates a second since it was begun."""
    elapsed = max(0.001, (datetime.now(UTC) - datetime.fromisoformat(doing["started_at"])).total_seconds())
    return {**doing, "seconds": elapsed, "rate": doing["since"] / elapsed}


def _curves(done: Notes, arms: Sequence[str], iterations: int) -> dict[str, list[Any]]:
    """Of each arm the held-out acceptance after each iteration, None where it is not measured."""
    return {arm: [measured_acceptance(done, iteration, arm) for iteration in range(1, iterations + 1)] for arm in arms}


def _round(done: Notes, iteration: int, arms: Sequence[str]) -> dict[str, Any]:
    sample, select, train = (done.get((iteration, "policy", stage), {}) for stage in ("sample", "select", "train"))
    return {
        "iteration": iteration,
        "candidates": sample.get("candidates"),
        "accepted": select.get("accepted"),
        "solved": select.get("prompts_solved"),
        "prompts": sample.get("prompts"),
        "rejected_by": select.get("rejected_by", {}),
        "trained_on": train.get("rows"),
        "acceptance": measured_acceptance(done, iteration, "policy"),
        "others": {arm: measured_acceptance(done, iteration, arm) for arm in arms},
    }
