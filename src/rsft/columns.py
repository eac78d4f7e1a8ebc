"""Columns of a run folder's tables as numbers: whose rows they are, and texts that repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from rsft.selection.pool import Numbers, Places
from rsft.types import CandidateKey

KEY = ("prompt_id", "sample_index", "generator")
"""The columns that say which candidate of an iteration a row is of."""


class Keys:
    """Keys of N candidates of one iteration, as numbers: each has a place, in the order in which they are given."""

    def __init__(
        self,
        prompt_N: Numbers,
        sample_N: Numbers,
        generator_N: Any,
        prompt_ids: Sequence[str],
        generators: Sequence[str],
    ) -> None:
        self.prompt_N, self.sample_N, self.prompt_ids = prompt_N, sample_N, prompt_ids
        self._generator_N, self._generator_names = generator_N, generators
        # Families, of one prompt and one generator each, lie behind each other; each as wide as its greatest index
        # says. So a key's place is looked up at once, without a search.
        family_N = self._families(self._generator_N, self.prompt_N)
        self._width_F = np.zeros(len(prompt_ids) * len(generators) + 1, dtype=np.int32)
        np.maximum.at(self._width_F, family_N, self.sample_N + 1)
        self._start_F = np.cumsum(self._width_F, dtype=np.int64) - self._width_F
        self._place = np.full(int(self._width_F.sum(dtype=np.int64)), -1, dtype=np.int32)
        self._place[self._start_F[family_N] + self.sample_N] = np.arange(len(self), dtype=np.int32)

    @classmethod
    def of(cls, tables: Iterable[Any]) -> Keys:
        """Those of tables with the columns of `KEY`, in their order."""
        prompt_ids: dict[str, int] = {}
        names: dict[str, int] = {}
        columns = [
            (
                as_numbers(table["prompt_id"], new_numbers(prompt_ids)),
                np.asarray(table["sample_index"], dtype=np.int32),
                as_numbers(table["generator"], new_numbers(names)).astype(np.int16),
            )
            for table in tables
        ]
        prompts, samples, generators = zip(*columns, strict=True) if columns else ((), (), ())
        numbers = joined(prompts, np.int32), joined(samples, np.int32), joined(generators, np.int16)
        return cls(*numbers, list(prompt_ids), list(names))

    def __len__(self) -> int:
        return len(self.prompt_N)

    @cached_property
    def _prompts(self) -> Mapping[str, int]:
        return {prompt_id: number for number, prompt_id in enumerate(self.prompt_ids)}

    @cached_property
    def _generators(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self._generator_names)}

    def all(self, iteration: int) -> Iterator[CandidateKey]:
        """All keys, in the order of their places."""
        return (self.key(iteration, place) for place in range(len(self)))

    def key(self, iteration: int, place: int) -> CandidateKey:
        generator = self._generator_names[self._generator_N[place]]
        return CandidateKey(iteration, self.prompt_ids[self.prompt_N[place]], int(self.sample_N[place]), generator)

    def place(self, key: CandidateKey) -> int | None:
        """The place of a key of this iteration, whatever the key says of that; None if there is none."""
        prompt, generator = self._prompts.get(key.prompt_id, -1), self._generators.get(key.generator, -1)
        if prompt < 0 or generator < 0:
            return None
        family = generator * len(self._prompts) + prompt
        if not 0 <= key.sample_index < self._width_F[family]:
            return None
        place = int(self._place[self._start_F[family] + key.sample_index])
        return place if place >= 0 else None

    def places(self, table: Any) -> Places:
        """Of each row of a table with these columns its place among the keys; −1 if it is none of them."""
        prompt_R = as_numbers(table["prompt_id"], known_numbers(self._prompts))
        generator_R = as_numbers(table["generator"], known_numbers(self._generators))
        return self.places_of(prompt_R, np.asarray(table["sample_index"], dtype=np.int32), generator_R)

    def places_of(self, prompt_R: Numbers, sample_R: Numbers, generator_R: Numbers) -> Places:
        """The same of rows whose prompts and generators are numbers, −1 where they are none of these."""
        known_R = (prompt_R >= 0) & (generator_R >= 0)
        family_R = np.where(known_R, self._families(generator_R, prompt_R), len(self._width_F) - 1)
        known_R &= sample_R < self._width_F[family_R]
        places_R = np.full(len(sample_R), -1, dtype=np.intp)
        places_R[known_R] = self._place[self._start_F[family_R[known_R]] + sample_R[known_R]]
        return places_R

    def _families(self, generators: Any, prompts: Any) -> Places:
        """The numbers of families; that behind the last one is nobody's."""
        families: Places = generators.astype(np.intp) * len(self.prompt_ids) + prompts
        return families


def new_numbers(known: dict[str, int]) -> Callable[[Any], Sequence[int]]:
    """Gives the texts of an Arrow array numbers, one after the other."""
    return lambda texts: [known.setdefault(text, len(known)) for text in texts.to_pylist()]


def known_numbers(numbers: Mapping[str, int]) -> Callable[[Any], Sequence[int]]:
    """The numbers that the texts of an Arrow array have, −1 for another one."""
    return lambda texts: [*map(numbers.get, texts.to_pylist(), repeat(-1))]


def as_numbers(column: Any, numbers_of: Callable[[Any], Sequence[int] | Numbers]) -> Numbers:
    """(N,): the number of each text of a column, −1 where there is none; each different text of a part of the column is
    asked about once."""
    import pyarrow.compute as pc

    parts = []
    for chunk in column.chunks:
        indices = pc.fill_null(chunk.indices, len(chunk.dictionary)).to_numpy(zero_copy_only=False)
        # Only those that are there: a table that was filtered has the others' texts as well.
        there = np.flatnonzero(np.bincount(indices, minlength=len(chunk.dictionary) + 1)[:-1])
        numbers = np.full(len(chunk.dictionary) + 1, -1, dtype=np.int32)
        numbers[there] = numbers_of(chunk.dictionary.take(there))
        parts.append(numbers[indices])
    numbers_N: Numbers = joined(parts, np.int32)
    return numbers_N


def joined(parts: Sequence[Any], kind: Any) -> Any:
    """Arrays behind each other; an empty one of this kind where there are none."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
