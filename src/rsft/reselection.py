"""Applying other rules to what a run has drawn and scored: what would change, and a set of decisions with a name."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rsft.calibrating import bound
from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.errors import RecipeError, RunError
from rsft.likeness import Likeness, Replies, Sample
from rsft.parts import StoredParts
from rsft.saved import changed_recipe, saved_recipe
from rsft.scorers import Baseline, Combined, build_scorers, with_baseline
from rsft.selection import Decided, Selection, parse_selection
from rsft.selection.pool import Mask, Places, Values
from rsft.store import RunFolder
from rsft.stored import StoredPool
from rsft.types import CandidateKey, Decision

# Candidates on either side of a line that are shown.
_CLOSEST = 3


def reselect(run: Path, overrides: Sequence[str], name: str | None = None) -> dict[str, Any]:
    """Apply the recipe's selection, with `overrides`, to the candidates on which the run decided. Nothing is drawn.

    Of each iteration: how many candidates and prompts were accepted `before` and are `now`, the mean of every score
    over them, how long and how different they are beside all `whole` replies, how each score goes with length, how much
    the two sets have in common (Jaccard), how many candidates each rule decided on, and the closest calls on both sides
    of the lines. With a `name` the decisions are kept under it. Raises a UserError.
    """
    recipe, own = changed_recipe(run, overrides, "selection", "scorers", "scoring"), saved_recipe(run)
    selection = parse_selection(recipe.selection)
    selection.check(list(recipe.scorers))
    with RunFolder.open(run, write=name is not None) as folder:
        if name is not None:
            folder.check_name(name)
        iterations = folder.decided_iterations("policy")
        if not iterations:
            raise RunError(f"The run {run} has decided on no candidates yet.")
        fingerprints = _fingerprints(folder, own, recipe)
        said: list[dict[str, Any]] = []

        def decided() -> Iterator[tuple[CandidateKey, Decision]]:
            """One after the other: the decisions of a large run, each with its reason, would fill the memory."""
            for iteration in iterations:
                own_rules = parse_selection(at_iteration(recipe, iteration).selection)
                stored = StoredParts(folder, iteration, fingerprints, whole=not own_rules.in_parts)
                _all_scored(stored, selection, run)
                changes, closest = Changes(stored.texts_of), ClosestCalls()
                for part, now in decided_again(stored, folder, recipe, iteration):
                    changes.add(part, now)
                    closest.add(part, now)
                    if name is not None:
                        yield from zip(part.keys.all(iteration), now, strict=True)
                said.append({"iteration": iteration, **changes.told(), "closest": closest.told(stored)})

        if name is None:
            deque(decided(), maxlen=0)
        else:
            folder.add_selection(name, recipe.selection, decided())
    return {"run": str(run), "selection": [rule.name for rule in selection.rules], "name": name, "iterations": said}


def decided_again(
    stored: StoredParts, folder: RunFolder, recipe: Recipe, iteration: int
) -> Iterator[tuple[StoredPool, Decided]]:
    """The decisions of a recipe's rules on each part of what is stored of an iteration. Raises a UserError where they
    can't be."""
    rules = parse_selection(at_iteration(recipe, iteration).selection)
    return stored.decided_by(bound(rules, folder, recipe, iteration, stored))


class Changes:
    """Tells what new decisions change in one iteration, in numbers, again and again: what does not hang on them is
    counted once. The iteration's parts are added one after the other."""

    def __init__(self, texts_of: Callable[[Places], Mapping[int, str]]) -> None:
        """`texts_of` gives texts by their places among all candidates."""
        self._replies = Replies(texts_of)
        self._before, self._whole, self._baselines = _Counted(), _Counted(), dict[str, _Means]()
        self._same: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._now, self._candidates, self._both, self._reasons = _Counted(), 0, 0, Counter[str]()

    def add(self, part: StoredPool, now: Decided) -> None:
        """What is decided now on a part."""
        pool, before_N, now_N = part.pool, part.accepted_N, now.accepted_N
        self._candidates += len(now)
        self._both += int(np.count_nonzero(before_N & now_N))
        self._reasons.update(now.reasons())
        self._now.add(part, now_N)
        if not self._same:
            self._before.add(part, before_N)
            self._whole.add(part, pool.whole_N)
            for name, scores in pool.baselines.items():
                self._baselines.setdefault(name, _Means()).add(scores)

    def told(self) -> dict[str, Any]:
        """Of candidates and prompts that were accepted before and are now; see `reselect`. What is added from now on is
        of other decisions."""
        if self._same:
            (likeness,) = self._replies.likeness(self._now.sample)
        else:
            likeness = self._tell_the_same()
        before, accepted = self._same["before"]["accepted"], self._now.accepted
        either = before + accepted - self._both
        said = {
            "candidates": self._candidates,
            **self._same,
            "now": self._now.told(likeness),
            "in_common": self._both,
            "overlap": self._both / either if either else 1.0,
            "decided_by": dict(self._reasons),
        }
        self._begin()
        return said

    def _tell_the_same(self) -> Likeness:
        """Count what no decision changes. How the replies that are accepted now are is told by the way: all texts are
        then read at once."""
        sets = (self._whole, self._before, self._now)
        whole, before, of_now = self._replies.likeness(*(one.sample for one in sets))
        self._same = {
            "before": self._before.told(before),
            "whole": asdict(whole),
            "length_correlations": self._replies.correlations(self._whole.sample),
            "baselines": {name: means.told() for name, means in self._baselines.items()},
        }
        return of_now


