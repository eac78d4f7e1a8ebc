"""How prompts fare by how hard they were for the base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.config import Recipe
from rsft.decided import Fared
from rsft.evaluated import evaluated
from rsft.evaluation import ACCEPTANCE
from rsft.ids import Ids
from rsft.selection.pool import Values
from rsft.store import RunFolder

_NAMES = {1: ("all",), 2: ("hard", "easy"), 3: ("hard", "middling", "easy")}

Groups = list[dict[str, Any]]


def train_by_difficulty(folder: RunFolder) -> Groups:
    """Train prompts by the share of their candidates that the first iteration, which the base model wrote, accepted;
    `shares` holds the mean share of each iteration."""
    iterations = folder.decided_iterations("policy")
    if not iterations:
        return []
    ids = Ids.of_train(folder)
    shares = {
        str(iteration): _accepted_shares(Fared.read(folder, iteration, "policy", ids)) for iteration in iterations
    }
    # Those that came up later are behind the others.
    all_of = {of: np.pad(known, (0, len(ids) - len(known)), constant_values=np.nan) for of, known in shares.items()}
    return _grouped(all_of[str(iterations[0])], all_of)


def heldout_by_difficulty(folder: RunFolder, recipe: Recipe) -> Groups:
    """Held-out prompts by the share of the base's samples that pass; `shares` holds which part of them the greedy
    replies of the base and of each iteration's policy pass on. None where the base was not sampled."""
    base = evaluated(folder, recipe, 0, "policy")
    if base is None or not base.samples:
        return []
    shares: dict[str, Mapping[str, float]] = {"base": base.values(ACCEPTANCE)}
    for iteration in sorted(iteration for iteration, arm in folder.done("evaluate") if arm == "policy" and iteration):
        found = evaluated(folder, recipe, iteration, "policy")
        if found is not None:
            shares[str(iteration)] = found.values(ACCEPTANCE)
    first = base.passing(base.samples)
    columns = {of: np.array([known.get(one, np.nan) for one in first]) for of, known in shares.items()}
    return _grouped(np.array([*first.values()]), columns)


def _grouped(first_P: Values, shares: Mapping[str, Values]) -> Groups:
    """Prompts in three groups of about one size by their first share (P,), NaN for those without one: `from` and `to`
    which, how many `prompts`, and the mean of each of the other shares (P,), None where it has none of them. Equal
    first shares are in one group, so that there may be fewer."""
    there_P = ~np.isnan(first_P)
    values = first_P[there_P]
    lines = np.quantile(values, (1 / 3, 2 / 3), method="inverted_cdf")
    group = np.searchsorted(lines, values, side="left")
    numbers = sorted(set(group.tolist()))
    found = []
    for number, name in zip(numbers, _NAMES[len(numbers)], strict=True):
        said = values[group == number]
        means = {of: _mean(known_P[there_P][group == number]) for of, known_P in shares.items()}
        ends = {"from": float(said.min()), "to": float(said.max())}
        found.append({"name": name, **ends, "prompts": len(said), "shares": means})
    return found


def _accepted_shares(fared: Fared) -> Values:
    """(P,): the share of candidates that was accepted, NaN where there are none."""
    return np.where(fared.candidates_P > 0, fared.accepted_P / np.maximum(1, fared.candidates_P), np.nan)


def _mean(shares: Values) -> float | None:
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if len(known) else None
