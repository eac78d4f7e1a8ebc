"""Shares of a total by acceptance rates that were estimated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Weighing = Callable[[Any], Any]

WEIGHTS: dict[str, Weighing] = {
    # The same expected number of accepted replies for each prompt (DART-Math's "uniform", 2407.13690).
    "uniform": lambda rate_P: 1 / rate_P,
    # As many more accepted replies as a prompt is harder (its "prop2diff"): expected accepted ∝ 1 − rate.
    "harder": lambda rate_P: (1 - rate_P) / rate_P,
    # The least variance of the gradient (GVM, 2505.02391): n ∝ G/√rate, with gradients G of one size.
    "variance": lambda rate_P: 1 / np.sqrt(rate_P),
}


def shares(total: int, weights: Sequence[float], most: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to the weights, at most `most` each, that sum to the total as far as these let them.

    What a limit keeps from one goes to the others in the same proportion; what rounding leaves over goes to the largest
    fractions, the earlier of equals first.
    """
    weight_P, most_P = np.asarray(weights, dtype=np.float64), np.asarray(most, dtype=np.float64)
    share_P = np.zeros(len(weight_P))
    total = min(total, int(most_P.sum()))
    for _ in range(len(weight_P)):
        free_P = (share_P < most_P) & (weight_P > 0)
        left = total - share_P.sum()
        if left < 1e-9 or not free_P.any():
            break
        share_P = np.minimum(most_P, share_P + np.where(free_P, left * weight_P / weight_P[free_P].sum(), 0.0))
    whole_P = np.floor(share_P + 1e-9)
    over = round(float(share_P.sum() - whole_P.sum()))
    whole_P[np.argsort(whole_P - share_P, kind="stable")[:over]] += 1
    return [int(share) for share in whole_P]


def variance_ratio(rates: Sequence[float], gradients: Sequence[float]) -> float:
    """How many times the least variance an equal number for each prompt gives: mean(G²/p) / mean(G/√p)² (GVM)."""
    rate_P, gradient_P = np.asarray(rates), np.asarray(gradients)
    return float(np.mean(gradient_P**2 / rate_P) / np.mean(gradient_P / np.sqrt(rate_P)) ** 2)
