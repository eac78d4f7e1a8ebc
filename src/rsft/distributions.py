"""How scores and accepted replies are spread in a run: what a report draws, read column by column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsft.calibrating import kept_lines
from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.decided import counts_by_rule
from rsft.saved import saved_recipe
from rsft.selection import parse_selection
from rsft.selection.pool import Mask, Places, Values
from rsft.selection.threshold import Threshold
from rsft.store import RunFolder
from rsft.stored import StoredPool

_BINS = 20


def distributions(run: Path) -> list[dict[str, Any]]:
    """Of each iteration that was decided: how many `candidates` there are, how many were `accepted`, how many each rule
    `decided`; of each scorer a histogram; and how the accepted ones are spread over `prompts`. Raises RunError.
    """
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        return [_of_iteration(folder, recipe, iteration) for iteration in folder.decided_iterations("policy")]


def _of_iteration(folder: RunFolder, recipe: Recipe, iteration: int) -> dict[str, Any]:
    stored = StoredPool(folder, iteration, folder.noted_scorers())
    pool, accepted_N = stored.pool, stored.accepted_N
    lines = _lines(folder, recipe, iteration)
    return {
        "iteration": iteration,
        "candidates": len(pool),
        "accepted": int(accepted_N.sum()),
        "decided": counts_by_rule(folder, iteration, "policy"),
        "scores": {
            name: {**histogram(values_N, accepted_N), "lines": lines.get(name, [])}
            for name, values_N in pool.scores.items()
        },
        "prompts": _over_prompts(np.bincount(pool.prompt_N), pool.counts(accepted_N)),
    }


def _lines(folder: RunFolder, recipe: Recipe, iteration: int) -> Mapping[str, list[float]]:
    """The values at which the iteration's rules draw a line, by score: those that were certified among them."""
    lines = {name: [value] for name, value in kept_lines(folder, iteration).items()}
    for rule in parse_selection(at_iteration(recipe, iteration).selection).rules:
        if isinstance(rule, Threshold):
            lines.setdefault(rule.score, []).append(rule.value)
    return lines


def histogram(values_N: Values, accepted_N: Mask) -> dict[str, Any]:
    """Between the `edges`, bin by bin: how many candidates have such a value, and how many of these were accepted.
    `failed` ones have none."""
    return Bins(values_N).histogram(accepted_N)


class Bins:
    """Scores sorted into the bins of a histogram, which can then be drawn for other accepted ones at once."""

    def __init__(self, values_N: Values) -> None:
        known_N = ~np.isnan(values_N)
        counts, edges = np.histogram(values_N[known_N], _BINS)
        self.failed = int(len(values_N) - known_N.sum())
        self.edges, self.counts = edges.tolist(), counts.tolist()
        # The last bin holds its upper edge as well; what failed is in one behind it.
        bin_N = np.minimum(np.searchsorted(edges, values_N, side="right") - 1, _BINS - 1)
        self._bin_N = np.where(known_N, bin_N, _BINS).astype(np.uint8)

    def histogram(self, accepted: Mask | Places) -> dict[str, Any]:
        """As `histogram` says; those that were accepted as a mask or by their places."""
        accepted_B = np.bincount(self._bin_N[accepted], minlength=_BINS + 1)[:_BINS].tolist()
        return {"failed": self.failed, "edges": self.edges, "counts": self.counts, "accepted": accepted_B}


def _over_prompts(candidates_P: Any, accepted_P: Any) -> dict[str, Any]:
    """How many prompts have how many accepted replies, from none on; and how many have which share of their candidates
    accepted, in ten bins from 0 to 1."""
    shares, _ = np.histogram(accepted_P / np.maximum(1, candidates_P), 10, (0.0, 1.0))
    return {
        "prompts": len(candidates_P),
        "by_accepted": np.bincount(accepted_P).tolist(),
        "by_share": shares.tolist(),
    }
