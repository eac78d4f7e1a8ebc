"""Budgets: how many candidates each prompt gets, decided anew as they fare. Pure functions of what was observed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from rsft.budget.allocation import WEIGHTS, shares
from rsft.budget.belief import Belief, beliefs
from rsft.budget.tally import OPENING, Tally
from rsft.budget.worth import Aim, Kind, worth_going

Tallies = Mapping[str, Tally]
# Candidates of every prompt before anything is concluded from them.
_FIRST_LOOK = OPENING
# Kinds of prompts are told apart by steps of the mean's log odds and of the cost.
_ODDS_STEP, _COST_STEP = 0.25, 0.1
# So many candidates' worth of the mean cost are believed of a prompt's cost.
_USUAL_COST = 4


@dataclass(frozen=True, slots=True)
class Round:
    """How far prompts may go until their budget looks at all of them again: up to `limits` candidates in all, those of
    earlier rounds included, or until one has `ended`. A prompt without a limit draws none."""

    limits: Mapping[str, int]
    ended: Callable[[str, Tally], bool]


class Budget(Protocol):
    """Decides by tallies alone, so that it decides the same whenever it is asked again."""

    @property
    def stop_at(self) -> int | None:
        """How many accepted replies are enough of a prompt for good."""
        ...

    def most(self, prompt_id: str) -> int:
        """How many candidates of a prompt it may grant in all."""
        ...

    def next_round(self, tallies: Tallies) -> Round | None:
        """What comes after the prompts fared so; None if they have had enough."""
        ...


@dataclass(frozen=True)
class OneRound:
    """A round that another budget has granted, to some of the prompts that are in it."""

    granted: Round
    stop_at: int | None

    def most(self, prompt_id: str) -> int:
        return self.granted.limits.get(prompt_id, 0)

    def next_round(self, tallies: Tallies) -> Round | None:
        limits = {
            prompt_id: limit
            for prompt_id, tally in tallies.items()
            if tally.candidates < (limit := self.most(prompt_id)) and not self.granted.ended(prompt_id, tally)
        }
        return replace(self.granted, limits=limits) if limits else None


@dataclass(frozen=True)
class Even:
    """Up to so many candidates of each prompt (`counts`, by prompt id).

    A prompt ends at `stop_at` accepted ones. After `defer_after` rejections in a row it makes way, and comes back when
    the others have had their turn, for as many again.
    """

    counts: Mapping[str, int]
    stop_at: int | None = None
    defer_after: int | None = None

    def most(self, prompt_id: str) -> int:
        return self.counts.get(prompt_id, 0)

    def next_round(self, tallies: Tallies) -> Round | None:
        limits = {
            prompt_id: count
            for prompt_id, count in self.counts.items()
            if tallies[prompt_id].candidates < count and tallies[prompt_id].accepted != self.stop_at
        }
        return Round(limits, lambda prompt_id, tally: self._ended(tallies[prompt_id], tally)) if limits else None

    def _ended(self, before: Tally, tally: Tally) -> bool:
        if self.stop_at is not None and tally.accepted >= self.stop_at:
            return True
        if self.defer_after is None:
            return False
        return min(tally.run, tally.candidates - before.candidates) >= self.defer_after


@dataclass(frozen=True)
class Worth:
    """Candidates where they are worth their tokens: see `worth_going`.

    Every prompt has a first look. By how all of them fared, and by the prompts' `features` (P, F), rates are believed;
    from there on each prompt goes on for as long as that is worth it by what was believed and by how it fares itself.
    """

    prompt_ids: tuple[str, ...]
    features: Any
    aim: Aim

    @property
    def stop_at(self) -> int:
        return self.aim.stop_at

    def most(self, prompt_id: str) -> int:
        return self.aim.most if prompt_id in self._ids else 0

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self.prompt_ids)

    def next_round(self, tallies: Tallies) -> Round | None:
        aim = self.aim
        look = aim.looks[0]
        new = [p for p in self.prompt_ids if tallies[p].candidates < look and tallies[p].accepted < aim.stop_at]
        if new:
            return Round(dict.fromkeys(new, look), lambda _, tally: tally.accepted >= aim.stop_at)
        go = self._going({p: tallies[p].first(look) for p in self.prompt_ids})
        limits = {p: aim.most for p in self.prompt_ids if go(p, tallies[p])}
        return Round(limits, lambda prompt_id, tally: not go(prompt_id, tally)) if limits else None

    def _going(self, tallies: Tallies) -> Callable[[str, Tally], bool]:
        """Whether one more candidate is worth it, for a prompt that fared so."""
        believed = beliefs([tallies[p] for p in self.prompt_ids], self.features)
        kinds = [
            _rounded(belief, cost) for belief, cost in zip(believed, _costs(self.prompt_ids, tallies), strict=True)
        ]
        order = list(Counter(kinds).items())
        go_HNA = worth_going([Kind(belief, cost, count) for (belief, cost), count in order], self.aim)
        place = {kind: number for number, (kind, _) in enumerate(order)}
        table = {p: go_HNA[place[kind]] for p, kind in zip(self.prompt_ids, kinds, strict=True)}

        def go(prompt_id: str, tally: Tally) -> bool:
            return bool(table[prompt_id][tally.candidates, min(tally.accepted, self.aim.stop_at)])

        return go


@dataclass(frozen=True)
class Allocated:
    """A total of candidates, shared out by estimated acceptance rates (`WEIGHTS`), at most `most_each` for each prompt.

    Every prompt has a first look; then half of what is left is shared out at a time, by the estimates as they are
    then, and the last of it at once.
    """

    prompt_ids: tuple[str, ...]
    features: Any
    rule: str
    total: int
    most_each: int
    stop_at: int | None = None

    def most(self, prompt_id: str) -> int:
        return self.most_each if prompt_id in self._ids else 0

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self.prompt_ids)

    def next_round(self, tallies: Tallies) -> Round | None:
        look = min(_FIRST_LOOK, self.most_each)
        limits = {p: look for p in self.prompt_ids if tallies[p].candidates < look and not self._has_enough(tallies[p])}
        if not limits:
            limits = self._shared_out(tallies)
        return Round(limits, lambda _, tally: self._has_enough(tally)) if limits else None

    def _shared_out(self, tallies: Tallies) -> dict[str, int]:
        open_ones = [
            p for p in self.prompt_ids if tallies[p].candidates < self.most_each and not self._has_enough(tallies[p])
        ]
        left = self.total - sum(tally.candidates for tally in tallies.values())
        if not open_ones or left <= 0:
            return {}
        now = left if left <= 2 * len(open_ones) else left // 2
        believed = beliefs([tallies[p] for p in self.prompt_ids], self.features)
        belief_of = dict(zip(self.prompt_ids, believed, strict=True))
        rates_P = np.array([belief_of[p].after(tallies[p]) for p in open_ones])
        had = [tallies[p].candidates for p in open_ones]
        ideal = shares(sum(had) + now, WEIGHTS[self.rule](rates_P), [self.most_each] * len(open_ones))
        wanted = [max(0, share - count) for share, count in zip(ideal, had, strict=True)]
        room = [self.most_each - count for count in had]
        if not any(wanted):  # who is short of its share has all that it may have
            wanted = room
        more = shares(now, wanted, room)
        return {p: count + extra for p, count, extra in zip(open_ones, had, more, strict=True) if extra}

    def _has_enough(self, tally: Tally) -> bool:
        return self.stop_at is not None and tally.accepted >= self.stop_at


@dataclass(frozen=True)
class Capped:
    """Another budget, with no more than so many candidates or tokens in all.

    Tokens are counted as if every candidate took `tokens_each`, until it is known what it took: the cap holds. Where
    not everybody can have a turn, prompts with fewer candidates come first, then those with the higher rates, then by
    their place in `order`. With `spend`, what the other budget leaves goes to prompts that have no accepted reply yet,
    up to so many candidates of each.
    """

    inner: Budget
    candidates: int | None
    tokens: int | None
    tokens_each: int
    order: Mapping[str, int]
    spend: int | None = None

    @property
    def stop_at(self) -> int | None:
        return self.inner.stop_at

    def most(self, prompt_id: str) -> int:
        return max(self.inner.most(prompt_id), (self.spend or 0) if prompt_id in self.order else 0)

    def next_round(self, tallies: Tallies) -> Round | None:
        left = self._left(tallies)
        if left <= 0:
            return None
        proposed = self.inner.next_round(tallies) or self._for_unsolved(tallies)
        if proposed is None:
            return None
        wished = {p: limit - tallies[p].candidates for p, limit in proposed.limits.items()}
        in_turn = sorted(wished, key=lambda p: (tallies[p].candidates, -tallies[p].rate(), self.order[p]))
        granted = shares(left, [1.0] * len(wished), [wished[p] for p in in_turn])
        limits = {p: tallies[p].candidates + more for p, more in zip(in_turn, granted, strict=True) if more}
        return Round(limits, proposed.ended)

    def _for_unsolved(self, tallies: Tallies) -> Round | None:
        if self.spend is None:
            return None
        unsolved = [p for p in self.order if tallies[p].accepted == 0 and tallies[p].candidates < self.spend]
        return Round(dict.fromkeys(unsolved, self.spend), lambda _, tally: tally.accepted > 0) if unsolved else None

    def _left(self, tallies: Tallies) -> int:
        """Candidates that can be had whatever they take."""
        left = []
        if self.candidates is not None:
            left.append(self.candidates - sum(tally.candidates for tally in tallies.values()))
        if self.tokens is not None:
            left.append((self.tokens - sum(tally.tokens for tally in tallies.values())) // self.tokens_each)
        return min(left)


def looks(even: int, most: int) -> tuple[int, ...]:
    """When to decide whether a prompt goes on: after 2, 3, 4, 6, 8, 12, ... candidates, at the even number, not far
    beyond it if that is large (few prompts go further), and at most so many."""
    found, double = {even, most}, _FIRST_LOOK
    while double < most:
        found |= {double, double * 3 // 2}
        double *= 2
    if even >= 16:
        found |= {even * 17 // 16, even * 9 // 8, even * 5 // 4}
    return tuple(sorted(look for look in found if look <= most))


def _costs(prompt_ids: tuple[str, ...], tallies: Tallies) -> list[float]:
    """What a candidate of each prompt costs, in means of all."""
    tokens = sum(tallies[p].tokens for p in prompt_ids)
    mean = tokens / max(1, sum(tallies[p].candidates for p in prompt_ids))
    if not mean:
        return [1.0] * len(prompt_ids)
    return [(tallies[p].tokens / mean + _USUAL_COST) / (tallies[p].candidates + _USUAL_COST) for p in prompt_ids]


def _rounded(belief: Belief, cost: float) -> tuple[Belief, float]:
    """The kind that stands for it."""
    odds = np.round(np.log(belief.mean / (1 - belief.mean)) / _ODDS_STEP) * _ODDS_STEP
    mean = float(1 / (1 + np.exp(-odds)))
    return Belief(mean, belief.strength), max(_COST_STEP, round(cost / _COST_STEP) * _COST_STEP)
