"""The replies that tell most about the rules: those nearest to a line, on either side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.decided import deciding_rules, first_decided
from rsft.reading import shown
from rsft.selection import parse_selection
from rsft.selection.pool import Numbers, Places, Values
from rsft.selection.threshold import Threshold
from rsft.store import RunFolder
from rsft.stored import StoredPool

# Of so many decisions on a prompt's candidates those that are shown are looked for.
_OF_A_PROMPT = 100_000

Shown = list[dict[str, Any]]


def closest_calls(folder: RunFolder, recipe: Recipe, most: int) -> tuple[Shown, Shown]:
    """At most so many accepted and as many rejected replies, of the last iteration as far as it has them, then of those
    before it: nearest to a line first.

    A rejected reply is as far from it as its score is from the threshold that rejected it, an accepted one as from the
    nearest of all thresholds; in spreads (standard deviations) of that score, so that scores compare. Replies on which
    other rules decided come last, by lot. Each is as `reading.shown` has it, with `line`: the rule and the
    `margin` over it (under it: below 0); None where no line is near.
    """
    accepted: list[tuple[float, dict[str, Any]]] = []
    rejected: list[tuple[float, dict[str, Any]]] = []
    for iteration in reversed(folder.decided_iterations("policy")):
        if len(accepted) == len(rejected) == most:
            break
        calls = _Calls(folder, recipe, iteration)
        accepted += calls.shown(calls.accepted(most - len(accepted)))
        rejected += calls.shown(calls.rejected(most - len(rejected)))
    return _in_order(accepted), _in_order(rejected)


def _in_order(found: list[tuple[float, dict[str, Any]]]) -> Shown:
    return [reply for _, reply in sorted(found, key=lambda one: one[0])]


class _Calls:
    """The decisions of one iteration, as columns: how far each candidate is from the line that matters for it."""

    def __init__(self, folder: RunFolder, recipe: Recipe, iteration: int) -> None:
        self._folder, self._iteration = folder, iteration
        self._stored = StoredPool(folder, iteration, folder.noted_scorers())
        rules = parse_selection(at_iteration(recipe, iteration).selection).rules
        self._lines = [rule for rule in rules if isinstance(rule, Threshold) and rule.score in self._stored.pool.scores]
        names, self._by_N = deciding_rules(folder, iteration, "policy")
        self._number = {name: number for number, name in enumerate(names)}
        count = len(self._stored.pool)
        # (N,): which line is nearest (-1: none), and how far away it is in spreads of its score.
        self._line_N: Numbers = np.full(count, -1, dtype=np.int32)
        self._away_N: Values = np.full(count, np.inf)
        for place, rule in enumerate(self._lines):
            self._measure(place, rule)

    def _measure(self, place: int, rule: Threshold) -> None:
        pool, accepted_N = self._stored.pool, self._stored.accepted_N
        margins_N = rule.margins(pool, accepted_N)
        if margins_N is None or np.isnan(margins_N).all():
            return
        spread = float(np.nanstd(margins_N)) or 1.0
        away_N = np.where(np.isnan(margins_N), np.inf, np.abs(margins_N) / spread)
        counted_N = self._by_N == self._number.get(rule.name, -1)
        over = away_N[accepted_N]
        if len(over) and over.min() < over.max():  # else no call is closer than another
            counted_N = counted_N | accepted_N
        nearer_N = counted_N & (away_N < self._away_N)
        self._away_N[nearer_N], self._line_N[nearer_N] = away_N[nearer_N], place

    def accepted(self, most: int) -> Places:
        return self._first(np.flatnonzero(self._stored.accepted_N), most)

    def rejected(self, most: int) -> Places:
        return self._first(np.flatnonzero(~self._stored.accepted_N), most)

    def _first(self, places: Places, most: int) -> Places:
        order = np.lexsort((self._stored.pool.lots_N[places], self._away_N[places]))
        return places[order[:most]]

    def shown(self, places: Places) -> list[tuple[float, dict[str, Any]]]:
        """How far away the replies there are, and all that is known of them; read for their prompts only."""
        keys = [self._stored.keys.key(self._iteration, int(place)) for place in places]
        ids = {key.prompt_id for key in keys}
        if not ids:
            return []
        folder, iteration = self._folder, self._iteration
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("train", ids)}
        wanted = set(keys)
        candidates = {c.key: c for c in folder.candidates(iteration=iteration, prompt_ids=ids) if c.key in wanted}
        scores = folder.own_scores(iteration=iteration, prompt_ids=ids)
        decisions = first_decided(folder, iteration, "policy", _OF_A_PROMPT * len(ids), only={"prompt_id": sorted(ids)})
        return [
            (
                float(self._away_N[place]),
                {
                    **shown(prompts[key.prompt_id], candidates[key], scores.get(key, {}), decisions[key]),
                    "line": self._line(int(place)),
                },
            )
            for key, place in zip(keys, places, strict=True)
        ]

    def _line(self, place: int) -> Mapping[str, Any] | None:
        if self._line_N[place] < 0:
            return None
        rule = self._lines[self._line_N[place]]
        margins_N = rule.margins(self._stored.pool, self._stored.accepted_N)
        assert margins_N is not None
        return {"rule": rule.name, "margin": float(margins_N[place])}
