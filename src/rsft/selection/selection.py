"""Rules in their order, and what they decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, overload

import numpy as np

from rsft.errors import RecipeError, nearest
from rsft.selection.pool import End, Mask, Pool
from rsft.selection.rule import Rule
from rsft.types import Decision

ACCEPTED = "accepted"
SPECULATIVE = "speculative"
"""Ended because its beginning scored low: no rule of the selection, but a bar that the budget set."""
FINISHED = "finished"
"""The rule before all others: a reply that did not come to its own end is never accepted. One that a rule ended while
it was drawn is that rule's."""

_UNFINISHED = -1


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules that are applied one after the other, each to what the ones before it left."""

    rules: Sequence[Rule]

    def decide(self, pool: Pool) -> Decided:
        """A decision on each candidate, in the pool's order."""
        alive = pool.whole_N
        by_N = np.where(alive, len(self.rules), _UNFINISHED).astype(np.int16)
        for number, rule in enumerate(self.rules):
            kept = rule.keep(pool, alive) & alive
            by_N[alive & ~kept] = number
            alive = kept
        return Decided(pool, self.rules, by_N)

    @property
    def in_parts(self) -> bool:
        """Whether it can decide on some prompts at a time, once it is `surveyed`."""
        return all(rule.in_parts for rule in self.rules)

    def surveyed(self, pools: Callable[[], Iterable[Pool]]) -> Selection:
        """The same rules with what they must know of all candidates: on any pool of whole prompts among these they
        then decide as on all of them at once. `pools` gives all, some prompts at a time, as often as it is asked."""
        known: list[Rule] = []
        # Who is left of each part, a bit a candidate, and the rules since that was noted: none is asked twice.
        left: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        since: list[Rule] = []

        def parts() -> Iterator[tuple[Pool, Mask]]:
            now = []
            for number, pool in enumerate(pools()):
                alive = np.unpackbits(left[number], count=len(pool)).astype(np.bool_) if left else pool.whole_N
                for rule in since:
                    alive = rule.keep(pool, alive) & alive
                now.append(np.packbits(alive))
                yield pool, alive
            left[:] = now
            since.clear()

        for rule in self.rules:
            known.append(rule.surveyed(parts))
            since.append(known[-1])
        return Selection(known)

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

    @property
    def while_drawing(self) -> Selection:
        """The rules whose word on a prompt's first candidates is worth something before all are drawn."""
        return Selection(list(takewhile(lambda rule: not rule.weighs_all, self.rules)))

    def accepts(self, pool: Pool) -> int:
        """How many candidates of the pool are accepted."""
        return int(self.decide(pool).accepted_N.sum())

    def judge(self, pool: Pool) -> Decided:
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


@dataclass(frozen=True)
class Decided(Sequence[Decision]):
    """The decisions on a pool's candidates, in their order: a column until somebody asks for one and its explanation.

    `by_N` holds the number of the rule that rejected a candidate; the number of rules for an accepted one; −1 for what
    is no whole reply.
    """

    pool: Pool
    rules: Sequence[Rule]
    by_N: np.ndarray[Any, np.dtype[np.int16]]

    @cached_property
    def accepted_N(self) -> Mask:
        accepted_N: Mask = self.by_N == len(self.rules)
        return accepted_N

    def alive_N(self, rule: int) -> Mask:
        """Those among whom this rule chose."""
        alive_N: Mask = self.by_N >= rule
        return alive_N

    def reasons(self) -> Mapping[str, int]:
        """How many candidates each rule decided on, those without a whole reply among them."""
        counts: dict[str, int] = {}
        for ended_by, count in Counter(self.pool.details.ended_by(np.flatnonzero(self.by_N == _UNFINISHED))).items():
            name = self._ended(ended_by)
            counts[name] = counts.get(name, 0) + count
        for number, count in enumerate(np.bincount(self.by_N[self.by_N >= 0], minlength=len(self.rules) + 1).tolist()):
            name = ACCEPTED if number == len(self.rules) else self.rules[number].name
            counts[name] = counts.get(name, 0) + count
        return counts

    def __len__(self) -> int:
        return len(self.by_N)

    @overload
    def __getitem__(self, place: int) -> Decision: ...

    @overload
    def __getitem__(self, place: slice) -> list[Decision]: ...

    def __getitem__(self, place: int | slice) -> Decision | list[Decision]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        rule = int(self.by_N[place])
        return self._decision(rule, place, None if rule in (_UNFINISHED, len(self.rules)) else self.alive_N(rule))

    def __iter__(self) -> Iterator[Decision]:
        alive = [self.alive_N(rule) for rule in range(len(self.rules))]
        for place, rule in enumerate(self.by_N.tolist()):
            yield self._decision(rule, place, alive[rule] if 0 <= rule < len(alive) else None)

    def _decision(self, rule: int, place: int, alive: Mask | None) -> Decision:
        if rule == _UNFINISHED:
            return self._unfinished(self.pool.details.end(place))
        if alive is None:
            return Decision(True, ACCEPTED)
        return Decision(False, self.rules[rule].name, self.rules[rule].explain(self.pool, alive, place))

    def _unfinished(self, end: End) -> Decision:
        """The decision on a candidate that is not a whole reply."""
        if end.finish_reason == "ended":
            return Decision(False, self._ended(end.ended_by), f"ended after {end.tokens} tokens: {end.why}")
        said = {"length": "cut by the length limit", "cancelled": "cancelled"}
        return Decision(False, FINISHED, said.get(end.finish_reason, "the candidate failed"))

    def _ended(self, by: str | None) -> str:
        """The name that a rule which ended a candidate has in decisions; FINISHED for one of another selection."""
        known = {SPECULATIVE, *(rule.name for rule in self.rules)}
        return by if by in known else FINISHED
