"""How long the replies of a set are, and how different from each other: by a random sample that stays, so that sets
which share most of their replies are compared on most of the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rsft import metrics
from rsft.selection import Pool
from rsft.selection.pool import Lots, Mask, Places, mixed, stable_hash
from rsft.text import normalise, word_count, words

MEASURED = 2000
"""Replies of a set that are measured: their mean words are off by some 2% of the lengths' own spread."""
COMPARED = 200
"""Of these, the replies that are compared with each other: as many as where held-out replies are."""

_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of a set of replies the mean `words`, measured on `words_of` of them; and how many `different` ones there are in
    effect among `different_of` of them (their Vendi score). None of an empty set."""

    words: float | None
    words_of: int
    different: float | None
    different_of: int


class Replies:
    """The replies of a pool, of which some are read. `texts_of` gives the texts at some places."""

    def __init__(self, pool: Pool, texts_of: Callable[[Places], Mapping[int, str]]) -> None:
        self._pool, self._texts_of = pool, texts_of
        self._words_N = np.full(len(pool), _UNKNOWN, dtype=np.int32)

    def likeness(self, *sets: Mask) -> list[Likeness]:
        """Of each set of candidates (N,). What is not known yet is read at once for all of them."""
        samples = [self._sample(chosen_N) for chosen_N in sets]
        measured = np.unique(np.concatenate(samples))
        new = measured[self._words_N[measured] == _UNKNOWN]
        read = np.union1d(new, np.concatenate([sample[:COMPARED] for sample in samples]))
        texts = self._texts_of(read) if len(read) else {}
        self._words_N[new] = [word_count(texts[place]) for place in new.tolist()]
        return [self._likeness(sample, texts) for sample in samples]

    def correlations(self, chosen_N: Mask) -> dict[str, float | None]:
        """Each score's rank correlation (Spearman) with the words of a reply, in a sample of a set that `likeness` has
        measured: what is high tells that a line on the score selects for length. None where it can't be told."""
        sample = self._sample(chosen_N)
        found = {}
        for name, values_N in self._pool.scores.items():
            known = sample[~np.isnan(values_N[sample])]
            found[name] = metrics.spearman(self._words_N[known].tolist(), values_N[known].tolist())
        return found

    @cached_property
    def _lots_N(self) -> Lots:
        """Lots of their own: by the pool's, rules choose."""
        return mixed(self._pool.lots_N ^ np.uint64(int(stable_hash("likeness")[:16], 16)))

    def _sample(self, chosen_N: Mask) -> Places:
        """The first by lot: a random draw, the same each time."""
        places: Places = np.flatnonzero(chosen_N)
        lots = self._lots_N[places]
        if len(places) > MEASURED:
            least = np.argpartition(lots, MEASURED)[:MEASURED]
            places, lots = places[least], lots[least]
        return places[np.argsort(lots, kind="stable")]

    def _likeness(self, sample: Places, texts: Mapping[int, str]) -> Likeness:
        if not len(sample):
            return Likeness(None, 0, None, 0)
        said = [words(normalise(texts[place])) for place in sample[:COMPARED].tolist()]
        different = metrics.vendi(metrics.gram_kernel(said))
        return Likeness(float(self._words_N[sample].mean()), len(sample), different, len(said))
