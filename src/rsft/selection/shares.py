"""Accepted replies in set shares: of prompts of every difficulty, of replies of every length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from rsft.selection.cut import Cut, Parts, Ranked, cut
from rsft.selection.pool import Mask, Numbers, Places, Pool, Values
from rsft.selection.rule import Rule
from rsft.text import word_count


class Shared(Rule):
    """A rule that keeps the first so many of each of some groups, to which candidates of any prompt belong."""

    _cut: Cut | None = PrivateAttr(None)

    @property
    def in_parts(self) -> bool:
        return True

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        if self._cut is None:
            bound = self.surveyed(lambda: [(pool, alive)])
            assert isinstance(bound, Shared)
            return bound.keep(pool, alive)
        counted_N, ranked = self.ranked(pool, alive)
        kept_N = np.zeros_like(alive)
        kept_N[counted_N] = self._cut.within(ranked)
        return kept_N

    def ranked(self, pool: Pool, alive: Mask) -> tuple[Mask, Ranked]:
        """Those that count (N,), and these in their groups."""
        raise NotImplementedError

    def found(self, parts: Parts, most_G: Places) -> Cut:
        """Where the first so many of each group end."""
        return cut(lambda: (self.ranked(pool, alive)[1] for pool, alive in parts()), most_G)


class Balance(Shared):
    """Keeps as many candidates of hard prompts as of easy ones, or `shares` of each kind, and as many as that allows.

    A prompt's difficulty is the share of its whole replies that the rules before have left: `bins` kinds of equal
    width, from the hardest to the easiest. Kinds without any don't count. Which ones stay is up to a stable hash.
    """

    example: ClassVar[Any] = {"balance": 4}
    main_option: ClassVar[str | None] = "bins"
    weighs_all: ClassVar[bool] = True

    bins: int = Field(4, ge=2, le=100, description="Kinds of difficulty.")
    shares: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2)] | None = Field(
        None, description="Of each kind, from the hardest on; the same of all by default."
    )

    @model_validator(mode="after")
    def _one_share_each(self) -> Balance:
        if self.shares is not None and len(self.shares) != self.bins:
            raise ValueError(f"expected {self.bins} shares, one of each kind, found {len(self.shares)}")
        return self

    def surveyed(self, parts: Parts) -> Balance:
        there_G = np.zeros(self.bins, dtype=np.intp)
        for pool, alive in parts():
            there_G += np.bincount(self._kinds(pool, alive)[alive], minlength=self.bins)
        bound = self.model_copy()
        bound._cut = self.found(parts, _largest(there_G, np.array(self.shares or (1.0,) * self.bins)))
        return bound

    def ranked(self, pool: Pool, alive: Mask) -> tuple[Mask, Ranked]:
        return alive, (None, pool.lots_N[alive], self._kinds(pool, alive)[alive])

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        family = pool.siblings(place)
        kind = max(0, math.ceil(alive[family].sum() / max(1, pool.whole_N[family].sum()) * self.bins) - 1)
        low, high = 100 * kind / self.bins, 100 * (kind + 1) / self.bins
        return f"there are enough of prompts of which {low:.3g} to {high:.3g}% of the replies were left"

    def _kinds(self, pool: Pool, alive: Mask) -> Numbers:
        """(N,): the kind of each candidate's prompt, from 0, the hardest."""
        left = pool.counts(alive) / np.maximum(1, pool.counts(pool.whole_N))
        kinds: Numbers = np.clip(np.ceil(left * self.bins) - 1, 0, None).astype(np.int32)
        return kinds[pool.prompt_N]


class LengthMatched(Shared):
    """Keeps candidates that are, together, as long as all whole replies were: no taste for length is learnt.

    Lengths, in words, are cut into `bins` parts with as many of the whole replies each, as far as equal lengths allow;
    what stays has the same share of each. Within a part the best by the score `by` stay, or those that a stable hash
    chooses.
    """

    example: ClassVar[Any] = {"length_matched": {"bins": 5, "by": "relevant"}}
    main_option: ClassVar[str | None] = "bins"
    weighs_all: ClassVar[bool] = True

    bins: int = Field(5, ge=2, le=100, description="Parts that lengths are cut into.")
    by: str | None = Field(None, description="The score whose best stay within a part; a stable hash by default.")

    _lines: Values | None = PrivateAttr(None)

    def surveyed(self, parts: Parts) -> LengthMatched:
        bound = self.model_copy()
        bound._lines = _lines((pool.words_N[pool.whole_N] for pool, _ in parts()), self.bins)
        all_of, left_of = np.zeros((2, self.bins), dtype=np.intp)
        for pool, alive in parts():
            part_N = bound._part_of(pool)
            all_of += np.bincount(part_N[pool.whole_N], minlength=self.bins)
            left_of += np.bincount(part_N[self._known(pool, alive)], minlength=self.bins)
        bound._cut = bound.found(parts, _largest(left_of, all_of))
        return bound

    def ranked(self, pool: Pool, alive: Mask) -> tuple[Mask, Ranked]:
        known_N = self._known(pool, alive)
        values = None if self.by is None else pool.scores[self.by][known_N]
        return known_N, (values, pool.lots_N[known_N], self._part_of(pool)[known_N])

    def _known(self, pool: Pool, alive: Mask) -> Mask:
        return alive if self.by is None else alive & ~np.isnan(pool.scores[self.by])

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        if self.by is not None and np.isnan(pool.scores[self.by][place]):
            return "score failed"
        return f"there are enough of about {word_count(pool.texts[place])} words"

    def _part_of(self, pool: Pool) -> Numbers:
        """(N,): the part that each candidate's length is in."""
        assert self._lines is not None
        return np.searchsorted(self._lines, pool.words_N, side="left").astype(np.int32)

    @property
    def scorers_used(self) -> tuple[str, ...]:
        return () if self.by is None else (self.by,)


def _largest(there: Places, shares: np.ndarray[Any, Any]) -> Places:
    """(B,): the most that can be kept of each part in these shares, where so many are there. Parts of which nothing is
    there, or nothing is wanted, don't bind the others."""
    wanted = np.where(there > 0, shares, 0).astype(np.float64)
    if not wanted.any():
        return np.zeros(len(there), dtype=np.intp)
    scale = (there[wanted > 0] / wanted[wanted > 0]).min()
    most: Places = np.floor(np.round(scale * wanted, 9)).astype(np.intp)
    return most


def _lines(parts: Iterator[Numbers], bins: int) -> Values:
    """The lengths at which parts of some lengths end, as many in each as equal ones allow: each is the least that so
    large a share of all is no longer than."""
    counts = np.zeros(0, dtype=np.intp)
    for words in parts:
        more = np.bincount(words, minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    if not counts.any():
        return np.zeros(0)
    ranks = np.ceil(counts.sum() * (np.arange(1, bins) / bins) - 1)
    return np.unique(np.searchsorted(np.cumsum(counts), ranks, side="right")).astype(np.float64)
