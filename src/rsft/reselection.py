"""Applying other rules to what a run has drawn and scored: what would change, and a set of decisions with a name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rsft.calibrating import bound
from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.errors import RecipeError, RunError
from rsft.likeness import Likeness, Replies
from rsft.saved import changed_recipe, saved_recipe
from rsft.scorers import Baseline, Combined, build_scorers, with_baseline
from rsft.selection import Decided, Rule, Selection, parse_selection
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
                stored = StoredPool(folder, iteration, fingerprints)
                _all_scored(stored, selection, run)
                now = decided_again(stored, folder, recipe, iteration)
                said.append({"iteration": iteration, **compared(stored, now)})
                if name is not None:
                    yield from zip(stored.keys.all(iteration), now, strict=True)

        if name is None:
            deque(decided(), maxlen=0)
        else:
            folder.add_selection(name, recipe.selection, decided())
    return {"run": str(run), "selection": [rule.name for rule in selection.rules], "name": name, "iterations": said}


def decided_again(stored: StoredPool, folder: RunFolder, recipe: Recipe, iteration: int) -> Decided:
    """The decisions of a recipe's rules on what is stored of an iteration. Raises a UserError where they can't be."""
    rules = parse_selection(at_iteration(recipe, iteration).selection)
    return bound(rules, folder, recipe, iteration, stored).decide(stored.pool)


def compared(stored: StoredPool, now: Decided) -> dict[str, Any]:
    """What new decisions change in one iteration, and which of them are the closest calls."""
    return {**Changes(stored).counted(now), "closest": _closest(stored, now)}


class Changes:
    """Tells what new decisions change in one iteration, in numbers, again and again: what does not hang on them is
    counted once."""

    def __init__(self, stored: StoredPool, texts_of: Callable[[Places], Mapping[int, str]] | None = None) -> None:
        """`texts_of` gives texts by their places, if there is a faster way than to read them from the folder."""
        self._stored = stored
        self._replies = Replies(stored.pool, texts_of or stored.texts_of)
        self._same: dict[str, Any] = {}

    def counted(self, now: Decided) -> dict[str, Any]:
        """Of candidates and prompts that were accepted before and are now; see `reselect`."""
        before_N, now_N = self._stored.accepted_N, now.accepted_N
        both, accepted = int(np.count_nonzero(before_N & now_N)), int(np.count_nonzero(now_N))
        if self._same:
            (likeness,) = self._replies.likeness(now_N)
        else:
            likeness = self._count_the_same(before_N, now_N)
        either = self._same["before"]["accepted"] + accepted - both
        return {
            "candidates": len(now),
            **self._same,
            "now": self._numbers(now_N, likeness),
            "in_common": both,
            "overlap": both / either if either else 1.0,
            "decided_by": dict(now.reasons()),
        }

    def _count_the_same(self, before_N: Mask, now_N: Mask) -> Likeness:
        """Count what no decision changes. How the replies that are accepted now are is told by the way: all texts are
        then read at once."""
        pool = self._stored.pool
        whole, before, of_now = self._replies.likeness(pool.whole_N, before_N, now_N)
        self._same = {
            "before": self._numbers(before_N, before),
            "whole": asdict(whole),
            "length_correlations": self._replies.correlations(pool.whole_N),
            "baselines": {name: _means(scores) for name, scores in pool.baselines.items()},
        }
        return of_now

    def _numbers(self, accepted_N: Mask, likeness: Likeness) -> dict[str, Any]:
        pool = self._stored.pool
        places = np.flatnonzero(accepted_N)
        means = _means({name: values_N[places] for name, values_N in pool.scores.items()})
        prompts = int(np.count_nonzero(pool.counts(accepted_N)))
        return {"accepted": len(places), "prompts": prompts, "means": means, **asdict(likeness)}


def _means(scores: Mapping[str, Values]) -> dict[str, float | None]:
    known = {name: values[~np.isnan(values)] for name, values in scores.items()}
    return {name: float(values.mean()) if len(values) else None for name, values in known.items()}


def _closest(stored: StoredPool, now: Decided) -> list[dict[str, Any]]:
    """The calls that were closest: of each rule what it accepted just over its line, and rejected just under."""
    pool = stored.pool
    calls: list[tuple[Rule, str, int, float]] = []
    for number, rule in enumerate(now.rules):
        margins_N = rule.margins(pool, now.alive_N(number))
        if margins_N is None:
            continue
        for side, among_N in (("over", now.accepted_N), ("under", now.by_N == number)):
            places = np.flatnonzero(among_N & ~np.isnan(margins_N))
            away = np.abs(margins_N[places])
            if len(places) > _CLOSEST:
                if away.min() == away.max():
                    continue  # no call is closer than another
                places = places[np.argpartition(away, _CLOSEST)[:_CLOSEST]]
            places = places[np.lexsort((pool.lots_N[places], np.abs(margins_N[places])))]
            calls += [(rule, side, int(place), float(margins_N[place])) for place in places]
    texts = stored.texts_of(np.array([place for _, _, place, _ in calls], dtype=np.intp))
    return [
        {
            "rule": rule.name,
            "side": side,
            "margin": margin,
            "prompt_id": pool.prompt_ids[pool.prompt_N[place]],
            "sample_index": int(pool.sample_N[place]),
            "reply": texts[place],
        }
        for rule, side, place, margin in calls
    ]


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


def _all_scored(stored: StoredPool, selection: Selection, run: Path) -> None:
    """Raise RecipeError where a rule reads a score that no candidate was given."""
    for rule in selection.rules:
        for name in rule.scorers_used:
            if stored.pool.whole_N.any() and np.isnan(stored.pool.scores[name]).all():
                raise RecipeError(
                    f"The rule '{rule.name}' reads the score '{name}', which no candidate of iteration "
                    f"{stored.pool.iteration} has. Score them first: rsft score {run} --set scorers.{name}=..."
                )
