"""The best share of the candidates."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool, Values
from rsft.selection.top_k import ByScore

Share = Annotated[float, Field(gt=0, le=1)]


class Quantile(ByScore):
    """Keeps the best share by a score: of all that are left, or of each prompt's (`per: prompt`), rounded up.

    Several shares are of one iteration each, the last of all that follow: with [0.5, 0.25, 0.1] the line rises. Ties
    are broken by a stable hash; candidates whose score failed don't count.
    """

    example: ClassVar[Any] = {"quantile": {"share": [0.5, 0.25], "by": "relevant"}}
    main_option: ClassVar[str | None] = "share"
    weighs_all: ClassVar[bool] = True

    share: Share | Annotated[tuple[Share, ...], Field(min_length=1)] = Field(
        description="The share that is kept; of several, one for each iteration, of which the last holds on."
    )
    per: Literal["all", "prompt"] = Field("all", description="Of all together, or of each prompt's.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N, known_N = self.known(pool, alive)
        if self.per == "prompt":
            return pool.first(known_N, _part(self._share(pool), pool.counts(known_N)), values_N)
        return _best(pool, known_N, values_N, int(_part(self._share(pool), known_N.sum())))

    def margins(self, pool: Pool, alive: Mask) -> Values | None:
        if self.per == "prompt" or not (kept_N := self.keep(pool, alive)).any():
            return None
        values_N = pool.scores[self.by]
        line: Values = values_N - values_N[kept_N].min()
        return line

    def _share(self, pool: Pool) -> float:
        shares = self.share if isinstance(self.share, tuple) else (self.share,)
        return shares[min(pool.iteration, len(shares)) - 1]

    def _why(self, pool: Pool) -> str:
        whose = "all" if self.per == "all" else "the prompt's"
        return f" is not among the best {self._share(pool):.3g} of {whose}"


def _part(share: float, count: Any) -> Any:
    """So large a share of a count, rounded up: 0.3 of 10 is 3, whatever a product of floats says."""
    return np.ceil(np.round(share * count, 9)).astype(np.intp)


def _best(pool: Pool, alive: Mask, values_N: Values, count: int) -> Mask:
    """So many of all, by value and then by lot. Takes linear time."""
    if count == 0:
        return np.zeros(len(pool), dtype=np.bool_)
    values = values_N[alive]
    line = np.partition(values, len(values) - count)[len(values) - count]
    best_N: Mask = alive & (values_N > line)
    ties = np.flatnonzero(alive & (values_N == line))
    best_N[ties[np.argsort(pool.lots_N[ties])][: count - int(best_N.sum())]] = True
    return best_N
