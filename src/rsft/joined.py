"""Columns of values that are put in the order of candidates, part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsft.aside import Aside
from rsft.numbered import Numbered
from rsft.selection.pool import Numbers, Places, Values

KEY_ROW: list[tuple[str, Any]] = [("prompt", np.int32), ("sample", np.int32), ("generator", np.int16)]
"""How a candidate's key is put aside: as numbers."""


@dataclass(frozen=True, slots=True)
class Range:
    """Between which values the scores of a scorer lie, and of how many candidates there are any."""

    least: float
    most: float
    known: int

    def with_values(self, values: Values) -> Range:
        known = values[~np.isnan(values)]
        least, most = float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))
        return Range(min(self.least, least), max(self.most, most), self.known + len(known))


class Joined:
    """One value for each candidate, of rows that come in any order. The last one counts."""

    def __init__(
        self,
        kind: Any,
        missing: Any,
        sizes: Sequence[int],
        folder: Path,
        part_of: Callable[[Numbers], Numbers],
        only: Numbered | None,
    ) -> None:
        """Of parts with such `sizes`, by numpy's `kind`, and `missing` where no row says a value. `part_of` tells the
        parts of prompts; a single part's candidates are `only`, and then values find their places at once."""
        self._kind, self._missing, self._part_of = kind, missing, part_of
        self._rows = Aside([*KEY_ROW, ("value", kind)], len(sizes), folder)
        self._columns = Aside(kind, len(sizes), folder)
        self._only = None if only is None else (only, np.full(sizes[0], missing, dtype=kind))
        self._next = 0

    def add(self, key_R: Any, value_R: Any) -> None:
        if self._only is not None:
            keys, column = self._only
            places = keys.places(key_R, self._next)
            _put(column, places, value_R)
            self._next = int(places[-1]) + 1 if len(places) else self._next
            return
        rows = np.empty(len(key_R), dtype=[*KEY_ROW, ("value", self._kind)])
        for name, _ in KEY_ROW:
            rows[name] = key_R[name]
        rows["value"] = value_R
        self._rows.sort_in(self._part_of(rows["prompt"]), rows)

    def settle(self, part: int, keys: Numbered) -> None:
        """No more of a part will come."""
        if self._only is not None:
            _, column = self._only
        else:
            rows = self._rows.rows(part)
            column = np.full(len(keys.prompt_N), self._missing, dtype=self._kind)
            _put(column, keys.places(rows), rows["value"])
        self._columns.add(part, column)

    def close(self) -> None:
        """Nothing more will come at all: let go what was needed to put it in order."""
        del self._rows, self._only, self._part_of

    def column(self, part: int) -> Any:
        return self._columns.rows(part)


def _put(column: Any, places: Places, values: Any) -> None:
    there = places >= 0
    column[places[there]] = values[there]
