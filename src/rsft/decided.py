"""What sets of decisions decided, read column by column from a run folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.budget import Tally
from rsft.columns import KEY, Keys, as_numbers, joined, new_numbers
from rsft.ids import Ids
from rsft.selection.pool import Mask, Numbers, Places
from rsft.store import RunFolder
from rsft.store.rows import candidate_of, schemas
from rsft.types import Candidate, CandidateKey, Decision, in_order_of_keys


class StoredDecisions:
    """The candidates on which a set of decisions decided in an iteration, and which of them it accepted."""

    def __init__(self, folder: RunFolder, iteration: int, name: str) -> None:
        accepted: list[Mask] = []

        def decided() -> Iterator[Any]:
            for table in folder.tables("decisions", f"{iteration}:{name}", [*KEY, "accepted"]):
                accepted.append(np.asarray(table["accepted"]))
                yield table

        self.keys = Keys.of(decided())
        self.accepted_N: Mask = joined(accepted, np.bool_)


def deciding_rules(folder: RunFolder, iteration: int, name: str) -> tuple[list[str], Numbers]:
    """The rules that decided in a set of decisions, and (N,): which of them decided on each candidate, in the order of
    `StoredDecisions`."""
    numbers: dict[str, int] = {}
    parts = [
        as_numbers(table["rule"], new_numbers(numbers))
        for table in folder.tables("decisions", f"{iteration}:{name}", ["rule"])
    ]
    return list(numbers), joined(parts, np.int32)


def counts_by_rule(folder: RunFolder, iteration: int, name: str) -> dict[str, int]:
    """How many candidates each rule decided on in a set of decisions, that which decided on most first."""
    numbers: dict[str, int] = {}
    counts = np.zeros(0, dtype=np.int64)
    for table in folder.tables("decisions", f"{iteration}:{name}", ["rule"]):
        more = np.bincount(as_numbers(table["rule"], new_numbers(numbers)), minlength=len(numbers))
        more[: len(counts)] += counts
        counts = more
    return dict(sorted(zip(numbers, counts.tolist(), strict=True), key=lambda one: -one[1]))


@dataclass(frozen=True, slots=True)
class Fared:
    """How prompts fared by a set of decisions: of each, by its number in `ids` (P,), how many candidates it had, and
    how many were accepted."""

    ids: Ids
    candidates_P: Places
    accepted_P: Places

    @classmethod
    def read(cls, folder: RunFolder, iteration: int, name: str, ids: Ids) -> Fared:
        """`ids` gets the prompts that it lacks."""
        counts = np.zeros((2, len(ids)), dtype=np.int64)
        for table in folder.tables("decisions", f"{iteration}:{name}", ["prompt_id", "accepted"]):
            prompt_R = as_numbers(table["prompt_id"], ids.new)
            counts = np.pad(counts, ((0, 0), (0, len(ids) - counts.shape[1])))
            counts[0] += np.bincount(prompt_R, minlength=len(ids))
            counts[1] += np.bincount(prompt_R[np.asarray(table["accepted"])], minlength=len(ids))
        return cls(ids, counts[0], counts[1])

    @property
    def any(self) -> bool:
        """Whether anything was decided."""
        return bool(self.candidates_P.any())

    @property
    def candidates(self) -> dict[str, int]:
        """How many candidates each prompt had, by its id; who had none is left out."""
        return self._by_prompt(self.candidates_P)

    @property
    def accepted(self) -> dict[str, int]:
        """How many of them were accepted; a prompt without any is left out."""
        return self._by_prompt(self.accepted_P)

    @property
    def tallies(self) -> dict[str, Tally]:
        """Both of each prompt that had candidates."""
        accepted = self.accepted
        return {prompt_id: Tally(count, accepted.get(prompt_id, 0)) for prompt_id, count in self.candidates.items()}

    def _by_prompt(self, count_P: Places) -> dict[str, int]:
        numbers = np.flatnonzero(count_P)
        return dict(zip(self.ids.take(numbers), count_P[numbers].tolist(), strict=True))


def accepted_candidates(folder: RunFolder, iteration: int, name: str) -> list[Candidate]:
    """The candidates that a set of decisions accepted in an iteration, in the order of their keys."""
    import pyarrow as pa

    decisions = folder.tables("decisions", f"{iteration}:{name}", [*KEY, "accepted"])
    keys = Keys.of(table.filter(table["accepted"]) for table in decisions)
    found: list[Candidate] = []
    for table in folder.tables("candidates", str(iteration), schemas()["candidates"].names):
        rows = table.filter(pa.array(keys.places(table) >= 0))
        found += map(candidate_of, zip(*(column.to_pylist() for column in rows.columns), strict=True))
    return sorted(found, key=lambda candidate: in_order_of_keys(candidate.key))


def first_decided(
    folder: RunFolder,
    iteration: int,
    name: str,
    most: int,
    *,
    accepted: bool | None = None,
    only: Mapping[str, Collection[str]] | None = None,
) -> dict[CandidateKey, Decision]:
    """The first decisions of a set in an iteration, in the order of keys: all there are, or those that `accepted`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first: Any = None
    for some in folder.tables("decisions", f"{iteration}:{name}", [*KEY, "accepted", "rule", "explanation"], only):
        table = some if accepted is None else some.filter(pc.equal(some["accepted"], accepted))
        table = pa.table({column: pc.cast(table[column], _plain(table[column].type)) for column in table.column_names})
        if first is not None and len(first) == most:
            table = table.filter(pc.less_equal(table["prompt_id"], first["prompt_id"][-1]))
        first = table if first is None else pa.concat_tables([first, table])
        first = first.sort_by([(column, "ascending") for column in KEY]).slice(0, most)
    found = first.to_pylist() if first is not None else []
    return {
        CandidateKey(iteration, row["prompt_id"], row["sample_index"], row["generator"]): Decision(
            row["accepted"], row["rule"], row["explanation"]
        )
        for row in found
    }


def _plain(kind: Any) -> Any:
    """The type of what a dictionary's numbers stand for."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind
