"""Accept what scores high enough (rejection sampling fine-tuning 2308.01825, ReST 2308.08998)."""

from __future__ import annotations

import operator
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool, Values
from rsft.selection.rule import Rule

Comparison = Literal[">=", ">", "<=", "<", "=="]
COMPARISONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq}


class Threshold(Rule):
    """Keeps candidates whose score compares as asked. A failed score never does."""

    example: ClassVar[Any] = "relevant >= 0.5"
    per_candidate: ClassVar[bool] = True

    score: str = Field(description="The scorer's name in the recipe.")
    comparison: Comparison = Field(">=", description="How the score is compared.")
    value: float = Field(description="What it is compared with.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N = pool.scores[self.score]
        with np.errstate(invalid="ignore"):
            passes_N: Mask = COMPARISONS[self.comparison](values_N, self.value)
        kept: Mask = alive & passes_N & ~np.isnan(values_N)
        return kept

    def margins(self, pool: Pool, alive: Mask) -> Values | None:
        if self.comparison == "==":
            return None
        over_N: Values = pool.scores[self.score] - self.value
        return over_N if self.comparison in (">=", ">") else -over_N

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        said = pool.details.score(self.score, place)
        if said.value is None:
            return f"score failed: {said.failure}"
        return f"{self.score} = {said.value:g}" + (f": {said.explanation}" if said.explanation else "")

    def rejects(self, score: str, value: float) -> bool:
        return score == self.score and not COMPARISONS[self.comparison](value, self.value)

    @property
    def scorers_used(self) -> tuple[str, ...]:
        return (self.score,)
