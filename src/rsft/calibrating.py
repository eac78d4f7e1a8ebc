"""Certified thresholds of a run: from its labels, of the iteration that they are of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from rsft.calibration import Certificate, Refusal, certify, conformal_selection, labels_needed
from rsft.config import Recipe
from rsft.errors import RunError, SelectionError
from rsft.labelling import Frame, Labelling
from rsft.parts import StoredParts
from rsft.saved import changed_recipe
from rsft.selection import Selection, parse_selection
from rsft.selection.certified import Certified
from rsft.store import RunFolder
from rsft.types import Label

# Where the ledger has an iteration's certified thresholds.
_LINES = "certified:"


def calibrate(
    run: Path,
    scorer: str,
    max_error: float = 0.1,
    confidence: float = 0.9,
    iteration: int | None = None,
    labeller: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """The most lenient threshold on a scorer that keeps its promise, by the calibration labels of an iteration (None:
    the last that was drawn), or the reason why none does. `overrides` name another selection, behind which it is to be.

    `certificate` says which, with the lower bound of its precision and its share of the pool; or `refusal` why not, and
    how many labels would probably do. `stricter` tells how many it would take for less error or more confidence.
    `conformal` is how many of the pool conformal selection would choose. `left_out` are labels that count for another
    draw only (see `labelled`). Raises a UserError.
    """
    recipe = changed_recipe(run, overrides, "selection")
    with RunFolder.open(run, write=False) as folder:
        iteration = drawn_iteration(folder) if iteration is None else iteration
        frame = Frame(folder, recipe, scorer, iteration)
        losses = labelled(folder, frame, labeller)
        said = certified(frame, losses, max_error, confidence)
        places = frame.places
        return {
            "run": str(run),
            "scorer": scorer,
            "iteration": iteration,
            "labels": (known := int((~np.isnan(losses)).sum())),
            "left_out": int((~np.isnan(_losses(folder, frame, labeller))).sum()) - known,
            "bad": float(np.nansum(losses)),
            "pool": len(places),
            "certificate": asdict(said) if isinstance(said, Certificate) else None,
            "refusal": asdict(said) if isinstance(said, Refusal) else None,
            "stricter": _stricter(said) if isinstance(said, Certificate) else [],
            "conformal": _conformal(frame, losses, max_error),
        }


def bound(
    selection: Selection, folder: RunFolder, recipe: Recipe, iteration: int, stored: StoredParts | None = None
) -> Selection:
    """The rules, those that wait for a certified threshold with that of this iteration. `stored` is what was read of
    the iteration, if it was. Raises SelectionError where its labels certify none."""
    rules = [
        _bound(rule, folder, recipe, iteration, stored) if isinstance(rule, Certified) else rule
        for rule in selection.rules
    ]
    return replace(selection, rules=rules)


def keep_lines(selection: Selection, folder: RunFolder, iteration: int) -> None:
    """Write down at which values an iteration's certified thresholds are: further labels would give others."""
    lines = {rule.score: rule.line.value for rule in selection.rules if isinstance(rule, Certified)}
    if lines:
        folder.ledger.set_meta(f"{_LINES}{iteration}", json.dumps(lines))


def kept_lines(folder: RunFolder, iteration: int) -> Mapping[str, float]:
    """The values of the certified thresholds by which the run decided in an iteration, by score."""
    lines: Mapping[str, float] = json.loads(folder.ledger.meta(f"{_LINES}{iteration}") or "{}")
    return lines


def _bound(rule: Certified, folder: RunFolder, recipe: Recipe, iteration: int, stored: StoredParts | None) -> Certified:
    frame = Frame(folder, recipe, rule.score, iteration, stored)
    verdicts: Sequence[Label] = ()
    if rule.by is not None:
        labelling = Labelling(folder, frame, rule.by, "calibration")
        missing = int(np.isin(frame.places[: rule.labels], labelling.queue).sum())
        verdicts = labelling.labels_by_rules(parse_selection([rule.by]), missing)
    losses = labelled(folder, frame, rule.by, verdicts)
    if folder.writes:  # who only looks what other rules would do leaves the run as it is
        folder.add_labels(verdicts)
    said = certified(frame, losses, rule.max_error, rule.confidence)
    if isinstance(said, Refusal):
        wanted = "" if said.labels_wanted is None else f" About {said.labels_wanted} labels would do."
        raise SelectionError(
            f"No threshold on '{rule.score}' is certified for iteration {iteration} (at most {rule.max_error:.0%} bad, "
            f"with {rule.confidence:.0%} confidence): {said.reason}.{wanted}\n"
            f"Label replies of this iteration (rsft label {folder.path} --scorer {rule.score}), then go on with rsft "
            f"resume {folder.path}. No threshold is ever used that is not certified, nor one of another iteration."
        )
    return rule.at(said.threshold)


