"""Accepted replies in set shares: of prompts of every difficulty, of replies of every length."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from rsft.selection.pool import Mask, Numbers, Places, Pool, Values
from rsft.selection.rule import Rule
from rsft.text import word_count


class Balance(Rule):
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

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kinds_N = self._kinds(pool, alive)
        shares = np.array(self.shares or (1.0,) * self.bins)
        return pool.first(alive, _largest(np.bincount(kinds_N[alive], minlength=self.bins), shares), among=kinds_N)

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


class LengthMatched(Rule):
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

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N: Values | None = None
        if self.by is not None:
            values_N = pool.scores[self.by]
            alive = alive & ~np.isnan(values_N)
        parts_N = self._parts(pool)
        all_of, left_of = (np.bincount(parts_N[some], minlength=self.bins) for some in (pool.whole_N, alive))
        return pool.first(alive, _largest(left_of, all_of), values_N, among=parts_N)

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        if self.by is not None and np.isnan(pool.scores[self.by][place]):
            return "score failed"
        return f"there are enough of about {word_count(pool.texts[place])} words"

    def _parts(self, pool: Pool) -> Numbers:
        words_N = np.array([word_count(text) for text in pool.texts], dtype=np.float64)
        if not pool.whole_N.any():
            return np.zeros(len(pool), dtype=np.int32)
        lines = np.quantile(words_N[pool.whole_N], np.arange(1, self.bins) / self.bins, method="inverted_cdf")
        return np.searchsorted(np.unique(lines), words_N, side="left").astype(np.int32)

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
