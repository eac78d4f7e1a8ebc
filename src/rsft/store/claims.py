"""Which keys are there: eight bytes a key, so that ten million can be held against each new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rsft.errors import StoreError
from rsft.store.segments import Segments

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

_KEYS = {
    "candidates": ("prompt_id", "sample_index", "generator"),
    "scores": ("prompt_id", "sample_index", "generator", "scorer", "fingerprint"),
}
"""What tells rows of an iteration apart; and for scores whether there is a value: a failed one can be made good."""

# Odd, so that no two numbers have the same product with one of them.
_NUMBER, _VALUE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


class Claims:
    """The keys of candidates and scores, as hashes. A key whose hash is not among them is not there; where it is, the
    rows themselves are looked at, so that no two keys are ever taken for one.

    Those of one scope of each kind are held, and read from the segments when they are asked for: a run writes to one
    iteration after the other.
    """

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._held: dict[str, tuple[str, _Runs]] = {}

    def refuse_known(self, kind: str, scope: str, table: Any) -> Hashes:
        """Raise StoreError for keys that are there already, or that come twice. Returns what to add."""
        hashes_N = _hashes(kind, table)
        known = self._looked_up(kind, scope, table.filter(self._of(kind, scope).met(hashes_N)))
        if known or len(np.unique(hashes_N)) < len(hashes_N):
            for key in _keys(kind, table):
                if key in known:
                    raise StoreError(f"{kind}: {key} is in the run folder already.")
                known.add(key)
        return hashes_N

    def add(self, kind: str, scope: str, hashes: Hashes) -> None:
        """What is there from now on."""
        self._of(kind, scope).add(hashes)

    def missing_scores(self, scope: str, table: Any) -> Any:
        """The rows of scores that are not there, neither like this nor, for one that failed, with a value."""
        runs = self._of("scores", scope)
        met_N = runs.met(_hashes("scores", table)) | runs.met(_hashes("scores", table, with_value=True))
        known = self._looked_up("scores", scope, table.filter(met_N))
        if not known:
            return table
        return table.filter([not known & {key, (*key[:-1], True)} for key in _keys("scores", table)])

    def _of(self, kind: str, scope: str) -> _Runs:
        held = self._held.get(kind)
        if held is None or held[0] != scope:
            self._held.pop(kind, None)
            runs = _Runs()
            runs.add(np.concatenate([np.zeros(0, np.uint64), *(_hashes(kind, t) for t in self._rows(kind, scope))]))
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
    """Hashes in sorted runs."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> None:
        """Runs are joined as soon as one is not twice as long as the next: there are few, whatever came."""
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        self._runs.append(run)

    def met(self, hashes: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(N,): whether each is among them."""
        order = np.argsort(hashes)  # neighbours are looked for where the one before was found
        met_N = np.zeros(len(hashes), dtype=np.bool_)
        for run in self._runs:
            if len(run):
                met_N[order] |= run[np.minimum(np.searchsorted(run, hashes[order]), len(run) - 1)] == hashes[order]
        return met_N


def _keys(kind: str, table: Any) -> Iterator[tuple[Any, ...]]:
    columns: list[Sequence[Any]] = [table[name].to_pylist() for name in _KEYS[kind]]
    if kind == "scores":
        columns.append(table["value"].is_valid().to_pylist())
    return zip(*columns, strict=True)


def _hashes(kind: str, table: Any, *, with_value: bool = False) -> Hashes:
    """(N,): hashes of the rows' keys; `with_value` those that scores would have if none had failed.

    Texts are hashed by Python's keyed hash, each different one once, and the hashes added up: two keys get the same sum
    by a chance of 1 in 2^64. They are the same within a process only.
    """
    sum_N: Hashes = table["sample_index"].to_numpy().astype(np.uint64) * _NUMBER
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
    return sum_N
