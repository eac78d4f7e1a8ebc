"""Replies that differ from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rsft.selection.pool import Mask, Pool
from rsft.selection.shingles import jaccard, shingles
from rsft.selection.top_k import Cap


class MostNovel(Cap):
    """Keeps at most k of each prompt, as different from each other as can be, by their word triples (Jaccard).

    First the reply that is furthest from the prompt's others on average, then, one by one, the reply that is furthest
    from the nearest that is kept (farthest-first traversal, Gonzalez 1985). Ties are broken by a stable hash. The novel
    ones of what was drawn are taken: more candidates are no reason to go on drawing.
    """

    example: ClassVar[Any] = {"most_novel": 3}

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kept = np.zeros_like(alive)
        for family in pool.families(alive):
            kept[[family[one] for one in _farthest_first([pool.texts[place] for place in family], self.k)]] = True
        return kept

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        return f"is nearer to what was kept than the prompt's {self.k} most novel"


def _farthest_first(texts: Sequence[str], k: int) -> list[int]:
    """The places of at most k texts; of those equally far the first."""
    if len(texts) <= k:
        return list(range(len(texts)))
    said = [shingles(text) for text in texts]
    distances_NN = np.array([[1 - jaccard(one, other) for other in said] for one in said])
    # Equal sums in another order differ in their last bits, which must not decide.
    chosen = [int(np.argmax(np.round(distances_NN.sum(axis=1), 9)))]
    nearest_N = distances_NN[chosen[0]].copy()
    while len(chosen) < k:
        nearest_N[chosen] = -1.0
        chosen.append(int(np.argmax(nearest_N)))
        nearest_N = np.minimum(nearest_N, distances_NN[chosen[-1]])
    return chosen
