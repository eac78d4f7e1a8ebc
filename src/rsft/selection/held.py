"""A pool on which rules are decided again and again, as where a line is moved: orders are sorted once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from rsft.selection.pool import Mask, Numbers, Places, Pool, Values


@dataclass(frozen=True)
class HeldPool(Pool):
    """The same pool, on which the same rules keep the same candidates. It holds four bytes a candidate more for each
    score by which rules rank, and four for the order of lots."""

    _orders: dict[str, Numbers] = field(default_factory=dict)

    @classmethod
    def of_pool(cls, pool: Pool) -> HeldPool:
        return cls(**{one.name: getattr(pool, one.name) for one in fields(Pool)})

    def _in_order(self, alive: Mask, by: Values | None = None) -> Places:
        name = "" if by is None else next((name for name, values_N in self.scores.items() if values_N is by), None)
        if name is None:
            return super()._in_order(alive, by)
        if name not in self._orders:
            everyone: Mask = np.ones(len(self), dtype=np.bool_)
            self._orders[name] = super()._in_order(everyone, by).astype(np.int32)
        order = self._orders[name]
        # Sorting is stable, and so are parts of what is sorted.
        in_order: Places = order[alive[order]].astype(np.intp)
        return in_order
