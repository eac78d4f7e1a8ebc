"""Where candidates' newest tokens look, as batched products take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.engines.local.pages import PAGE, Pool, TrunkStates
from rsft.engines.local.texts import Row, Trunk, families


@dataclass(frozen=True, slots=True)
class Place:
    """Pages that rows look at: the range of E pages from `first` on, each with its rows and tokens.

    `rows_En` holds row numbers, padded with 0; `starts_E` the position of each page's first token in its text;
    `fills_E` how many tokens each page holds, 0 for one that is not of this place.
    """

    first: int
    rows_En: Any
    starts_E: Any
    fills_E: Any


@dataclass(frozen=True, slots=True)
class TrunkPlace:
    """A trunk and the rows under it."""

    states: TrunkStates
    rows_R: Any


@dataclass(frozen=True, slots=True)
class Sights:
    """Where the rows of a pass look.

    `parts_RP` tells what each row's attention is put together of, as numbers over (own pages, shared pages × lanes,
    rows under trunks); −1 pads.
    """

    own: Place | None
    shared: Place | None
    trunks: Sequence[TrunkPlace]
    parts_RP: Any


def sights_of(pool: Pool, rows: Sequence[Row]) -> Sights:
    parts: list[list[int]] = [[] for _ in rows]
    own = _Pages(pool.pages.range(shared=False), 1)
    for number, row in enumerate(rows):
        own.add(row.pages, [number], len(row.stem.prompt_ids), len(row.token_ids), parts, 0)
    by_stem = families(rows)
    shared = _Pages(pool.pages.range(shared=True), max(len(numbers) for _, numbers in by_stem))
    under: dict[int, tuple[Trunk, list[int]]] = {}
    for stem, numbers in by_stem:
        shared.add(stem.pages, numbers, stem.start, len(stem.token_ids), parts, own.size)
        if stem.trunk:
            under.setdefault(id(stem.trunk), (stem.trunk, []))[1].extend(numbers)
    next_part = own.size + shared.size
    trunks = []
    for trunk, numbers in under.values():
        trunks.append(TrunkPlace(trunk.states, pool.tensor(numbers)))
        for number in numbers:
            parts[number].append(next_part)
            next_part += 1
    table = np.full((len(rows), max(map(len, parts))), -1)
    for number, of_row in enumerate(parts):
        table[number, : len(of_row)] = of_row
    return Sights(own.place(pool), shared.place(pool), trunks, pool.tensor(table))


class _Pages:
    """A `Place` in the making."""

    def __init__(self, pages: range, lanes: int) -> None:
        self.first = pages.start
        self.size = len(pages) * lanes
        self.lanes = lanes
        self.rows = np.zeros((len(pages), lanes), np.int64)
        self.starts = np.zeros(len(pages), np.int64)
        self.fills = np.zeros(len(pages), np.int64)

    def add(
        self, pages: Sequence[int], rows: Sequence[int], start: int, tokens: int, parts: list[list[int]], before: int
    ) -> None:
        """A text of `tokens` tokens from position `start` on lies in `pages`, and `rows` look at it."""
        for turn, page in enumerate(pages):
            entry = page - self.first
            self.rows[entry, : len(rows)] = rows
            self.starts[entry] = start + turn * PAGE
            self.fills[entry] = min(PAGE, tokens - turn * PAGE)
            for lane, row in enumerate(rows):
                parts[row].append(before + entry * self.lanes + lane)

    def place(self, pool: Pool) -> Place | None:
        if self.size == 0:
            return None
        return Place(self.first, *(pool.tensor(numbers) for numbers in (self.rows, self.starts, self.fills)))
