"""The best of each prompt (best-of-n; RAFT 2304.06767), or just so many of each."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool
from rsft.selection.rule import Rule


class TopK(Rule):
    """Keeps each prompt's k best by a score. Ties are broken by a stable hash; a failed score is never kept."""

    main_option: ClassVar[str | None] = "k"
    ranks: ClassVar[bool] = True

    k: int = Field(ge=1)
    by: str

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N = pool.scores[self.by]
        kept = np.zeros_like(alive)
        for places in pool.families.values():
            known = [place for place in places if alive[place] and not np.isnan(values_N[place])]
            known.sort(key=lambda place: (-values_N[place], pool.lots[place]))
            kept[known[: self.k]] = True
        return kept

    def explain(self, pool: Pool, place: int) -> str:
        value = pool.scores[self.by][place]
        return (
            f"{self.by} = {value:g} is not among the prompt's best {self.k}" if math.isfinite(value) else "score failed"
        )

    @property
    def most_of_a_prompt(self) -> int | None:
        return self.k

    @property
    def scorers_used(self) -> tuple[str, ...]:
        return (self.by,)


class Cap(Rule):
    """Keeps at most k of each prompt, chosen by a stable hash: none is better than another."""

    main_option: ClassVar[str | None] = "k"

    k: int = Field(ge=1)

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kept = np.zeros_like(alive)
        for places in pool.families.values():
            left = sorted((place for place in places if alive[place]), key=lambda place: pool.lots[place])
            kept[self._chosen(pool, left)] = True
        return kept

    def _chosen(self, pool: Pool, left: list[int]) -> list[int]:
        """At most k of the places that a prompt has left, which come in the order of their lots."""
        return left[: self.k]

    def explain(self, pool: Pool, place: int) -> str:
        return f"the prompt has {self.k} already"

    @property
    def most_of_a_prompt(self) -> int | None:
        return self.k
