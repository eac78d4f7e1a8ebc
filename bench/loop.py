"""A recipe's whole run under several seeds, with its control, beside the same work written by hand.

    python -m bench.loop --set prompts.train=TRAIN.jsonl.gz --set prompts.heldout=DEV.jsonl.gz [--runs FOLDER]

For each seed `rsft run`, then, for the first `--by-hand` seeds, `bench/by_hand.py`: each in a process of its own, by
the clock from start to end. `--runs` keeps the runs, and what was timed there is not run again. `ratio_end_to_end` is
the time by hand over that of `rsft run` less its control's stages, which the other has not. Acceptance is that of the
last iteration, so that choosing the best of several flatters neither; the gains are those of the best ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.workload import report, say
from rsft.config import load_recipe
from rsft.seeds import run_seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="service_dialogues")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--heldout", type=int, default=300, help="conversations")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--by-hand", type=int, default=1, help="so many of the seeds")
    parser.add_argument("--runs", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(**measured(arguments, arguments.runs or Path(scratch)))


def measured(arguments: argparse.Namespace, runs: Path) -> dict[str, Any]:
    overrides = [*arguments.set, f"prompts.heldout_limit={arguments.heldout}", f"run={runs / 'rsft'}"]
    recipe = load_recipe(arguments.recipe, overrides)
    ours, by_hand = [], []
    for seed in range(recipe.seed, recipe.seed + arguments.seeds):
        own = [arguments.recipe, *_set([*overrides, f"run={runs / 'rsft' / f'seed_{seed}'}", f"seed={seed}"])]
        ours.append(timed(runs / f"rsft.{seed}.json", ["-m", "rsft", "run", "--json", *own]))
        say(f"rsft, seed {seed}: {ours[-1]['seconds']} s, without its control {without_control(ours[-1])}")
        if len(by_hand) < arguments.by_hand:
            by_hand.append(timed(runs / f"by_hand.{seed}.json", ["-m", "bench.by_hand", *own]))
            say(f"by hand, seed {seed}: {json.dumps(by_hand[-1])}")
    pooled = run_seeds(recipe, arguments.seeds)
    table = rows(pooled, [one["said"] for one in ours])
    for row in table:
        say(json.dumps(row))
    numbers: dict[str, Any] = {
        "bench": "loop",
        "recipe": arguments.recipe,
        "heldout": arguments.heldout,
        "seeds": arguments.seeds,
        "heldout_acceptance": pooled["iterations"][-1]["policy"]["heldout_acceptance"]["value"],
        **{key: pooled[key] for key in ("gain_over_base", "gain_over_control", "heldout_score_gains")},
        "seconds": [one["seconds"] for one in ours],
        "seconds_without_control": [without_control(one) for one in ours],
        "table": table,
    }
    if by_hand:
        pairs = zip(by_hand, ours, strict=False)
        numbers |= {
            "ratio_end_to_end": round(statistics.mean(one["seconds"] / without_control(us) for one, us in pairs), 2),
            "by_hand_seconds": [one["seconds"] for one in by_hand],
            "by_hand": [one["said"]["iterations"] for one in by_hand],
        }
    return numbers


def timed(kept: Path, command: Sequence[str]) -> dict[str, Any]:
    """What a command reports, and its seconds: as it was timed, if it was."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True)
        seconds = round(time.perf_counter() - began, 1)
        kept.write_text(json.dumps({"seconds": seconds, "said": json.loads(done.stdout)}), encoding="utf-8")
    return dict(json.loads(kept.read_text(encoding="utf-8")))


def without_control(run: Mapping[str, Any]) -> float:
    """The seconds of a run, less its control's stages."""
    of_control = (sum(one["control"]["seconds"].values()) for one in run["said"]["iterations"] if one["control"])
    return round(run["seconds"] - sum(of_control), 1)


def rows(pooled: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each iteration and arm: means over the seeds, but acceptance with its interval."""
    found = [_row("base", pooled["base"], [run["base"] for run in runs])]
    for place, together in enumerate(pooled["iterations"]):
        of_seeds = [run["iterations"][place] for run in runs if place < len(run["iterations"])]
        found.append(_row(f"iteration {together['iteration']}", together["policy"], of_seeds))
        if together["control"]:
            controls = [one["control"] for one in of_seeds]
            found.append(_row(f"control {together['iteration']}", together["control"], controls))
    return found


def _row(name: str, together: Mapping[str, Any], seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def mean(*path: str) -> float | None:
        values: list[Any] = list(seeds)
        for key in path:
            values = [value.get(key) if value is not None else None for value in values]
        known = [value for value in values if value is not None]
        return round(statistics.mean(known), 3) if known else None

    interval = together["heldout_acceptance"]
    return {
        "arm": name,
        "acceptance": [round(interval[key], 3) for key in ("value", "low", "high")],
        "by_seed": [round(value, 3) for value in together["by_seed"]],
        "heldout_scores": {scorer: mean("heldout_scores", scorer, "value") for scorer in seeds[0]["heldout_scores"]},
        "pass_at_1": mean("sampled", "acceptance", "value"),
        "pass_at_8": mean("sampled", "pass_at", "8"),
        "unique_share": mean("sampled", "unique_share"),
        "distinct_2": mean("distinct_2"),
        "entropy": mean("sampled", "entropy"),
        "words": mean("mean_words"),
        "kl_from_base": mean("kl_from_base", "value"),
        "trained_on": mean("trained_on"),
        "seconds": {stage: mean("seconds", stage) for stage in seeds[0]["seconds"]},
    }


def _set(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


if __name__ == "__main__":
    main()
