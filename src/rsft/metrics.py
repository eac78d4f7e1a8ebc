"""Numbers about replies, with their intervals. Pure: no I/O, no clock, and every random draw comes from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np

from rsft.text import grams
from rsft.types import Interval

_CONFIDENCE_Z = 1.959963984540054  # two-sided 95%
_RESAMPLES = 4000


def share(passed: Sequence[bool]) -> Interval:
    """The share that passed, with its 95% Wilson interval (Wilson 1927). Of nothing: 0, from 0 to 1."""
    n = len(passed)
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0)
    p, z2 = sum(passed) / n, _CONFIDENCE_Z**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _CONFIDENCE_Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half), n)


def mean(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean over prompts, with its 95% percentile bootstrap interval (prompts are resampled)."""
    if not values:
        return Interval(0.0, 0.0, 0.0, 0)
    values_P = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    # Resampling by counts: a row of `picks` says how often each prompt was drawn.
    picks_BP = generator.multinomial(len(values_P), np.full(len(values_P), 1 / len(values_P)), size=_RESAMPLES)
    means_B = picks_BP @ values_P / len(values_P)
    low, high = np.quantile(means_B, [0.025, 0.975])
    return Interval(float(values_P.mean()), float(low), float(high), len(values_P))


def paired_difference(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Interval:
    """The mean of after − before over the same prompts in the same order, with its 95% bootstrap interval."""
    if len(after) != len(before):
        raise ValueError(f"paired values must be of the same prompts; got {len(after)} and {len(before)}")
    return mean([a - b for a, b in zip(after, before, strict=True)], seed)


def pass_at(k: int, passed: Sequence[int], drawn: int) -> float:
    """The chance that at least one of k replies passes, averaged over prompts: 1 − C(n−c, k) / C(n, k).

    `passed` holds c for each prompt, of `drawn` = n replies each (the unbiased estimate of 2107.03374). Needs k ≤ n.
    """
    if not 1 <= k <= drawn:
        raise ValueError(f"pass@{k} needs 1 to {drawn} replies drawn for each prompt")
    if not passed:
        return 0.0
    return sum(1 - comb(drawn - c, k) / comb(drawn, k) for c in passed) / len(passed)


def distinct(n: int, texts: Sequence[Sequence[str]]) -> float:
    """Distinct n-grams over all n-grams of the tokenised texts (distinct-n, 1510.03055); 0 where there is none."""
    found = [gram for words in texts for gram in grams(words, n)]
    return len(set(found)) / len(found) if found else 0.0