def labelled(
    folder: RunFolder, frame: Frame, labeller: str | None = None, more: Sequence[Label] = ()
) -> np.ndarray[Any, Any]:
    """(F,): the loss of each of the frame's places by its calibration labels, and `more` that are not kept, NaN where
    none is; of several labellers the mean. A reply that was skipped counts as a bad one: leaving it out would favour
    the clear cases.

    Only the draw's beginning counts, up to the first reply without a label. What is labelled behind it was labelled
    because it is in another draw, for another scorer or behind other rules, and not at random among these places.
    """
    losses_F = _losses(folder, frame, labeller, more)
    losses_F[np.cumsum(np.isnan(losses_F)) > 0] = np.nan
    return losses_F


def _losses(folder: RunFolder, frame: Frame, labeller: str | None, more: Sequence[Label] = ()) -> np.ndarray[Any, Any]:
    """The same of all that is labelled."""
    said: dict[Any, list[float]] = {}
    for label in [*folder.labels(iteration=frame.iteration), *more]:
        if label.purpose == "calibration" and labeller in (None, label.labeller):
            said.setdefault(label.key, []).append(1.0 if label.loss is None else label.loss)
    losses_F = np.full(len(frame.places), np.nan)
    order = np.argsort(frame.places)
    for place, losses in zip(frame.stored.places_of([*said]).tolist(), said.values(), strict=True):
        at = int(np.searchsorted(frame.places, place, sorter=order))
        if at < len(order) and frame.places[order[at]] == place:
            losses_F[order[at]] = np.mean(losses)
    return losses_F


def certified(frame: Frame, losses: np.ndarray[Any, Any], max_error: float, confidence: float) -> Certificate | Refusal:
    scores, known = frame.scores, ~np.isnan(losses)
    return certify(scores[known], losses[known], scores, max_error=max_error, confidence=confidence)


def drawn_iteration(folder: RunFolder) -> int:
    """The last iteration of which all candidates are drawn. Raises RunError."""
    drawn = [
        stage["iteration"]
        for stage in folder.stages()
        if (stage["arm"], stage["stage"], stage["status"]) == ("policy", "sample", "done")
    ]
    if not drawn:
        raise RunError(f"The run {folder.path} has drawn no candidates yet.")
    return int(max(drawn))


def _stricter(said: Certificate) -> list[dict[str, Any]]:
    """How many labels in all stricter promises would take at this threshold, if bad ones stay as rare."""
    share = said.bad / max(1, said.labelled)
    promises: Sequence[tuple[float, float]] = [
        (said.max_error / 2, said.confidence),
        (said.max_error, 1 - (1 - said.confidence) / 2),
    ]
    found = []
    for max_error, confidence in promises:
        over = labels_needed(max_error, confidence, share)
        labels = None if over is None else math.ceil(over / max(said.coverage, 1e-9))
        found.append({"max_error": max_error, "confidence": confidence, "labels": labels})
    return found


def _conformal(frame: Frame, losses: np.ndarray[Any, Any], max_error: float) -> dict[str, int] | None:
    """How many of the pool's unlabelled replies conformal selection would choose; None for graded labels."""
    known = ~np.isnan(losses)
    scores = frame.scores
    if not np.isin(losses[known], (0.0, 1.0)).all() or not known.any():
        return None
    chosen = conformal_selection(scores[known], losses[known] == 1, scores[~known], max_error=max_error)
    return {"chosen": int(chosen.sum()), "of": int((~known).sum())}
