"""Which keys are there: a bit a key, so that a hundred million can be held against each new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.errors import StoreError
from rsft.store.segments import Segments

Words = np.ndarray[Any, np.dtype[np.uint64]]

_KEYS = {
    "candidates": ("prompt_id", "sample_index", "generator"),
    "scores": ("prompt_id", "sample_index", "generator", "scorer", "fingerprint"),
}
"""What tells rows of an iteration apart; and for scores whether there is a value: a failed one can be made good."""

# Odd, so that no two numbers have the same product with it; and what is added to the hash of a score that has a value.
_ODD, _VALUE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Marks:
    """Keys of N rows, each as a hash of all but its sample index's last six bits, and the bit that stands for these.

    Texts are hashed by Python's keyed hash, each different one once, and the hashes added up: two keys get the same sum
    by a chance of 1 in 2^64. They are the same within a process only.
    """

    hash_N: Words
    bit_N: Words

    def twice(self) -> bool:
        """Whether one of them may come twice."""
        return len(np.unique(self.hash_N ^ (self.bit_N * _ODD))) < len(self.hash_N)


class Claims:
    """The keys of candidates and scores, as hashes. A key whose hash is not among them is not there; where it is, the
    rows themselves are looked at, so that no two keys are ever taken for one.

    Those of one scope of each kind are held, and read from the segments when they are asked for: a run writes to one
    iteration after the other. A prompt's candidates, up to 64 of one generator, take 16 bytes together, and so do what
    a scorer said of them.
    """

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._held: dict[str, tuple[str, _Runs]] = {}

    def refuse_known(self, kind: str, scope: str, table: Any) -> Marks:
        """Raise StoreError for keys that are there already, or that come twice. Returns what to add."""
        marks = _marks(kind, table)
        known = self._looked_up(kind, scope, table.filter(self._of(kind, scope).met(marks)))
        if known or marks.twice():
            for key in _keys(kind, table):
                if key in known:
                    raise StoreError(f"{kind}: {key} is in the run folder already.")
                known.add(key)
        return marks

    def add(self, kind: str, scope: str, marks: Marks) -> None:
        """What is there from now on."""
        self._of(kind, scope).add(marks)

    def missing_scores(self, scope: str, table: Any) -> Any:
        """The rows of scores that are not there, neither like this nor, for one that failed, with a value."""
        runs = self._of("scores", scope)
        met_N = runs.met(_marks("scores", table)) | runs.met(_marks("scores", table, with_value=True))
        known = self._looked_up("scores", scope, table.filter(met_N))
        if not known:
            return table
        return table.filter([not known & {key, (*key[:-1], True)} for key in _keys("scores", table)])

    def _of(self, kind: str, scope: str) -> _Runs:
        held = self._held.get(kind)
        if held is None or held[0] != scope:
            self._held.pop(kind, None)
            runs = _Runs()
            for table in self._rows(kind, scope):
                runs.add(_marks(kind, table))
            held = self._held[kind] = scope, runs
        return held[1]

    def _looked_up(self, kind: str, scope: str, suspects: Any) -> set[Any]:
        """The keys that the folder holds of a table's prompts."""
        if not len(suspects):
            return set()
        prompt_ids = set(suspects["prompt_id"].to_pylist())
        return {key for table in self._rows(kind, scope, {"prompt_id": prompt_ids}) for key in _keys(kind, table)}

    def _rows(self, kind: str, scope: str, only: Any = None) -> Iterator[Any]:
        texts = [name for name in _KEYS[kind] if name != "sample_index"]
        columns = [*_KEYS[kind], *(["value"] if kind == "scores" else [])]
        return self._segments.tables(kind, scope, columns, as_numbers=texts, only=only)


class _Runs:
    """Hashes in sorted runs, each once, with all bits that are there of it."""

    def __init__(self) -> None:
        self._runs: list[tuple[Words, Words]] = []

    def add(self, marks: Marks) -> None:
        """Runs are joined as soon as one is not twice as long as the next: there are few, whatever came."""
        run = _gathered(marks.hash_N, marks.bit_N)
        while self._runs and len(self._runs[-1][0]) < 2 * len(run[0]):
            before = self._runs.pop()
            run = _gathered(np.concatenate([before[0], run[0]]), np.concatenate([before[1], run[1]]))
        if len(run[0]):
            self._runs.append(run)

    def met(self, marks: Marks) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(N,): whether each is among them."""
        order = np.argsort(marks.hash_N)  # neighbours are looked for where the one before was found
        hash_N, bit_N = marks.hash_N[order], marks.bit_N[order]
        met_N = np.zeros(len(order), dtype=np.bool_)
        for hashes, bits in self._runs:
            at = np.minimum(np.searchsorted(hashes, hash_N), len(hashes) - 1)
            met_N[order] |= (hashes[at] == hash_N) & (bits[at] & bit_N != 0)
        return met_N


def _gathered(hashes: Words, bits: Words) -> tuple[Words, Words]:
    """Each hash once, sorted, with all its bits."""
    order = np.argsort(hashes, kind="stable")
    hashes, bits = hashes[order], bits[order]
    first = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])) if len(hashes) else order
    return hashes[first], np.bitwise_or.reduceat(bits, first) if len(first) else bits


def _keys(kind: str, table: Any) -> Iterator[tuple[Any, ...]]:
    columns: list[Sequence[Any]] = [table[name].to_pylist() for name in _KEYS[kind]]
    if kind == "scores":
        columns.append(table["value"].is_valid().to_pylist())
    return zip(*columns, strict=True)


def _marks(kind: str, table: Any, *, with_value: bool = False) -> Marks:
    """The marks of the rows' keys; `with_value` those that scores would have if none had failed."""
    sample_N: Words = table["sample_index"].to_numpy().astype(np.uint64)
    sum_N = (sample_N >> np.uint64(6)) * _ODD
    for column in _KEYS[kind]:
        if column == "sample_index":
            continue
        said = table[column]
        encoded = said if str(said.type).startswith("dictionary") else said.dictionary_encode()
        at = 0
        for chunk in encoded.chunks:
            of_texts = [hash((column, text)) for text in chunk.dictionary.to_pylist()]
            indices = chunk.indices.to_numpy(zero_copy_only=False)
            sum_N[at : at + len(chunk)] += np.array(of_texts, dtype=np.int64).view(np.uint64)[indices]
            at += len(chunk)
    if kind == "scores":
        valid_N = True if with_value else table["value"].is_valid().to_numpy()
        sum_N += np.asarray(valid_N, dtype=np.uint64) * _VALUE
    return Marks(sum_N, np.uint64(1) << (sample_N & np.uint64(63)))
