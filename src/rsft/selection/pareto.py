"""Several scores at once, none of which is given up for another."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool
from rsft.selection.rule import Rule


class Pareto(Rule):
    """Keeps each prompt's Pareto front: the candidates than which no other is as good by all scores and better by one.

    More is better by each of them. Candidates with a failed score are never kept, and beat none.
    """

    example: ClassVar[Any] = {"pareto": ["relevant", "facts"]}
    main_option: ClassVar[str | None] = "by"
    weighs_all: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True

    by: Annotated[tuple[str, ...], Field(min_length=2)] = Field(description="The scorers' names in the recipe.")

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        values_SN = np.stack([pool.scores[name] for name in self.by])
        known = np.flatnonzero(alive & ~np.isnan(values_SN).any(axis=0))
        places = known[np.argsort(pool.prompt_N[known], kind="stable")]
        prompts, values = pool.prompt_N[places], values_SN[:, places]
        beaten = np.zeros(len(places), dtype=np.bool_)
        # Each is held against the one that stands so many behind it, until no prompt has any so far behind.
        for apart in range(1, len(places)):
            same = prompts[apart:] == prompts[:-apart]
            if not same.any():
                break
            one, other = values[:, :-apart], values[:, apart:]
            beaten[:-apart] |= same & (other >= one).all(axis=0) & (other > one).any(axis=0)
            beaten[apart:] |= same & (one >= other).all(axis=0) & (one > other).any(axis=0)
        kept_N = np.zeros_like(alive)
        kept_N[places[~beaten]] = True
        return kept_N

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        said = {name: pool.details.score(name, place) for name in self.by}
        failed = next((name for name, score in said.items() if score.value is None), None)
        if failed is not None:
            return f"score failed: {said[failed].failure}"
        shown = ", ".join(f"{name} = {score.value:g}" for name, score in said.items())
        return f"another of the prompt is as good or better by all of {shown}"

    @property
    def scorers_used(self) -> tuple[str, ...]:
        return self.by
