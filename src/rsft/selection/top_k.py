"""The best of each prompt (best-of-n; RAFT 2304.06767), or just so many of each."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool, Values
from rsft.selection.rule import Rule


class ByScore(Rule):
    """A rule that goes by one score. A failed score is never kept."""

    by: str = Field(description="The scorer's name in the recipe.")

    def known(self, pool: Pool, alive: Mask) -> tuple[Values, Mask]:
        """The score (N,), and those of `alive` that have one."""
        values_N = pool.scores[self.by]
        return values_N, alive & ~np.isnan(values_N)

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        said = pool.details.score(self.by, place)
        return f"score failed: {said.failure}" if said.value is None else f"{self.by} = {said.value:g}{self._why(pool)}"

    def _why(self, pool: Pool) -> str:
        """What is said behind the score of a candidate that did not stay."""
        return ""

    @property
    def scorers_used(self) -> tuple[str, ...]:
        return (self.by,)


class TopK(ByScore):
    """Keeps each prompt's k best by a score. Ties are broken by a stable hash."""

    example: ClassVar[Any] = {"top_k": {"k": 3, "by": "relevant"}}
    main_option: ClassVar[str | None] = "k"
    ranks: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True

    k: int = Field(ge=1, description="At most so many of each prompt.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N, known_N = self.known(pool, alive)
        return pool.first(known_N, self.k, values_N)

    def _why(self, pool: Pool) -> str:
        return f" is not among the prompt's best {self.k}"

    @property
    def most_of_a_prompt(self) -> int | None:
        return self.k


class BestOfN(ByScore):
    """Keeps the best by a score among each prompt's first n candidates.

    It is what best-of-n sampling would say, whatever else was drawn. Ties are broken by a stable hash.
    """

    example: ClassVar[Any] = {"best_of_n": {"n": 4, "by": "relevant"}}
    main_option: ClassVar[str | None] = "n"
    ranks: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True

    n: int = Field(ge=1, description="So many of each prompt's candidates, the first.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N, known_N = self.known(pool, alive)
        return pool.first(known_N & (pool.sample_N < self.n), 1, values_N)

    def _why(self, pool: Pool) -> str:
        return f" is not the best of the prompt's first {self.n}"

    @property
    def most_of_a_prompt(self) -> int | None:
        return 1


class Cap(Rule):
    """Keeps at most k of each prompt, chosen by a stable hash: none is better than another."""

    example: ClassVar[Any] = {"cap": 3}
    main_option: ClassVar[str | None] = "k"
    by_prompt: ClassVar[bool] = True

    k: int = Field(ge=1, description="At most so many of each prompt.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        return pool.first(alive, self.k)

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        return f"the prompt has {self.k} already"

    @property
    def most_of_a_prompt(self) -> int | None:
        return self.k
