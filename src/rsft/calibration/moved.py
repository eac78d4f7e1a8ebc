"""Bounds that hold wherever a line is put, although the labels were looked at while it was moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsft.calibration.certificate import Scores, thresholds_tried
from rsft.calibration.risk import Losses, error_bound


@dataclass(frozen=True, slots=True)
class LinesBound:
    """With one confidence for all of them together: of the `over` replies of a pool that score highest, however many
    those are, how many are bad at most.

    The T thresholds that calibration tries are fixed from the pool alone. Each has its bound with the confidence
    1 − δ/T, so all T hold together with 1 − δ (Bonferroni). A line between two of them accepts some of what the more
    lenient one does, and so no more bad ones: these, of fewer replies, are its bound.
    """

    counts_T: np.ndarray[tuple[int], np.dtype[np.intp]]
    errors_T: Losses

    @classmethod
    def of(cls, scores: Scores, losses: Losses, pool: Scores, *, max_error: float, confidence: float) -> LinesBound:
        """`scores` (n,) and `losses` (n,) are of the labelled replies, a random draw from what `pool` (N,) holds the
        scores of, as for `certify`; the two numbers of the promise fix which thresholds are tried."""
        known = ~np.isnan(scores)
        tried = thresholds_tried(pool, len(scores), max_error, confidence) if known.any() else []
        each = 1 - (1 - confidence) / max(1, len(tried))
        counts = [int((pool >= threshold).sum()) for threshold in tried]
        errors = [error_bound(losses[known & (scores >= threshold)], each) for threshold in tried]
        return cls(np.array(counts, dtype=np.intp), np.array(errors, dtype=np.float64))

    def precision(self, over: int) -> float:
        """The share of good ones among the `over` highest, at least; 0 where nothing is known."""
        lenient = self.counts_T >= over
        if over == 0 or not lenient.any():
            return 0.0
        return max(0.0, 1 - float((self.errors_T[lenient] * self.counts_T[lenient]).min()) / over)
