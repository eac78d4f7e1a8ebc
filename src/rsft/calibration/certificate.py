"""The most lenient threshold that keeps a promise: fixed-sequence Learn-then-Test (2110.01052)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.calibration.risk import Losses, certifies, error_bound, labels_needed, p_value

Scores = np.ndarray[Any, np.dtype[np.float64]]

# Thresholds that are tried, from the strictest on.
_STEPS = 50
# Bad replies among those over the strictest threshold that shall not stop it from being certified.
_FORGIVEN = 2
_ROOM = 1.15
# Labels that say something of how rare bad ones are over a line.
_LEAST_SEEN = 10


@dataclass(frozen=True, slots=True)
class Certificate:
    """With `confidence`, of the replies with a score of at least `threshold` no more than `max_error` are bad.

    It was found on `labelled` replies over the threshold, of which `bad` (a sum of losses) were bad. `precision` is the
    lower bound, at that confidence, of the share of good ones; `coverage` the share of the pool over the threshold.
    """

    threshold: float
    max_error: float
    confidence: float
    labelled: int
    bad: float
    precision: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """No threshold keeps the promise, by what was labelled. `reason` says why, and `labels_wanted` how many labels in
    all would probably do; None where no number would, because too many are bad wherever the line is drawn."""

    reason: str
    labels_wanted: int | None


def certify(
    scores: Scores, losses: Losses, pool: Scores, *, max_error: float = 0.1, confidence: float = 0.9
) -> Certificate | Refusal:
    """The most lenient certified threshold.

    `scores` (n,) and `losses` (n,) from 0, good, to 1, bad, are of the labelled replies, which must be a random draw,
    one of each prompt, from what `pool` (N,) holds the scores of. NaN counts as under every threshold.

    Thresholds are fixed from the pool alone, strict to lenient, and tested in this order until one fails; so all that
    pass hold together with the confidence asked for, whatever the scores are worth.
    """
    known = ~np.isnan(scores)
    if not known.any():
        return Refusal("no reply is labelled", _first_labels(max_error, confidence))
    passed: tuple[float, Losses] | None = None
    for threshold in thresholds_tried(pool, len(scores), max_error, confidence):
        over = losses[known & (scores >= threshold)]
        if p_value(over, max_error) > 1 - confidence:
            break
        passed = threshold, over
    if passed is None:
        return _refusal(scores, losses, pool, max_error, confidence)
    threshold, over = passed
    return Certificate(
        threshold=threshold,
        max_error=max_error,
        confidence=confidence,
        labelled=len(over),
        bad=float(over.sum()),
        precision=1 - error_bound(over, confidence),
        coverage=float((pool >= threshold).mean()),
    )


def thresholds_tried(pool: Scores, labelled: int, max_error: float, confidence: float) -> list[float]:
    """Thresholds at quantiles of the pool, from where so many labelled ones may be expected over it that two bad ones
    are forgiven, down to the least score."""
    values = np.sort(pool[~np.isnan(pool)])[::-1]
    start = min(1.0, _first_labels(max_error, confidence) / labelled)
    shares = np.linspace(start, 1.0, _STEPS)
    places = np.ceil(np.round(shares * len(pool), 9)).astype(np.intp) - 1
    places = places[places < len(values)] if (places < len(values)).any() else np.array([len(values) - 1])
    return list(dict.fromkeys(values[places].tolist()))


def _first_labels(max_error: float, confidence: float) -> int:
    """Labels over a threshold that certify it although two are bad, with some room: 60 for 10% at 90%."""
    count = max(_FORGIVEN, labels_needed(max_error, confidence) or 1)
    while p_value(np.append(np.ones(_FORGIVEN), np.zeros(count - _FORGIVEN)), max_error) > 1 - confidence:
        count += 1
    return math.ceil(_ROOM * count)


def _refusal(scores: Scores, losses: Losses, pool: Scores, max_error: float, confidence: float) -> Refusal:
    """Why nothing is certified, by the strictest threshold that was tried: more labels would allow a stricter one."""
    strictest = thresholds_tried(pool, len(scores), max_error, confidence)[0]
    over = losses[scores >= strictest]
    said = f"of {len(over)} labelled replies with a score of at least {strictest:.4g}, {over.sum():g} are bad"
    wanted = _labels_wanted(scores, losses, max_error, confidence)
    if wanted is None:
        return Refusal(f"{said}, and too many wherever the line is drawn. Another scorer may tell them apart", None)
    return Refusal(f"{said}: {'too few' if over.mean() < max_error else 'too many'} to be sure", wanted)


def _labels_wanted(scores: Scores, losses: Losses, max_error: float, confidence: float) -> int | None:
    """The fewest labels in all with which the strictest threshold would be certified, if bad ones stay as rare over a
    line as they were seen to be; None if they are too frequent wherever it lies. With more labels it is stricter."""
    strict = losses[np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")]
    first, count = _first_labels(max_error, confidence), len(strict)
    for wanted in range(count + 1, first * max(1, count // _LEAST_SEEN) + 1):
        over = min(wanted, first)
        seen = strict[: max(1, round(count * over / wanted))]
        if certifies(over, float(seen.mean()), max_error, confidence):
            return wanted
    return None