class _Means:
    """The means of scores that come some at a time."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, scores: Mapping[str, Values]) -> None:
        for name, values in scores.items():
            known, (total, count) = values[~np.isnan(values)], self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + float(known.sum()), count + len(known))

    def told(self) -> dict[str, float | None]:
        return {name: total / count if count else None for name, (total, count) in self._sums.items()}


class _Counted:
    """Numbers of a set of candidates, which comes part by part."""

    def __init__(self) -> None:
        self.accepted, self._prompts, self._means, self.sample = 0, 0, _Means(), Sample()

    def add(self, part: StoredPool, chosen_N: Mask) -> None:
        pool, places = part.pool, np.flatnonzero(chosen_N)
        self.accepted += len(places)
        self._prompts += int(np.count_nonzero(pool.counts(chosen_N)))
        self._means.add({name: values_N[places] for name, values_N in pool.scores.items()})
        self.sample.add(pool, chosen_N, part.start)

    def told(self, likeness: Likeness) -> dict[str, Any]:
        return {"accepted": self.accepted, "prompts": self._prompts, "means": self._means.told(), **asdict(likeness)}


class ClosestCalls:
    """The calls that were closest, of parts that come one after the other: of each rule what it accepted just over its
    line, and rejected just under; of equally close ones the first by lot."""

    def __init__(self) -> None:
        self._sides: dict[tuple[int, str], _Side] = {}

    def add(self, part: StoredPool, now: Decided) -> None:
        for number, rule in enumerate(now.rules):
            margins_N = rule.margins(part.pool, now.alive_N(number))
            if margins_N is None:
                continue
            for side, among_N in (("over", now.accepted_N), ("under", now.by_N == number)):
                found = self._sides.setdefault((number, side), _Side(rule.name))
                found.add(part, margins_N, among_N & ~np.isnan(margins_N))

    def told(self, stored: StoredParts) -> list[dict[str, Any]]:
        calls = [(side.rule, name, *call) for (_, name), side in sorted(self._sides.items()) for call in side.closest]
        places = np.array([place for *_, place in calls], dtype=np.intp)
        texts, keys = stored.texts_of(places) if calls else {}, stored.keys_of(places)
        return [
            {
                "rule": rule,
                "side": side,
                "margin": margin,
                "prompt_id": key.prompt_id,
                "sample_index": key.sample_index,
                "reply": texts[place],
            }
            for (rule, side, margin, _, place), key in zip(calls, keys, strict=True)
        ]


class _Side:
    """The closest calls on one side of a rule's line."""

    def __init__(self, rule: str) -> None:
        self.rule, self._count, self._least, self._most = rule, 0, np.inf, 0.0
        self._calls: list[tuple[float, int, int]] = []

    def add(self, part: StoredPool, margins_N: Values, among_N: Mask) -> None:
        places = np.flatnonzero(among_N)
        away = np.abs(margins_N[places])
        self._count += len(places)
        self._least, self._most = min(self._least, away.min(initial=np.inf)), max(self._most, away.max(initial=0.0))
        if len(places) > _CLOSEST:
            near = away <= np.partition(away, _CLOSEST - 1)[_CLOSEST - 1]
            places, away = places[near], away[near]
            places = places[np.lexsort((part.pool.lots_N[places], away))][:_CLOSEST]
        lots = part.pool.lots_N[places].tolist()
        new = zip(margins_N[places].tolist(), lots, (places + part.start).tolist(), strict=True)
        self._calls = sorted([*self._calls, *new], key=lambda call: (abs(call[0]), call[1]))[:_CLOSEST]

    @property
    def closest(self) -> list[tuple[float, int, int]]:
        """The margin, lot and place of each; none where no call is closer than another."""
        return [] if self._count > _CLOSEST and self._least == self._most else self._calls


def _fingerprints(folder: RunFolder, own: Recipe, recipe: Recipe) -> dict[str, str]:
    """Of each scorer whose scores are read: the run's own, and of a changed one what it is now."""
    noted = folder.noted_scorers()
    changed = [name for name, spec in recipe.scorers.items() if name not in noted or own.scorers.get(name) != spec]
    built = build_scorers(recipe.scorers, recipe.model) if changed else {}
    if compared := folder.stage_done(0, "policy", "compare"):
        built = with_baseline(built, Baseline(compared["generator"], {}))  # it counts by what drew it
    for name in changed:
        scorer = built[name]
        if isinstance(scorer, Combined) and scorer.standardise:
            raise RecipeError(f"The scorer '{name}' is standardised: its scores can't be read for another recipe.")
    return {name: built[name].fingerprint if name in changed else noted[name] for name in recipe.scorers}


def _all_scored(stored: StoredParts, selection: Selection, run: Path) -> None:
    """Raise RecipeError where a rule reads a score that no candidate was given."""
    for rule in selection.rules:
        for name in rule.scorers_used:
            if stored.any_whole and not stored.ranges[name].known:
                raise RecipeError(
                    f"The rule '{rule.name}' reads the score '{name}', which no candidate of iteration "
                    f"{stored.iteration} has. Score them first: rsft score {run} --set scorers.{name}=..."
                )
