"""The control's selection: as many candidates as were accepted, whichever they are."""

from __future__ import annotations

from collections.abc import Mapping

from rsft.selection.pool import Pool, stable_hash
from rsft.selection.selection import FINISHED
from rsft.types import Decision

RANDOM = "random"


UNFILTERED = "unfiltered"


def all_whole(pool: Pool) -> list[Decision]:
    """Every whole reply, whatever its scores."""
    return [Decision(bool(whole), UNFILTERED if whole else FINISHED) for whole in pool.whole_N]


def random_selection(pool: Pool, counts: Mapping[str, int], seed: int) -> list[Decision]:
    """Of each prompt choose `counts[prompt id]` candidates at random among those that finished, without their scores.

    Cut candidates are left out, as no arm trains on them. The draw depends on the seed and the keys alone. A prompt
    with fewer finished candidates than wanted gives all of them.
    """
    decisions = [Decision(False, FINISHED)] * len(pool)
    for finished in pool.families(pool.whole_N):
        prompt_id = pool.prompt_ids[pool.prompt_N[finished[0]]]
        lots = {place: stable_hash(seed, prompt_id, int(pool.sample_N[place])) for place in finished}
        finished.sort(key=lots.__getitem__)
        wanted = counts.get(prompt_id, 0)
        for rank, place in enumerate(finished):
            decisions[place] = Decision(rank < wanted, RANDOM)
    return decisions
