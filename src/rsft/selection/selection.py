"""Rules in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsft.errors import RecipeError, nearest
from rsft.selection.pool import Pool
from rsft.selection.rule import Rule
from rsft.types import Decision

ACCEPTED = "accepted"
FINISHED = "finished"
"""The rule before all others: a reply that did not come to its own end is never accepted."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules that are applied one after the other, each to what the ones before it left."""

    rules: Sequence[Rule]

    def decide(self, pool: Pool) -> list[Decision]:
        """A decision on each candidate, in the pool's order, with the name of the rule that made it."""
        alive = np.array([reason == "stop" for reason in pool.finish_reasons], dtype=np.bool_)
        decisions = [Decision(False, FINISHED, _unfinished(reason)) for reason in pool.finish_reasons]
        for rule in self.rules:
            kept = rule.keep(pool, alive) & alive
            for place in np.flatnonzero(alive & ~kept):
                decisions[place] = Decision(False, rule.name, rule.explain(pool, int(place)))
            alive = kept
        for place in np.flatnonzero(alive):
            decisions[place] = Decision(True, ACCEPTED)
        return decisions

    def judge(self, pool: Pool) -> list[Decision]:
        """Decisions by those rules alone that judge a candidate by itself: what counts on held-out prompts."""
        return Selection([rule for rule in self.rules if rule.per_candidate]).decide(pool)

    def check(self, scorers: Sequence[str]) -> None:
        """Raise RecipeError where a rule reads a score that no scorer gives."""
        for rule in self.rules:
            for name in rule.scorers_used:
                if name not in scorers:
                    raise RecipeError(
                        f"The rule '{rule.name}' reads the score '{name}', which no scorer gives."
                        f"{nearest(name, scorers)} The scorers are {', '.join(scorers)}."
                    )


def _unfinished(reason: str) -> str:
    said = {"length": "cut by the length limit", "ended": "ended by a rule", "cancelled": "cancelled"}
    return said.get(reason, "the candidate failed")
