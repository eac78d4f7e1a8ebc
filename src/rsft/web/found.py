"""Which replies of a book are wanted, in their order: a bit each, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.selection.cut import Cut, Ranked, cut
from rsft.selection.pool import Mask, Places, Values
from rsft.web.books import Book, Leaf

_SORTED = 10_000
"""Of so many replies their order is worked out whole."""
_NOWHERE = 1 << 62


@dataclass(frozen=True, slots=True)
class Found:
    """The wanted replies of a book in the order of their places; or `by` a scorer's values, the highest first if so
    asked, and where it failed last."""

    book: Book
    by: str | None
    high: bool
    bits: Sequence[Any]
    counts: Places

    @classmethod
    def of(cls, book: Book, masks: Iterable[Mask], by: str | None, *, high: bool) -> Found:
        """`masks` tell of each leaf (N,) which are wanted."""
        bits, counts = [], []
        for wanted_N in masks:
            bits.append(np.packbits(wanted_N))
            counts.append(int(np.count_nonzero(wanted_N)))
        return cls(book, by, high, bits, np.array(counts, dtype=np.intp))

    def __len__(self) -> int:
        return int(self.counts.sum())

    def places(self, which: range) -> Places:
        """The places of those with some numbers, from 0 on, which follow each other."""
        if self.by is None:
            return self._made(which)
        if self.book.only is not None:
            order = self.book.by_score(self.book.only, self.by, high=self.high)
            return order[self._bits(0)[order]][which.start : which.stop]
        # Of what comes before the first pages all is held.
        skipped = which.start if which.start > _SORTED else 0
        before, up_to = (self._cut(number) for number in (skipped, which.stop))
        found: list[tuple[float, int]] = []
        for _, ranked in self._leaves():
            within = np.flatnonzero(up_to.within(ranked) & ~before.within(ranked))
            values, places = ranked[0], ranked[1]
            assert values is not None
            found += zip((-values[within]).tolist(), places[within].tolist(), strict=True)
        return np.array([place for _, place in sorted(found)[which.start - skipped :]], dtype=np.intp)

    def around(self, place: int) -> tuple[int | None, int | None, int | None]:
        """The places of those before and behind one, and which it is itself, from 1; all None if it is not wanted."""
        holding, at = self.book.holding(place)
        own = 0.0 if self.by is None else float(self._values(holding)[at])
        before, behind = (-np.inf, -1), (np.inf, _NOWHERE)
        number, is_wanted = 1, False
        for _, (values, lots, _) in self._leaves():
            rank = np.zeros(len(lots)) if values is None else -values
            places = lots.astype(np.intp)
            earlier = (rank < -own) | ((rank == -own) & (places < place))
            later = (rank > -own) | ((rank == -own) & (places > place))
            number += int(np.count_nonzero(earlier))
            is_wanted |= bool((places == place).any())
            before = max(before, _last(rank[earlier], places[earlier]))
            behind = min(behind, _first(rank[later], places[later]))
        if not is_wanted:
            return None, None, None
        return before[1] if before[1] >= 0 else None, number, behind[1] if behind[1] < _NOWHERE else None

    def _made(self, which: range) -> Places:
        parts = []
        ends, starts = np.cumsum(self.counts), np.cumsum([0, *self.book.sizes])
        for number in np.flatnonzero((ends > which.start) & (ends - self.counts < which.stop)).tolist():
            first = int(ends[number] - self.counts[number])
            places = np.flatnonzero(self._bits(number)) + starts[number]
            parts.append(places[max(0, which.start - first) : max(0, which.stop - first)])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    def _bits(self, number: int) -> Mask:
        """(N,): which of a leaf's replies are wanted."""
        return np.unpackbits(self.bits[number], count=self.book.sizes[number]).astype(np.bool_)

    def _values(self, leaf: Leaf) -> Values:
        """(N,): what is greater the earlier it comes."""
        assert self.by is not None
        values_N = leaf.pool.scores[self.by]
        return np.nan_to_num(values_N if self.high else -values_N, nan=-np.inf)

    def _leaves(self) -> Iterator[tuple[Leaf, Ranked]]:
        """Of each leaf the wanted ones: their values, and as their lots their places."""
        for number, leaf in enumerate(self.book.leaves()):
            wanted = np.flatnonzero(self._bits(number))
            values = None if self.by is None else self._values(leaf)[wanted]
            yield leaf, (values, (wanted + leaf.start).astype(np.uint64), np.zeros(len(wanted), dtype=np.int32))

    def _cut(self, most: int) -> Cut:
        return cut(lambda: (ranked for _, ranked in self._leaves()), np.array([min(most, len(self))], dtype=np.intp))


def _last(rank: Values, places: Places) -> tuple[float, int]:
    """The greatest of some pairs."""
    if not len(rank):
        return -np.inf, -1
    most = rank.max()
    return float(most), int(places[rank == most].max())


def _first(rank: Values, places: Places) -> tuple[float, int]:
    """The least of some pairs."""
    if not len(rank):
        return np.inf, _NOWHERE
    least = rank.min()
    return float(least), int(places[rank == least].min())
