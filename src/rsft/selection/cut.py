"""Where the first so many of a set end, found by passes over parts of it: no part holds all, and no order is sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rsft.selection.pool import Lots, Mask, Numbers, Places, Pool, Values

_BINS = 1 << 20
_HELD = 1 << 20
"""Numbers that are counted, and held, at once: some eight megabytes each."""
_ALL = (1 << 64) - 1

Parts = Callable[[], Iterable[tuple[Pool, Mask]]]
"""All candidates, those of some prompts at a time, with who is left of them. It may be asked for again and again."""
Ranked = tuple[Values | None, Lots, Numbers]
"""Of some candidates: values, of which the greatest are first (None: all are alike), their lots, and their groups."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Of each of G groups its last one among the first so many: by value from the greatest on, then by lot."""

    kept_G: Mask
    """Whether there is one."""
    value_G: Values
    lot_G: Lots

    def within(self, ranked: Ranked) -> Mask:
        """Which of some candidates are among the first of their group."""
        values_N, lots_N, group_N = ranked
        in_time_N = lots_N <= self.lot_G[group_N]
        if values_N is not None:
            line_N = self.value_G[group_N]
            with np.errstate(invalid="ignore"):
                in_time_N = (values_N > line_N) | ((values_N == line_N) & in_time_N)
        within_N: Mask = self.kept_G[group_N] & in_time_N
        return within_N


def cut(parts: Callable[[], Iterable[Ranked]], most_G: Places) -> Cut:
    """Where the first `most_G` of each group end. `parts` gives all candidates that count, some at a time; of no group
    more are wanted than there are."""
    kept_G: Mask = most_G > 0
    value_G, left_G = np.zeros(len(most_G)), most_G
    if not kept_G.any():
        return Cut(kept_G, value_G, np.zeros(len(most_G), dtype=np.uint64))

    def by_value() -> Iterator[tuple[Lots, Numbers]]:
        for values_N, _, group_N in parts():
            yield _descending(values_N) if values_N is not None else np.zeros(len(group_N), np.uint64), group_N

    key_G, left_G, same_G = _smallest(by_value, most_G)
    value_G = _value(key_G)

    def by_lot() -> Iterator[tuple[Lots, Numbers]]:
        for values_N, lots_N, group_N in parts():
            ties_N = open_G[group_N]
            if values_N is not None:
                ties_N = ties_N & (values_N == value_G[group_N])
            yield lots_N[ties_N], group_N[ties_N]

    # Of a group in which all that tie are wanted no lot need be drawn.
    open_G = kept_G & (left_G < same_G)
    lot_G = np.full(len(most_G), _ALL, dtype=np.uint64)
    if open_G.any():
        lots_G, _, _ = _smallest(by_lot, np.where(open_G, left_G, 0))
        lot_G[open_G] = lots_G[open_G]
    return Cut(kept_G, value_G, lot_G)


def _smallest(parts: Callable[[], Iterable[tuple[Lots, Numbers]]], rank_G: Places) -> tuple[Lots, Places, Places]:
    """(G,): of each group its number with this rank, from 1 on, among its smallest; its rank among those that are equal
    to it, and how many these are. Groups of rank 0 have none.

    Each pass counts numbers in bins of equal width, and the next one looks only into that which holds the wanted one;
    once few are left they are sorted.
    """
    count = len(rank_G)
    low_G, high_G = np.zeros(count, np.uint64), np.full(count, _ALL, np.uint64)
    below_G = np.zeros(count, np.intp)  # how many of a group are under `low_G`
    while True:
        held: list[tuple[Lots, Numbers]] = []
        counted: _Bins | None = None
        for numbers_N, group_N in parts():
            inside_N = (numbers_N >= low_G[group_N]) & (numbers_N <= high_G[group_N]) & (rank_G[group_N] > 0)
            held.append((numbers_N[inside_N], group_N[inside_N]))
            if counted is not None or sum(len(groups) for _, groups in held) > _HELD:
                counted = counted or _Bins(low_G, high_G)
                for numbers, groups in held:
                    counted.add(numbers, groups)
                held = []
        if counted is None:
            return _sorted(held, rank_G, below_G)
        same_G = counted.narrow(rank_G, low_G, high_G, below_G)
        if (low_G == high_G)[rank_G > 0].all():
            return low_G, rank_G - below_G, same_G


