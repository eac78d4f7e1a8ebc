"""The control's selection: as many candidates as were accepted, whichever they are."""

from __future__ import annotations

from collections.abc import Mapping

from rsft.selection.pool import Pool, stable_hash
from rsft.selection.selection import FINISHED
from rsft.types import Decision

RANDOM = "random"


def random_selection(pool: Pool, counts: Mapping[str, int], seed: int) -> list[Decision]:
    """Of each prompt choose `counts[prompt id]` candidates at random among those that finished, without their scores.

    Cut candidates are left out, as no arm trains on them. The draw depends on the seed and the keys alone. A prompt
    with fewer finished candidates than wanted gives all of them.
    """
    decisions = [Decision(False, FINISHED)] * len(pool)
    for prompt_id, places in pool.families.items():
        finished = [place for place in places if pool.finish_reasons[place] == "stop"]
        finished.sort(key=lambda place: stable_hash(seed, prompt_id, pool.keys[place].sample_index))
        wanted = counts.get(prompt_id, 0)
        for rank, place in enumerate(finished):
            decisions[place] = Decision(rank < wanted, RANDOM)
    return decisions
