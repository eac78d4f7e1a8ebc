"""How surely a mean loss is under what may be, by what was seen of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binom

Losses = np.ndarray[Any, np.dtype[np.float64]]


def p_value(losses: Losses, max_error: float) -> float:
    """Of the hypothesis that the mean loss is more than `max_error`: small if that can hardly be.

    Valid for independent losses from 0 to 1. For errors, which are 0 or 1, it is the binomial's own tail; for graded
    losses the bound of Hoeffding and Bentkus (2101.02703).
    """
    count = len(losses)
    if count == 0:
        return 1.0
    if ((losses == 0) | (losses == 1)).all():
        return float(binom.cdf(losses.sum(), count, max_error))
    mean = float(losses.mean())
    hoeffding = math.exp(-count * _divergence(min(mean, max_error), max_error))
    bentkus = math.e * float(binom.cdf(math.ceil(round(count * mean, 9)), count, max_error))
    return min(1.0, hoeffding, bentkus)


def error_bound(losses: Losses, confidence: float) -> float:
    """What the mean loss is at most, with this confidence: the least `max_error` that the p-value rules out.

    For errors that is Clopper and Pearson's bound, Beta⁻¹(confidence; e + 1, m − e).
    """
    count, bad = len(losses), float(losses.sum())
    if count == 0 or bad >= count:
        return 1.0
    if ((losses == 0) | (losses == 1)).all():
        return float(betaincinv(bad + 1, count - bad, confidence))
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if p_value(losses, middle) <= 1 - confidence else (middle, high)
    return high


def labels_needed(max_error: float, confidence: float, bad: float = 0.0) -> int | None:
    """The fewest labels over a threshold that certify it if the share `bad` of them are errors, None if none do.

    A share of 0 is the best that can happen: log(1 − confidence) / log(1 − max_error), rounded up.
    """
    if bad >= max_error:
        return None
    least, most = 0, 1
    while not certifies(most, bad, max_error, confidence):
        least, most = most, 2 * most
        if most > 10**8:
            return None
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if certifies(middle, bad, max_error, confidence) else (middle, most)
    return most


def certifies(count: int, bad: float, max_error: float, confidence: float) -> bool:
    """Whether so many labels over a threshold certify it, of which the share `bad` are errors."""
    return bool(binom.cdf(math.ceil(round(bad * count, 9)), count, max_error) <= 1 - confidence)


def _divergence(a: float, b: float) -> float:
    """Of a coin with the chance a from one with the chance b, in nats."""
    parts = ((a, b), (1 - a, 1 - b))
    return sum(x * math.log(x / y) for x, y in parts if x > 0)
