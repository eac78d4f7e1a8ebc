"""The best share of the candidates."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from rsft.selection.cut import Cut, Parts, Ranked, cut
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

    _cut: Cut | None = PrivateAttr(None)

    @property
    def in_parts(self) -> bool:
        return True

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N, known_N = self.known(pool, alive)
        if self.per == "prompt":
            return pool.first(known_N, _part(self._share(pool), pool.counts(known_N)), values_N)
        kept_N = known_N.copy()
        kept_N[known_N] = self._cut_of(pool, alive).within(_ranked(pool, values_N, known_N))
        return kept_N

    def margins(self, pool: Pool, alive: Mask) -> Values | None:
        if self.per == "prompt" or not (line := self._cut_of(pool, alive)).kept_G[0]:
            return None
        over_N: Values = pool.scores[self.by] - line.value_G[0]
        return over_N

    def surveyed(self, parts: Parts) -> Quantile:
        if self.per == "prompt":
            return self
        bound = self.model_copy()
        counts = [(self._share(pool), int(self.known(pool, alive)[1].sum())) for pool, alive in parts()]
        most = _part(counts[0][0], sum(count for _, count in counts)) if counts else 0
        bound._cut = cut(
            lambda: (_ranked(pool, *self.known(pool, alive)) for pool, alive in parts()),
            np.array([most], dtype=np.intp),
        )
        return bound

    def _cut_of(self, pool: Pool, alive: Mask) -> Cut:
        """Where the best share of all ends: of this pool, if nobody has surveyed all."""
        found = self._cut or self.surveyed(lambda: [(pool, alive)])._cut
        assert found is not None
        return found

    def _share(self, pool: Pool) -> float:
        shares = self.share if isinstance(self.share, tuple) else (self.share,)
        return shares[min(pool.iteration, len(shares)) - 1]

    def _why(self, pool: Pool) -> str:
        whose = "all" if self.per == "all" else "the prompt's"
        return f" is not among the best {self._share(pool):.3g} of {whose}"


def _part(share: float, count: Any) -> Any:
    """So large a share of a count, rounded up: 0.3 of 10 is 3, whatever a product of floats says."""
    return np.ceil(np.round(share * count, 9)).astype(np.intp)


def _ranked(pool: Pool, values_N: Values, known_N: Mask) -> Ranked:
    """Those that are known, all in one group."""
    values = values_N[known_N]
    return values, pool.lots_N[known_N], np.zeros(len(values), dtype=np.int32)
