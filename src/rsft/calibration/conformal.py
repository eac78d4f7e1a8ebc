"""Choosing from a pool so that few of the chosen are bad, on average (conformal selection, 2210.01408)."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsft.calibration.certificate import Scores

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def conformal_selection(scores: Scores, bad: Mask, pool: Scores, *, max_error: float = 0.1) -> Mask:
    """(N,): the chosen ones of the pool. On average over many draws of labels and pool, at most `max_error` of the
    chosen are bad (the false-discovery rate); a single draw may have more.

    `scores` (n,) and `bad` (n,) are of the labelled replies, a random draw from what `pool` (N,) holds the scores of.
    Each reply's p-value is (1 + the bad labelled ones that score as much) / (n + 1); Benjamini and Hochberg's procedure
    chooses. NaN is never chosen.
    """
    of_bad = np.sort(np.where(np.isnan(scores), np.inf, scores)[bad])
    known = np.flatnonzero(~np.isnan(pool))
    as_much = len(of_bad) - np.searchsorted(of_bad, pool[known], side="left")
    p_values = (1 + as_much) / (len(scores) + 1)
    order = np.argsort(p_values, kind="stable")
    allowed = max_error * np.arange(1, len(order) + 1) / max(1, len(pool))
    passing = np.flatnonzero(p_values[order] <= allowed)
    chosen: Mask = np.zeros(len(pool), dtype=np.bool_)
    if len(passing):
        chosen[known[p_values <= p_values[order][passing[-1]]]] = True
    return chosen
