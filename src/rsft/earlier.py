"""What earlier iterations say of prompts, read from the run folder."""

from __future__ import annotations

import numpy as np

from rsft.budget import Past, Tally
from rsft.parts import StoredParts
from rsft.selection import Pool
from rsft.selection.pool import Values
from rsft.store import RunFolder
from rsft.stored import stored_lengths


def past_in(folder: RunFolder, iteration: int) -> dict[str, Past]:
    """How the prompts on which the run decided in an iteration fared there, by prompt id."""
    stored = StoredParts(folder, iteration, folder.noted_heldout_scorers() | folder.noted_scorers())
    tokens = stored.joined(np.int32, 0, stored_lengths(folder, iteration, stored.rows_of))
    past: dict[str, Past] = {}
    for number, part in enumerate(stored):
        pool = part.pool
        everyone = np.ones(len(pool), dtype=np.bool_)
        candidates, accepted = pool.counts(everyone).tolist(), pool.counts(part.accepted_N).tolist()
        lengths = _sums(pool, tokens.column(number)).tolist()
        means = {name: _means(pool, values_N) for name, values_N in pool.scores.items()}
        for place, prompt_id in enumerate(pool.prompt_ids):
            known = {name: mean for name, of in means.items() if (mean := of[place]) is not None}
            past[prompt_id] = Past(iteration, Tally(candidates[place], accepted[place], int(lengths[place])), known)
    return past


def _means(pool: Pool, values_N: Values) -> list[float | None]:
    """(prompts,): the mean of the values that are known; None where none is."""
    counts, sums = pool.counts(~np.isnan(values_N)), _sums(pool, np.nan_to_num(values_N))
    return [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]


def _sums(pool: Pool, values_N: Values) -> Values:
    """(prompts,)"""
    sums: Values = np.bincount(pool.prompt_N, values_N, len(pool.prompt_ids)).astype(np.float64)
    return sums
