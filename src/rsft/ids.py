"""The ids of a run's prompts, each with a number: some thirty bytes each, where texts of Python take two hundred."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from rsft.selection.pool import Numbers
from rsft.store import RunFolder


class Ids:
    """Texts and their numbers, in order: those that are given first, and behind them any others that come up.

    The first are found by their hashes (of this process), which are sorted; a text that is found so is looked at, so
    that no two are ever taken for one.
    """

    def __init__(self, texts: Iterable[Any]) -> None:
        """`texts` are Arrow arrays of texts, none of which comes twice."""
        import pyarrow as pa

        arrays = [array.cast(pa.large_string()) for array in texts]
        self._texts = pa.concat_arrays(arrays) if arrays else pa.array([], type=pa.large_string())
        hashes = _hashes(self._texts)
        self._number = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hash = hashes[self._number]
        # Of two with one hash, the second is found as those are that came up later.
        twice = self._number[1:][self._hash[1:] == self._hash[:-1]]
        self._others = dict(zip(self.take(twice), twice.tolist(), strict=True))
        self._later: list[str] = []

    @classmethod
    def of_train(cls, folder: RunFolder) -> Ids:
        """The ids of a run's train prompts, in their order."""
        import pyarrow.compute as pc

        tables = (
            table
            for scope in folder.ledger.scopes("prompts")
            for table in folder.tables("prompts", scope, ["split", "id"])
        )
        return cls(chunk for table in tables for chunk in table["id"].filter(pc.equal(table["split"], "train")).chunks)

    def __len__(self) -> int:
        return len(self._texts) + len(self._later)

    def known(self, texts: Any) -> Numbers:
        """The numbers of the texts of an Arrow array; −1 for one that is not known."""
        import pyarrow as pa
        import pyarrow.compute as pc

        said = texts.to_pylist()
        if not len(self._texts):
            return np.fromiter(map(self._others.get, said, repeat(-1)), np.int32, count=len(said))
        hashes = np.fromiter(map(hash, said), np.int64, count=len(said))
        at = np.minimum(np.searchsorted(self._hash, hashes), len(self._hash) - 1)
        numbers: Numbers = self._number[at]
        same = pc.equal(self._texts.take(pa.array(numbers)), texts.cast(pa.large_string()))
        for place in np.flatnonzero(~np.asarray(same, dtype=np.bool_)).tolist():
            numbers[place] = self._others.get(said[place], -1)
        return numbers

    def new(self, texts: Any) -> Numbers:
        """The same; one that is not known gets the next number."""
        numbers = self.known(texts)
        for place in np.flatnonzero(numbers < 0).tolist():
            text = texts[place].as_py()
            if text not in self._others:
                self._others[text] = len(self)
                self._later.append(text)
            numbers[place] = self._others[text]
        return numbers

    def take(self, numbers: Any) -> Sequence[str]:
        """The texts with these numbers."""
        import pyarrow as pa

        numbers = np.asarray(numbers, dtype=np.int64)
        first = len(self._texts)
        if not len(numbers) or numbers.max() < first:
            found: list[str] = self._texts.take(pa.array(numbers)).to_pylist()
            return found
        return [self._texts[n].as_py() if n < first else self._later[n - first] for n in numbers.tolist()]


def _hashes(texts: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(N,): some at a time, so that not all are texts of Python at once."""
    parts = (texts.slice(start, 65_536).to_pylist() for start in range(0, len(texts), 65_536))
    return np.fromiter((hash(text) for part in parts for text in part), np.int64, count=len(texts))
