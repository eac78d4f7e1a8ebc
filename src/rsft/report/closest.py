"""The replies that tell most about the rules: those nearest to a line, on either side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.decided import first_decided
from rsft.parts import StoredParts
from rsft.reading import shown
from rsft.selection import parse_selection
from rsft.selection.pool import Mask, Numbers, Values
from rsft.selection.threshold import Threshold
from rsft.store import RunFolder
from rsft.stored import StoredPool

# Of so many decisions on a prompt's candidates those that are shown are looked for.
_OF_A_PROMPT = 100_000

Shown = list[dict[str, Any]]


def closest_calls(folder: RunFolder, recipe: Recipe, most: int, read: StoredParts | None = None) -> tuple[Shown, Shown]:
    """At most so many accepted and as many rejected replies, of the last iteration as far as it has them, then of those
    before it: nearest to a line first.

    A rejected reply is as far from it as its score is from the threshold that rejected it, an accepted one as from the
    nearest of all thresholds; in spreads (standard deviations) of that score, so that scores compare. Replies on which
    other rules decided come last, by lot. Each is as `reading.shown` has it, with `line`: the rule and the
    `margin` over it (under it: below 0); None where no line is near. `read` is an iteration that was read, if one was.
    """
    accepted: list[tuple[float, dict[str, Any]]] = []
    rejected: list[tuple[float, dict[str, Any]]] = []
    for iteration in reversed(folder.decided_iterations("policy")):
        if len(accepted) == len(rejected) == most:
            break
        near = read if read and read.iteration == iteration else None
        calls = _Calls(folder, recipe, near or StoredParts(folder, iteration, folder.noted_scorers()), most)
        accepted += calls.shown(calls.accepted[: most - len(accepted)])
        rejected += calls.shown(calls.rejected[: most - len(rejected)])
    return _in_order(accepted), _in_order(rejected)


def _in_order(found: list[tuple[float, dict[str, Any]]]) -> Shown:
    return [reply for _, reply in sorted(found, key=lambda one: one[0])]


class _Calls:
    """The decisions of one iteration: how far each candidate is from the line that matters for it, part by part."""

    def __init__(self, folder: RunFolder, recipe: Recipe, stored: StoredParts, most: int) -> None:
        self._folder, self._stored, self._iteration = folder, stored, stored.iteration
        rules = parse_selection(at_iteration(recipe, stored.iteration).selection).rules
        self._lines = [
            rule for rule in rules if isinstance(rule, Threshold) and rule.score in self._stored.fingerprints
        ]
        self._number = {name: number for number, name in enumerate(self._stored.rules)}
        self._spreads = [_Spread() for _ in self._lines]
        for part in self._stored if self._lines else ():
            for rule, spread in zip(self._lines, self._spreads, strict=True):
                spread.add(rule.margins(part.pool, part.accepted_N), part.accepted_N)
        self.accepted: list[_Call] = []
        self.rejected: list[_Call] = []
        for part in self._stored:
            calls = self._measured(part)
            self.accepted = _first([*self.accepted, *_nearest(part, calls, part.accepted_N, most)], most)
            self.rejected = _first([*self.rejected, *_nearest(part, calls, ~part.accepted_N, most)], most)

    def _measured(self, part: StoredPool) -> tuple[Values, Numbers, Values]:
        """(N,) each: how far away the nearest line is in spreads of its score, which it is (-1: none), and the margin
        over it."""
        count = len(part.pool)
        away_N, line_N, over_N = np.full(count, np.inf), np.full(count, -1, dtype=np.int32), np.full(count, np.nan)
        for place, (rule, spread) in enumerate(zip(self._lines, self._spreads, strict=True)):
            margins_N = rule.margins(part.pool, part.accepted_N)
            if margins_N is None or not spread.known:
                continue
            near_N = np.where(np.isnan(margins_N), np.inf, np.abs(margins_N) / spread.spread)
            counted_N = part.rule_N == self._number.get(rule.name, -2)
            if spread.some_are_closer:
                counted_N = counted_N | part.accepted_N
            nearer_N = counted_N & (near_N < away_N)
            away_N[nearer_N], line_N[nearer_N], over_N[nearer_N] = near_N[nearer_N], place, margins_N[nearer_N]
        return away_N, line_N, over_N

    def shown(self, calls: Sequence[_Call]) -> list[tuple[float, dict[str, Any]]]:
        """How far away the replies there are, and all that is known of them; read for their prompts only."""
        keys = self._stored.keys_of(np.array([call.place for call in calls], dtype=np.intp))
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
                call.away,
                {
                    **shown(prompts[key.prompt_id], candidates[key], scores.get(key, {}), decisions[key]),
                    "line": {"rule": self._lines[call.line].name, "margin": call.margin} if call.line >= 0 else None,
                },
            )
            for key, call in zip(keys, calls, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Call:
    """A candidate: how far away its line is, its lot and place, which line it is (-1: none), and the margin over it."""

    away: float
    lot: int
    place: int
    line: int
    margin: float


def _nearest(part: StoredPool, calls: tuple[Values, Numbers, Values], among_N: Mask, most: int) -> list[_Call]:
    """The first of some candidates of a part."""
    away_N, line_N, over_N = calls
    places = np.flatnonzero(among_N)
    lots_N = part.pool.lots_N
    places = places[np.lexsort((lots_N[places], away_N[places]))[:most]]
    columns = (away_N[places], lots_N[places], places + part.start, line_N[places], over_N[places])
    return [_Call(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _first(calls: Sequence[_Call], most: int) -> list[_Call]:
    """Nearest to a line first, then by lot."""
    return sorted(calls, key=lambda call: (call.away, call.lot))[:most]


class _Spread:
    """The standard deviation of a score's margins, which come some at a time (Chan, Golub and LeVeque 1979); and
    whether some accepted ones are closer to the line than others."""

    def __init__(self) -> None:
        self.known, self._mean, self._squares = 0, 0.0, 0.0
        self._least, self._most = np.inf, 0.0

    def add(self, margins_N: Values | None, accepted_N: Mask) -> None:
        if margins_N is None:
            return
        known = margins_N[~np.isnan(margins_N)]
        if len(known):
            mean, both = float(known.mean()), self.known + len(known)
            self._squares += float(((known - mean) ** 2).sum())
            self._squares += (mean - self._mean) ** 2 * self.known * len(known) / both
            self._mean += (mean - self._mean) * len(known) / both
            self.known = both
        over = np.nan_to_num(np.abs(margins_N[accepted_N]), nan=np.inf)
        self._least, self._most = min(self._least, over.min(initial=np.inf)), max(self._most, over.max(initial=0.0))

    @property
    def spread(self) -> float:
        return math.sqrt(self._squares / max(1, self.known)) or 1.0

    @property
    def some_are_closer(self) -> bool:
        return self._least < self._most
