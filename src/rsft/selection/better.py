"""Better than what is there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool, Values
from rsft.selection.top_k import ByScore


class BetterThan(ByScore):
    """Keeps what scores at least `at_least` more than the prompt's baseline.

    That is the policy's greedy reply, what the model does now, or the reference; the recipe's `baselines` must name it.
    Nothing is kept of a prompt whose baseline is missing, or has no such score.
    """

    example: ClassVar[Any] = {"better_than": {"baseline": "greedy", "by": "relevant", "at_least": 0.1}}
    beside: ClassVar[Mapping[str, Any]] = {"baselines": ["greedy"]}
    main_option: ClassVar[str | None] = "baseline"
    weighs_all: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True

    baseline: str = Field(description="greedy or reference: one of the recipe's baselines.")
    at_least: float = Field(0.0, description="How much better it must be.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N, known_N = self.known(pool, alive)
        with np.errstate(invalid="ignore"):
            kept_N: Mask = known_N & (values_N - self._lines(pool) >= self.at_least)
        return kept_N

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        lines = pool.baselines.get(self.baseline, {}).get(self.by)
        line = np.nan if lines is None else lines[pool.prompt_N[place]]
        if np.isnan(line):
            return f"the prompt's {self.baseline} reply has no score {self.by}"
        return f"{super().explain(pool, alive, place)}, and the {self.baseline} reply's is {line:g}"

    def margins(self, pool: Pool, alive: Mask) -> Values | None:
        over_N: Values = pool.scores[self.by] - self._lines(pool) - self.at_least
        return over_N

    def _lines(self, pool: Pool) -> Values:
        """(N,): the baseline's score beside each candidate."""
        lines = pool.baselines.get(self.baseline, {}).get(self.by)
        return np.full(len(pool), np.nan) if lines is None else lines[pool.prompt_N]
