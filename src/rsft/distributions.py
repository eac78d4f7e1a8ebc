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
from rsft.parts import StoredParts
from rsft.saved import saved_recipe
from rsft.selection import parse_selection
from rsft.selection.pool import Mask, Places, Values
from rsft.selection.threshold import Threshold
from rsft.store import RunFolder

_BINS = 20


def distributions(run: Path, read: StoredParts | None = None) -> list[dict[str, Any]]:
    """Of each iteration that was decided: how many `candidates` there are, how many were `accepted`, how many each rule
    `decided`; of each scorer a histogram; and how the accepted ones are spread over `prompts`. `read` is an iteration
    that was read, if one was. Raises RunError.
    """
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        scorers = folder.noted_scorers()
        return [
            _of_iteration(
                folder,
                recipe,
                read if read and read.iteration == iteration else StoredParts(folder, iteration, scorers),
            )
            for iteration in folder.decided_iterations("policy")
        ]


def _of_iteration(folder: RunFolder, recipe: Recipe, stored: StoredParts) -> dict[str, Any]:
    iteration = stored.iteration
    bins = {name: Bins(of.least, of.most) for name, of in stored.ranges.items()}
    candidates: list[Places] = []
    accepted: list[Places] = []
    for part in stored:
        for name, values_N in part.pool.scores.items():
            bins[name].add(values_N, part.accepted_N)
        candidates.append(np.bincount(part.pool.prompt_N, minlength=len(part.pool.prompt_ids)))
        accepted.append(part.pool.counts(part.accepted_N))
    accepted_P = np.concatenate(accepted)
    lines = _lines(folder, recipe, iteration)
    return {
        "iteration": iteration,
        "candidates": len(stored),
        "accepted": int(accepted_P.sum()),
        "decided": counts_by_rule(folder, iteration, "policy"),
        "scores": {name: {**of.histogram, "lines": lines.get(name, [])} for name, of in bins.items()},
        "prompts": _over_prompts(np.concatenate(candidates), accepted_P),
    }


def _lines(folder: RunFolder, recipe: Recipe, iteration: int) -> Mapping[str, list[float]]:
    """The values at which the iteration's rules draw a line, by score: those that were certified among them."""
    lines = {name: [value] for name, value in kept_lines(folder, iteration).items()}
    for rule in parse_selection(at_iteration(recipe, iteration).selection).rules:
        if isinstance(rule, Threshold):
            lines.setdefault(rule.score, []).append(rule.value)
    return lines


class Bins:
    """How scores are spread between the least and the greatest one, in bins of equal width. Some come at a time."""

    def __init__(self, least: float, most: float) -> None:
        """Of no score at all, `least` is more than `most`."""
        ends = (least, most) if least <= most else (0.0, 1.0)
        self._edges: Values = np.histogram_bin_edges(np.array(ends), _BINS)
        self._failed = 0
        self._counts_B, self._accepted_B = np.zeros((2, _BINS), dtype=np.int64)

    def __len__(self) -> int:
        """How many bins there are, that of what failed among them."""
        return _BINS + 1

    def add(self, values_N: Values, accepted_N: Mask) -> None:
        counts_B, accepted_B = self.sort(values_N), self.sort(values_N[accepted_N])
        self._counts_B += counts_B[:_BINS]
        self._accepted_B += accepted_B[:_BINS]
        self._failed += int(counts_B[_BINS])

    def sort(self, values: Values) -> Places:
        """How many of some scores are in each bin; behind the last one those that failed."""
        return np.bincount(self.bins_of(values), minlength=_BINS + 1)

    def bins_of(self, values: Values) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bin of each of some scores. The last holds its upper edge as well; what failed is in one behind it."""
        bins = np.minimum(np.searchsorted(self._edges, values, side="right") - 1, _BINS - 1)
        return np.where(np.isnan(values), _BINS, bins).astype(np.uint8)

    @property
    def histogram(self) -> dict[str, Any]:
        """Between the `edges`, bin by bin: how many candidates have such a value, and how many of these were accepted.
        `failed` ones have none."""
        return self.with_accepted(self._accepted_B)

    def with_accepted(self, accepted_B: Places) -> dict[str, Any]:
        """The same where others were accepted."""
        return {
            "failed": self._failed,
            "edges": self._edges.tolist(),
            "counts": self._counts_B.tolist(),
            "accepted": accepted_B[:_BINS].tolist(),
        }


def _over_prompts(candidates_P: Any, accepted_P: Any) -> dict[str, Any]:
    """How many prompts have how many accepted replies, from none on; and how many have which share of their candidates
    accepted, in ten bins from 0 to 1."""
    shares, _ = np.histogram(accepted_P / np.maximum(1, candidates_P), 10, (0.0, 1.0))
    return {
        "prompts": len(candidates_P),
        "by_accepted": np.bincount(accepted_P).tolist(),
        "by_share": shares.tolist(),
    }
