"""Some prompts' candidates by numbers, and where rows of theirs belong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rsft.columns import Keys
from rsft.ids import Ids
from rsft.selection.pool import Numbers, Places


class Numbered:
    """A part's candidates by numbers: of their prompts in the part and their sample indices (N,); `number_P` are the
    numbers that these prompts have among all (P,)."""

    def __init__(self, rows: Any, ids: Ids, generators: Sequence[str]) -> None:
        """`rows` have a `prompt`, numbered by `ids`, a `sample`, and a `generator`, numbered by `generators`."""
        self._rows = rows
        self._least = int(rows["prompt"].min()) if len(rows) else 0
        prompt_N = rows["prompt"] - self._least
        there = np.bincount(prompt_N) > 0
        # From the least number on those that prompts have in the part, -1 for another part's.
        self._own = np.append(np.where(there, np.cumsum(there) - 1, -1), -1).astype(np.int32)
        self.number_P: Numbers = (self._least + np.flatnonzero(there)).astype(np.int32)
        self.prompt_N: Numbers = self._own[prompt_N]
        self.sample_N: Numbers = rows["sample"].copy()
        self._generator_N, self._generators = rows["generator"].copy(), generators
        self.prompt_ids = ids.take(self.number_P)

    @cached_property
    def keys(self) -> Keys:
        return Keys(self.prompt_N, self.sample_N, self._generator_N, self.prompt_ids, self._generators)

    def places(self, key_R: Any, first: int = 0) -> Places:
        """Where rows with keys have their candidates in the part; −1 for none. It is told at once of rows that are just
        those of the candidates from the place `first` on, as most are."""
        same = self._rows[first : first + len(key_R)]
        if len(same) == len(key_R) and all((same[name] == key_R[name]).all() for name in key_R.dtype.names[:3]):
            return np.arange(first, first + len(key_R))
        prompt_R = key_R["prompt"] - self._least
        last = len(self._own) - 1
        own_R = self._own[np.where((prompt_R >= 0) & (prompt_R < last), prompt_R, last)]
        return self.keys.places_of(own_R, key_R["sample"], key_R["generator"])
