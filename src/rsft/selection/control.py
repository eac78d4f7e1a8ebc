"""The controls' selections, which look at no score: as many as were accepted, whichever they are, or all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rsft.selection.pool import Mask, Pool, stable_hash
from rsft.selection.rule import Rule
from rsft.selection.selection import Selection


class AtRandom(Rule):
    """Keeps of each prompt (by id) `counts` candidates at random; of one with fewer than that, all. The draw depends on
    the seed and the keys alone."""

    by_prompt: ClassVar[bool] = True

    name: str = "random"
    counts: Mapping[str, int]
    seed: int

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kept = np.zeros_like(alive)
        for family in pool.families(alive):
            prompt_id = pool.prompt_ids[pool.prompt_N[family[0]]]
            lots = {place: stable_hash(self.seed, prompt_id, int(pool.sample_N[place])) for place in family}
            kept[sorted(family, key=lots.__getitem__)[: self.counts.get(prompt_id, 0)]] = True
        return kept


def random_selection(counts: Mapping[str, int], seed: int) -> Selection:
    """Of each prompt `counts[prompt id]` replies at random among those that came to their own end, as no arm trains on
    others."""
    return Selection([AtRandom(counts=counts, seed=seed)])


def all_whole() -> Selection:
    """Every whole reply."""
    return Selection([])
