"""Rules in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from rsft.errors import RecipeError, nearest
from rsft.selection.pool import Pool
from rsft.selection.rule import Rule
from rsft.types import Candidate, Decision

ACCEPTED = "accepted"
SPECULATIVE = "speculative"
"""Ended because its beginning scored low: no rule of the selection, but a bar that the budget set."""
FINISHED = "finished"
"""The rule before all others: a reply that did not come to its own end is never accepted. One that a rule ended while
it was drawn is that rule's."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules that are applied one after the other, each to what the ones before it left."""

    rules: Sequence[Rule]

    def decide(self, pool: Pool) -> list[Decision]:
        """A decision on each candidate, in the pool's order, with the name of the rule that made it."""
        alive = np.array([reason == "stop" for reason in pool.finish_reasons], dtype=np.bool_)
        decisions = [self._unfinished(candidate) for candidate in pool.candidates]
        for rule in self.rules:
            kept = rule.keep(pool, alive) & alive
            for place in np.flatnonzero(alive & ~kept):
                decisions[place] = Decision(False, rule.name, rule.explain_among(pool, alive, int(place)))
            alive = kept
        for place in np.flatnonzero(alive):
            decisions[place] = Decision(True, ACCEPTED)
        return decisions

    def _unfinished(self, candidate: Candidate) -> Decision:
        """The decision on a candidate that is not a whole reply."""
        if candidate.finish_reason == "ended":
            known = {SPECULATIVE, *(rule.name for rule in self.rules)}
            rule = candidate.ended_by if candidate.ended_by in known else FINISHED
            return Decision(False, rule, f"ended after {len(candidate.token_ids)} tokens: {candidate.why}")
        said = {"length": "cut by the length limit", "cancelled": "cancelled"}
        return Decision(False, FINISHED, said.get(candidate.finish_reason, "the candidate failed"))

    def rejecting(self, score: str, value: float) -> str | None:
        """The rule that rejects every candidate with this value of this score, if there is one."""
        return next((rule.name for rule in self.rules if rule.rejects(score, value)), None)

    @property
    def most_of_a_prompt(self) -> int | None:
        """How many candidates of one prompt can be accepted at most, if a rule limits that."""
        return min((rule.most_of_a_prompt for rule in self.rules if rule.most_of_a_prompt), default=None)

    @property
    def ranks(self) -> bool:
        """Whether a rule keeps the best, or weighs all: then more candidates are never in vain."""
        return any(rule.ranks or rule.weighs_all for rule in self.rules)

    @property
    def leading(self) -> Selection:
        """The rules that judge a candidate by itself and come before all others: what they reject, nothing accepts."""
        return Selection(list(takewhile(lambda rule: rule.per_candidate, self.rules)))

    def accepts(self, pool: Pool) -> int:
        """How many candidates of the pool are accepted."""
        return sum(decision.accepted for decision in self.decide(pool))

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
