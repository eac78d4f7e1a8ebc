"""What one forward pass carries, and where each of its tokens looks: made once a pass, read by every layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsft.engines.local.pages import PAGE, Pool, TrunkStates
from rsft.engines.local.texts import Row, Stem, Trunk


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
class Piece:
    """Tokens `first` to `last` of the pass: a part of a trunk or of a stem that is read now.

    Before it in its text come the whole `trunk`, for a piece of a stem that has one, and `before` tokens of its own,
    which lie in `pages`, or in `into` if it is a piece of a trunk.
    """

    first: int
    last: int
    before: int
    pages_E: Any = None
    trunk: TrunkStates | None = None
    into: TrunkStates | None = None


@dataclass(slots=True)
class Pass:
    """N tokens in one row: the newest token of each of R candidates, then pieces of prompts.

    `places_N` tells where each token's keys and values go, as page × PAGE + offset; −1 for a trunk's.
    `parts_RP` tells what each row's attention is put together of, as numbers over (own pages, shared pages × lanes,
    rows under trunks); −1 pads. `wanted` are the tokens whose logits are wanted: all candidates', and the last token
    of each prompt that is read to its end.
    """

    pool: Pool
    ids_N: Any
    positions_N: Any
    places_N: Any
    wanted: Any
    rows: int
    own: Place | None
    shared: Place | None
    trunks: Sequence[TrunkPlace]
    parts_RP: Any
    pieces: Sequence[Piece]
    _made: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made for the first layer that asks for it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


Part = tuple[Stem, Trunk | Stem, int]
"""Tokens to read: for which prompt, of which text (its trunk or itself), and how many."""


def plan_pass(pool: Pool, rows: Sequence[Row], parts: Sequence[Part]) -> Pass:
    """The pass that carries these rows' newest tokens and these parts. Takes pages that rows need, and counts what is
    read."""
    ids = [row.token_ids[-1] for row in rows]
    positions = [row.position for row in rows]
    places = [_room(pool, row) for row in rows]
    wanted = list(range(len(rows)))
    pieces = []
    for stem, text, some in parts:
        first, last = len(ids), len(ids) + some
        span = np.arange(text.read, text.read + some)
        ids += text.token_ids[text.read : text.read + some]
        if isinstance(text, Trunk):
            positions += span.tolist()
            places += [-1] * some
            pieces.append(Piece(first, last, text.read, into=text.states))
        else:
            positions += (span + stem.start).tolist()
            places += (np.array(stem.pages)[span // PAGE] * PAGE + span % PAGE).tolist()
            trunk = stem.trunk.states if stem.trunk else None
            pieces.append(Piece(first, last, text.read, pool.tensor(stem.pages), trunk))
        text.read += some
        if text is stem and stem.is_read:
            wanted.append(last - 1)
    own, shared, trunks, parts_RP = _looks(pool, rows)
    return Pass(
        pool,
        ids_N=pool.tensor(ids),
        positions_N=pool.tensor(positions),
        places_N=pool.tensor(places),
        wanted=pool.tensor(wanted),
        rows=len(rows),
        own=own,
        shared=shared,
        trunks=trunks,
        parts_RP=parts_RP,
        pieces=pieces,
    )


def _room(pool: Pool, row: Row) -> int:
    """Where the newest token's keys and values go."""
    age = len(row.token_ids) - 1
    if age == len(row.pages) * PAGE:
        row.pages += pool.pages.take(1, shared=False)
    return row.pages[age // PAGE] * PAGE + age % PAGE


def _looks(pool: Pool, rows: Sequence[Row]) -> tuple[Place | None, Place | None, list[TrunkPlace], Any]:
    """Where the rows look: `own`, `shared`, `trunks` and `parts_RP` of a pass."""
    if not rows:
        return None, None, [], None
    families: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        families.setdefault(id(row.stem), []).append(number)
    parts: list[list[int]] = [[] for _ in rows]
    own = _Pages(pool.pages.range(shared=False), 1)
    for number, row in enumerate(rows):
        own.add(row.pages, [number], len(row.stem.prompt_ids), len(row.token_ids), parts, 0)
    shared = _Pages(pool.pages.range(shared=True), max(map(len, families.values())))
    under: dict[int, tuple[Trunk, list[int]]] = {}
    for family in families.values():
        stem = rows[family[0]].stem
        shared.add(stem.pages, family, stem.start, len(stem.token_ids), parts, own.size)
        if stem.trunk:
            under.setdefault(id(stem.trunk), (stem.trunk, []))[1].extend(family)
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
    return own.place(pool), shared.place(pool), trunks, pool.tensor(table)


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
