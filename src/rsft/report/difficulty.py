"""How prompts fare by how hard they were for the model at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.store import RunFolder
from rsft.stored import StoredDecisions

_NAMES = ("hard", "middling", "easy")


def by_difficulty(folder: RunFolder) -> list[dict[str, Any]]:
    """Train prompts in three groups of about one size by the share of their candidates that the first iteration, which
    the base model wrote, accepted: `from` and `to` which share, how many `prompts`, and the mean share of each iteration
    (None where it drew none of them).

    Equal shares are in one group, so that there may be fewer.
    """
    iterations = folder.decided_iterations("policy")
    if not iterations:
        return []
    shares = {iteration: _shares(folder, iteration) for iteration in iterations}
    first = shares[iterations[0]]
    values = np.array(list(first.values()))
    lines = np.quantile(values, (1 / 3, 2 / 3), method="inverted_cdf")
    group_P = np.searchsorted(lines, values, side="left")
    found = []
    for number, name in enumerate(_NAMES):
        of_group = [prompt_id for prompt_id, group in zip(first, group_P, strict=True) if group == number]
        if of_group:
            said = [first[prompt_id] for prompt_id in of_group]
            means = {iteration: _mean(shares[iteration], of_group) for iteration in iterations}
            found.append({"name": name, "from": min(said), "to": max(said), "prompts": len(of_group), "shares": means})
    return found


def _shares(folder: RunFolder, iteration: int) -> dict[str, float]:
    """By prompt id the share of candidates that was accepted."""
    decided = StoredDecisions(folder, iteration, "policy")
    keys = decided.keys
    candidates_P = np.bincount(keys.prompt_N, minlength=len(keys.prompt_ids))
    accepted_P = np.bincount(keys.prompt_N[decided.accepted_N], minlength=len(keys.prompt_ids))
    return dict(zip(keys.prompt_ids, (accepted_P / np.maximum(1, candidates_P)).tolist(), strict=True))


def _mean(shares: Mapping[str, float], prompt_ids: list[str]) -> float | None:
    known = [shares[prompt_id] for prompt_id in prompt_ids if prompt_id in shares]
    return sum(known) / len(known) if known else None
