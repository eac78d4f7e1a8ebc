"""Which keys of a scope are there: eight bytes a key, so that ten million can be held against each new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

# Odd, so that no two numbers have the same product with one of them.
_NUMBER, _KNOWN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


class Claims:
    """Hashes of keys, in sorted runs. A key whose hash is not among them is not there; one whose hash is may be."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> None:
        """Add some. Runs are joined as soon as one is not twice as long as the next: there are few, whatever came."""
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        self._runs.append(run)

    def met(self, hashes: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(N,): whether each is among them."""
        met_N = np.zeros(len(hashes), dtype=np.bool_)
        for run in self._runs:
            if len(run):
                met_N |= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] == hashes
        return met_N


def hashes(table: Any, texts: Sequence[str], number: str, known: Any = None) -> Hashes:
    """(N,): a hash of each row's texts and number, and of whether it is `known` (N,). The same in one process only.

    Texts are hashed by Python's keyed hash, each different one once, and the hashes added up: two keys get the same sum
    by a chance of 1 in 2^64.
    """
    sum_N: Hashes = table[number].to_numpy().astype(np.uint64) * _NUMBER
    for column in texts:
        said = table[column]
        encoded = said if str(said.type).startswith("dictionary") else said.dictionary_encode()
        at = 0
        for chunk in encoded.chunks:
            of_texts = [hash((column, text)) for text in chunk.dictionary.to_pylist()]
            indices = chunk.indices.to_numpy(zero_copy_only=False)
            sum_N[at : at + len(chunk)] += np.array(of_texts, dtype=np.int64).view(np.uint64)[indices]
            at += len(chunk)
    if known is not None:
        sum_N += np.asarray(known, dtype=np.uint64) * _KNOWN
    return sum_N
