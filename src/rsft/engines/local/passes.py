"""What one forward pass carries, and where each of its tokens looks: made once a pass, read by every layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsft.engines.local.pages import PAGE, Pool, TrunkStates
from rsft.engines.local.texts import Row, Stem, Trunk


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `first` to `last` of the pass: a part of a trunk or of a stem that is read now.

    Before it in its text come the whole `trunk`, for a piece of a stem that has one, and `before` tokens of its own,
    which lie in `pages`, or in `into` if it is a piece of a trunk.
    """

    first: int
    last: int
    before: int
    pages: Sequence[int] = ()
    trunk: TrunkStates | None = None
    into: TrunkStates | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """How a layer weighs what its tokens look at: with a cap on scores or a window, or without."""

    scaling: float
    window: int | None
    softcap: float | None


@dataclass(slots=True)
class Pass:
    """N tokens in one row: the newest token of each of R candidates, then pieces of prompts.

    `places_N` tells where each token's keys and values go, as page × PAGE + offset; −1 for a trunk's. `wanted` are the
    tokens whose logits are wanted: all candidates', and the last token of each prompt that is read to its end.
    """

    pool: Pool
    ids_N: Any
    positions_N: Any
    places_N: Any
    wanted: Any
    rows: Sequence[Row]
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
            pieces.append(Piece(first, last, text.read, stem.pages, trunk))
        text.read += some
        if text is stem and stem.is_read:
            wanted.append(last - 1)
    return Pass(
        pool,
        ids_N=pool.tensor(ids),
        positions_N=pool.tensor(positions),
        places_N=pool.tensor(places),
        wanted=pool.tensor(wanted),
        rows=rows,
        pieces=pieces,
    )


def _room(pool: Pool, row: Row) -> int:
    """Where the newest token's keys and values go."""
    age = len(row.token_ids) - 1
    if age == len(row.pages) * PAGE:
        row.pages += pool.pages.take(1, shared=False)
    return row.pages[age // PAGE] * PAGE + age % PAGE