class _Bins:
    """How many numbers of each group are in which of some bins between two ends (G,), and the least and the greatest
    of them."""

    def __init__(self, low_G: Lots, high_G: Lots) -> None:
        self._bins = _BINS // len(low_G)
        digits = self._bins.bit_length() - 1
        spans = [int(high) - int(low) for low, high in zip(low_G, high_G, strict=True)]
        self._shifts = [max(0, span.bit_length() - digits) for span in spans]
        self._low_G = low_G.copy()
        self._least_G, self._most_G = np.full(len(low_G), _ALL, np.uint64), np.zeros(len(low_G), np.uint64)
        self._counts_GB = np.zeros((len(low_G), self._bins), np.int64)

    def add(self, numbers_N: Lots, group_N: Numbers) -> None:
        for group in np.flatnonzero(np.bincount(group_N, minlength=len(self._low_G))).tolist():
            own = numbers_N[group_N == group] if len(self._low_G) > 1 else numbers_N
            self._least_G[group] = min(self._least_G[group], own.min())
            self._most_G[group] = max(self._most_G[group], own.max())
            bin_N = ((own - self._low_G[group]) >> np.uint64(self._shifts[group])).astype(np.intp)
            self._counts_GB[group] += np.bincount(bin_N, minlength=self._bins)

    def narrow(self, rank_G: Places, low_G: Lots, high_G: Lots, below_G: Places) -> Places:
        """Set the ends of each group to those of the bin that holds its number of this rank, and how many are below.
        Returns how many are in it (G,)."""
        same_G = np.zeros(len(rank_G), np.intp)
        for group in np.flatnonzero(rank_G).tolist():
            up_to = np.cumsum(self._counts_GB[group])
            at = int(np.searchsorted(up_to, rank_G[group] - below_G[group]))
            same_G[group] = self._counts_GB[group, at]
            if self._least_G[group] == self._most_G[group]:
                low_G[group] = high_G[group] = self._least_G[group]
                continue
            first = int(low_G[group]) + (at << self._shifts[group])
            high_G[group] = min(int(high_G[group]), first + (1 << self._shifts[group]) - 1)
            low_G[group] = first
            below_G[group] += up_to[at] - same_G[group]
        return same_G


def _sorted(held: list[tuple[Lots, Numbers]], rank_G: Places, below_G: Places) -> tuple[Lots, Places, Places]:
    """The same of numbers that are held, all of them, behind `below_G` that are not."""
    numbers, groups = (np.concatenate(columns) for columns in zip(*held, strict=True))
    found_G, left_G, same_G = np.zeros(len(rank_G), np.uint64), rank_G.copy(), np.zeros(len(rank_G), np.intp)
    for group in np.flatnonzero(rank_G):
        own, wanted = numbers[groups == group], int(rank_G[group] - below_G[group])
        found = np.partition(own, wanted - 1)[wanted - 1]
        found_G[group], left_G[group] = found, wanted - int((own < found).sum())
        same_G[group] = int((own == found).sum())
    return found_G, left_G, same_G


def _descending(values: Values) -> Lots:
    """Numbers in whose order the greatest values are first; 0 and −0 are the same."""
    bits = (values + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    ascending = np.where(bits & sign, ~bits, bits | sign)
    descending: Lots = ~ascending
    return descending


def _value(keys: Lots) -> Values:
    """What `_descending` made such numbers of."""
    ascending, sign = ~keys, np.uint64(1 << 63)
    values: Values = np.where(ascending & sign, ascending & ~sign, ~ascending).view(np.float64)
    return values
