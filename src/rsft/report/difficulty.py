"""How prompts fare by how hard they were for the base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.config import Recipe
from rsft.decided import StoredDecisions
from rsft.evaluated import evaluated
from rsft.evaluation import ACCEPTANCE
from rsft.store import RunFolder

_NAMES = {1: ("all",), 2: ("hard", "easy"), 3: ("hard", "middling", "easy")}

Groups = list[dict[str, Any]]
_Shares = Mapping[str, float]


def train_by_difficulty(folder: RunFolder) -> Groups:
    """Train prompts by the share of their candidates that the first iteration, which the base model wrote, accepted;
    `shares` holds the mean share of each iteration."""
    iterations = folder.decided_iterations("policy")
    if not iterations:
        return []
    shares = {str(iteration): _accepted_shares(folder, iteration) for iteration in iterations}
    return _grouped(shares[str(iterations[0])], shares)


def heldout_by_difficulty(folder: RunFolder, recipe: Recipe) -> Groups:
    """Held-out prompts by the share of the base's samples that pass; `shares` holds which part of them the greedy
    replies of the base and of each iteration's policy pass on. None where the base was not sampled."""
    base = evaluated(folder, recipe, 0, "policy")
    if base is None or not base.samples:
        return []
    shares: dict[str, _Shares] = {"base": base.values(ACCEPTANCE)}
    for iteration in sorted(iteration for iteration, arm in folder.done("evaluate") if arm == "policy" and iteration):
        found = evaluated(folder, recipe, iteration, "policy")
        if found is not None:
            shares[str(iteration)] = found.values(ACCEPTANCE)
    return _grouped(base.passing(base.samples), shares)


def _grouped(first: _Shares, shares: Mapping[str, _Shares]) -> Groups:
    """Prompts in three groups of about one size by their first share: `from` and `to` which, how many `prompts`, and
    the mean of each of the other shares (None where it has none of them). Equal first shares are in one group, so that
    there may be fewer."""
    values = np.array(list(first.values()))
    lines = np.quantile(values, (1 / 3, 2 / 3), method="inverted_cdf")
    group_P = np.searchsorted(lines, values, side="left")
    numbers = sorted(set(group_P.tolist()))
    found = []
    for number, name in zip(numbers, _NAMES[len(numbers)], strict=True):
        of_group = [prompt_id for prompt_id, group in zip(first, group_P, strict=True) if group == number]
        said = [first[prompt_id] for prompt_id in of_group]
        means = {of: _mean(known, of_group) for of, known in shares.items()}
        found.append({"name": name, "from": min(said), "to": max(said), "prompts": len(of_group), "shares": means})
    return found


def _accepted_shares(folder: RunFolder, iteration: int) -> dict[str, float]:
    """By prompt id the share of candidates that was accepted."""
    decided = StoredDecisions(folder, iteration, "policy")
    keys = decided.keys
    candidates_P = np.bincount(keys.prompt_N, minlength=len(keys.prompt_ids))
    accepted_P = np.bincount(keys.prompt_N[decided.accepted_N], minlength=len(keys.prompt_ids))
    return dict(zip(keys.prompt_ids, (accepted_P / np.maximum(1, candidates_P)).tolist(), strict=True))


def _mean(shares: _Shares, prompt_ids: list[str]) -> float | None:
    known = [shares[prompt_id] for prompt_id in prompt_ids if prompt_id in shares]
    return sum(known) / len(known) if known else None
