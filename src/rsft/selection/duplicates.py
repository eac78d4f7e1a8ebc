"""No reply twice among what is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
from pydantic import Field

from rsft.selection.pool import Mask, Pool
from rsft.selection.rule import Rule
from rsft.selection.shingles import Shingles, jaccard, shingles
from rsft.text import normalise

_PERMUTATIONS = 128


class NoDuplicates(Rule):
    """Keeps one of several replies that are equal but for case, width and spaces."""

    across_prompts: bool = Field(False, description="Compare with other prompts' replies too.")

    @property
    def in_parts(self) -> bool:
        return not self.across_prompts

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kept = np.zeros_like(alive)
        seen: set[tuple[int, str]] = set()
        for place in _in_lot_order(pool, alive):
            reply = (0 if self.across_prompts else int(pool.prompt_N[place]), normalise(pool.texts[place]))
            if reply not in seen:
                seen.add(reply)
                kept[place] = True
        return kept


class NoNearDuplicates(Rule):
    """Keeps no reply whose word triples overlap with a kept one's by more than `similarity` (Jaccard)."""

    main_option: ClassVar[str | None] = "similarity"

    similarity: float = Field(0.8, gt=0, le=1, description="The greatest overlap that two replies may have.")
    across_prompts: bool = Field(False, description="Compare with other prompts' replies too.")

    @property
    def in_parts(self) -> bool:
        return not self.across_prompts

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kept = np.zeros_like(alive)
        new = self._across() if self.across_prompts else self._within()
        for place in _in_lot_order(pool, alive):
            kept[place] = new(int(pool.prompt_N[place]), shingles(pool.texts[place]))
        return kept

    def _within(self) -> Callable[[int, Shingles], bool]:
        """Accepts a reply that is near none of its own prompt's; these are few, so each is compared exactly."""
        families: dict[int, list[Shingles]] = {}

        def is_new(prompt: int, own: Shingles) -> bool:
            family = families.setdefault(prompt, [])
            if any(jaccard(own, other) > self.similarity for other in family):
                return False
            family.append(own)
            return True

        return is_new

    def _across(self) -> Callable[[int, Shingles], bool]:
        """Accepts a reply that is near none of all. MinHash proposes, the exact overlap decides."""
        from datasketch import MinHash, MinHashLSH

        index = MinHashLSH(threshold=max(0.1, self.similarity - 0.1), num_perm=_PERMUTATIONS)
        kept: list[Shingles] = []

        def is_new(_: int, own: Shingles) -> bool:
            sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
            sketch.update_batch([shingle.encode() for shingle in own])
            if any(jaccard(own, kept[place]) > self.similarity for place in index.query(sketch)):
                return False
            index.insert(len(kept), sketch)
            kept.append(own)
            return True

        return is_new


def _in_lot_order(pool: Pool, alive: Mask) -> Iterable[int]:
    places = np.flatnonzero(alive)
    return list(places[np.argsort(pool.lots_N[places])].tolist())
