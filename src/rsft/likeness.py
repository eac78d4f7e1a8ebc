"""How long the replies of a set are, and how different from each other: by a random sample that stays, so that sets
which share most of their replies are compared on most of the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rsft import metrics
from rsft.selection import Pool
from rsft.selection.pool import Lots, Mask, Numbers, Places, Values, mixed, stable_hash
from rsft.text import normalise, word_count, words

MEASURED = 2000
"""Replies of a set that are measured: their mean words are off by some 2% of the lengths' own spread."""
COMPARED = 200
"""Of these, the replies that are compared with each other: as many as where held-out replies are."""

_REMEMBERED = 200_000
"""Of so many replies the words are remembered, where sets are measured again and again; of a tenth the texts."""
_SALT = np.uint64(int(stable_hash("likeness")[:16], 16))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of a set of replies the mean `words`, measured on `words_of` of them; and how many `different` ones there are in
    effect among `different_of` of them (their Vendi score). None of an empty set."""

    words: float | None
    words_of: int
    different: float | None
    different_of: int


class Sample:
    """A random draw of at most `MEASURED` candidates of a set, the same each time: the first by lot. Parts of the set
    are added one after the other."""

    def __init__(self) -> None:
        self.places: Places = np.zeros(0, dtype=np.intp)
        """Among all candidates, in the order of their lots."""
        self.scores: dict[str, Values] = {}
        """What each scorer said of them."""
        self._lots: Lots = np.zeros(0, dtype=np.uint64)

    def add(self, pool: Pool, chosen_N: Mask, start: int = 0) -> None:
        """Those of a pool that are in the set. Its first candidate's place is `start`."""
        places = np.flatnonzero(chosen_N)
        # Lots of their own: by the pool's, rules choose.
        lots = mixed(pool.lots_N[places] ^ _SALT)
        if len(places) > MEASURED:
            least = np.argpartition(lots, MEASURED)[:MEASURED]
            places, lots = places[least], lots[least]
        scores = {name: values_N[places] for name, values_N in pool.scores.items()}
        lots = np.concatenate([self._lots, lots])
        first = np.argsort(lots, kind="stable")[:MEASURED]
        self._lots = lots[first]
        self.places = np.concatenate([self.places, places + start])[first]
        nothing = np.zeros(0)
        self.scores = {
            name: np.concatenate([self.scores.get(name, nothing), values])[first] for name, values in scores.items()
        }


class Replies:
    """Replies of which some are read. `texts_of` gives the texts at some places."""

    def __init__(self, texts_of: Callable[[Places], Mapping[int, str]]) -> None:
        self._texts_of = texts_of
        self._words: dict[int, int] = {}
        self._compared: dict[int, str] = {}

    def likeness(self, *samples: Sample) -> list[Likeness]:
        """Of each set, by a sample of it. What is not known yet is read at once for all of them."""
        if len(self._words) > _REMEMBERED:
            self._words.clear()
        if len(self._compared) > _REMEMBERED // 10:
            self._compared.clear()
        measured = np.unique(np.concatenate([sample.places for sample in samples]))
        new = [place for place in measured.tolist() if place not in self._words]
        compared = np.concatenate([sample.places[:COMPARED] for sample in samples])
        unread = [place for place in compared.tolist() if place not in self._compared]
        read = np.union1d(np.array(new, dtype=np.intp), np.array(unread, dtype=np.intp))
        texts = self._texts_of(read) if len(read) else {}
        self._words |= {place: word_count(texts[place]) for place in new}
        self._compared |= {place: texts[place] for place in unread}
        return [self._likeness(sample) for sample in samples]

    def correlations(self, sample: Sample) -> dict[str, float | None]:
        """Each score's rank correlation (Spearman) with the words of a reply, in a sample that `likeness` has measured:
        what is high tells that a line on the score selects for length. None where it can't be told."""
        words = self._words_of(sample)
        found = {}
        for name, values in sample.scores.items():
            known = ~np.isnan(values)
            found[name] = metrics.spearman(words[known].tolist(), values[known].tolist())
        return found

    def _words_of(self, sample: Sample) -> Numbers:
        return np.array([self._words[place] for place in sample.places.tolist()], dtype=np.int32)

    def _likeness(self, sample: Sample) -> Likeness:
        if not len(sample.places):
            return Likeness(None, 0, None, 0)
        said = [words(normalise(self._compared[place])) for place in sample.places[:COMPARED].tolist()]
        different = metrics.vendi(metrics.gram_kernel(said))
        return Likeness(float(self._words_of(sample).mean()), len(sample.places), different, len(said))
