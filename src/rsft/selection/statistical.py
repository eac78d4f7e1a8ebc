"""Statistical rejection sampling (RSO, 2309.06657)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from rsft.selection.cut import Parts
from rsft.selection.pool import Mask, Pool, Values, mixed, stable_hash
from rsft.selection.top_k import ByScore


class StatisticalRejection(ByScore):
    """Keeps a candidate with the probability exp((r − r_max) / β), where r is its score and β the `temperature`.

    What is kept then has the law p(y) · exp(r(y) / β) / Z: the policy that gains most score for its KL divergence from
    the one that drew. r_max is the greatest score of the prompt's candidates that are left, or of all (`per: all`). As
    it is the greatest that was seen, and not the greatest there is, low scores are kept too often where candidates are
    few. A small β keeps the best alone, a large one keeps all.

    The odds hang on the candidate and on `seed`, never on the order.
    """

    example: ClassVar[Any] = {"statistical_rejection": {"temperature": 0.1, "by": "relevant"}}
    main_option: ClassVar[str | None] = "temperature"
    weighs_all: ClassVar[bool] = True

    temperature: float = Field(gt=0, description="β, in the score's units: small keeps the best alone.")
    per: Literal["all", "prompt"] = Field("prompt", description="Whose greatest score r_max is.")
    seed: int = Field(0, description="Another one keeps others.")

    _greatest_of_all: float | None = PrivateAttr(None)

    def surveyed(self, parts: Parts) -> StatisticalRejection:
        if self.per == "prompt":
            return self
        bound = self.model_copy()
        bound._greatest_of_all = max((_greatest(*self.known(*part)) for part in parts()), default=-np.inf)
        return bound

    @property
    def in_parts(self) -> bool:
        return True

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_N, known_N = self.known(pool, alive)
        with np.errstate(invalid="ignore", over="ignore"):
            chances_N = np.exp((values_N - self._greatest(pool, known_N, values_N)) / self.temperature)
        kept_N: Mask = known_N & (self._odds(pool) < chances_N)
        return kept_N

    def _greatest(self, pool: Pool, known_N: Mask, values_N: Values) -> Values:
        """(N,): the greatest score beside each candidate."""
        if self.per == "all":
            of_all = self._greatest_of_all
            return np.full(len(pool), _greatest(values_N, known_N) if of_all is None else of_all)
        greatest = np.full(len(pool.prompt_ids), -np.inf)
        np.maximum.at(greatest, pool.prompt_N[known_N], values_N[known_N])
        return greatest[pool.prompt_N]

    def _odds(self, pool: Pool) -> Values:
        """(N,): uniform from 0 to 1, without 1."""
        salt = np.uint64(int(stable_hash("statistical rejection", self.seed, pool.iteration)[:16], 16))
        return (mixed(pool.lots_N ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def _why(self, pool: Pool) -> str:
        return f" lost against the greatest {self.by}, at temperature {self.temperature:g}"


def _greatest(values_N: Values, known_N: Mask) -> float:
    return float(values_N[known_N].max(initial=-np.inf))
