"""Pools of what a run folder holds, read column by column: ten million scores fit, as objects they would not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rsft.errors import RunError
from rsft.selection import Pool
from rsft.selection.pool import Mask, Numbers, Places
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Score

_KEY = ("prompt_id", "sample_index", "generator")


class StoredPool:
    """The train prompts' candidates of one iteration, with their scores, and which the run accepted: none, until it has
    decided."""

    def __init__(self, folder: RunFolder, iteration: int, fingerprints: Mapping[str, str]) -> None:
        tables = list(folder.tables("decisions", f"{iteration}:policy", [*_KEY, "accepted"]))
        decided = bool(tables)
        if not decided:
            tables = _drawn(folder, iteration)
        self.keys = Keys(tables)
        details = _Stored(folder, iteration, fingerprints, self.keys)
        self.texts_of = details.texts_of
        self.accepted_N: Mask = (
            np.concatenate([np.asarray(table["accepted"]) for table in tables])
            if decided
            else np.zeros(len(self.keys), dtype=np.bool_)
        )
        self.pool = Pool(
            prompt_ids=self.keys.prompt_ids,
            prompt_N=self.keys.prompt_N,
            sample_N=self.keys.sample_N,
            whole_N=self._whole(folder, iteration),
            scores=self._scores(folder, iteration, fingerprints),
            details=details,
            iteration=iteration,
        ).beside(_baselines(folder, iteration, fingerprints))

    def _whole(self, folder: RunFolder, iteration: int) -> Mask:
        import pyarrow as pa

        whole_N = np.zeros(len(self.keys), dtype=np.bool_)
        for table in folder.tables("candidates", str(iteration), [*_KEY, "finish_reason"]):
            places = self.keys.places(table)
            whole_N[places[places >= 0]] = _numbers(table["finish_reason"], pa.array(["stop"]))[places >= 0] == 0
        return whole_N

    def _scores(self, folder: RunFolder, iteration: int, fingerprints: Mapping[str, str]) -> dict[str, Any]:
        import pyarrow as pa

        columns = {name: np.full(len(self.keys), np.nan) for name in fingerprints}
        names, prints = pa.array(list(fingerprints)), pa.array(list(dict.fromkeys(fingerprints.values())))
        for table in folder.tables("scores", str(iteration), [*_KEY, "scorer", "fingerprint", "value"]):
            places, values = self.keys.places(table), table["value"].to_numpy(zero_copy_only=False)
            scorers, of = _numbers(table["scorer"], names), _numbers(table["fingerprint"], prints)
            # A failed score may have been made good in a later segment, never the other way round.
            known = (places >= 0) & ~np.isnan(values)
            for number, (name, fingerprint) in enumerate(fingerprints.items()):
                mine = known & (scorers == number) & (of == prints.index(fingerprint).as_py())
                columns[name][places[mine]] = values[mine]
        return columns


def _baselines(
    folder: RunFolder, iteration: int, fingerprints: Mapping[str, str]
) -> Mapping[str, Mapping[str, Mapping[str, Score]]]:
    """The scores of the iteration's baselines, by baseline, prompt and scorer."""
    done = folder.stage_done(iteration, "policy", "sample") or {}
    found = {}
    for name, generator in done.get("baselines", {}).items():
        scores = folder.scores(iteration=iteration, generator=generator, fingerprints=fingerprints)
        found[name] = {key.prompt_id: said for key, said in scores.items()}
    return found


def _drawn(folder: RunFolder, iteration: int) -> list[Any]:
    """The keys of what the policy's finished sample stage drew. Raises RunError if there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    done = folder.stage_done(iteration, "policy", "sample")
    if done is None:
        raise RunError(f"The run {folder.path} has not drawn all candidates of iteration {iteration} yet.")
    trained_on, generators = pa.array([p.id for p in folder.load_prompts("train")]), pa.array(done["generators"])
    return [
        table.filter(pc.and_(pc.is_in(table["prompt_id"], trained_on), pc.is_in(table["generator"], generators)))
        for table in folder.tables("candidates", str(iteration), [*_KEY])
    ]


class Keys:
    """Keys of candidates of one iteration, as numbers."""

    def __init__(self, tables: Sequence[Any]) -> None:
        import pyarrow as pa

        self._prompts = pa.concat_arrays([_dictionary(table["prompt_id"]) for table in tables]).unique()
        self._generators = pa.concat_arrays([_dictionary(table["generator"]) for table in tables]).unique()
        self.sample_N: Numbers = np.concatenate([np.asarray(table["sample_index"], dtype=np.int32) for table in tables])
        self._samples = int(self.sample_N.max(initial=0)) + 1
        self.prompt_N: Numbers = np.concatenate([_numbers(table["prompt_id"], self._prompts) for table in tables])
        self._codes = np.concatenate([self._codes_of(table) for table in tables])
        self._order = np.argsort(self._codes, kind="stable")
        self._sorted = self._codes[self._order]

    def __len__(self) -> int:
        return len(self._codes)

    @cached_property
    def prompt_ids(self) -> list[str]:
        return list(self._prompts.to_pylist())

    def all(self, iteration: int) -> list[CandidateKey]:
        """All keys, in the order of their places."""
        return [self.key(iteration, place) for place in range(len(self))]

    def key(self, iteration: int, place: int) -> CandidateKey:
        generator = self._generators[int(self._codes[place]) // (len(self._prompts) * self._samples)].as_py()
        return CandidateKey(iteration, self.prompt_ids[self.prompt_N[place]], int(self.sample_N[place]), generator)

    def places(self, table: Any) -> Places:
        """Of each row of a table with these columns its place among the keys; −1 if it is none of them."""
        codes = self._codes_of(table)
        nearest = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        return np.where(self._sorted[nearest] == codes, self._order[nearest], -1)

    def _codes_of(self, table: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        """A number for each key; −1 for one with parts that no key has."""
        prompts = _numbers(table["prompt_id"], self._prompts).astype(np.int64)
        generators = _numbers(table["generator"], self._generators).astype(np.int64)
        samples = np.asarray(table["sample_index"], dtype=np.int64)
        codes = (generators * len(self._prompts) + prompts) * self._samples + samples
        return np.where((prompts >= 0) & (generators >= 0) & (samples < self._samples), codes, -1)


def _numbers(column: Any, values: Any) -> Numbers:
    """Of each text of a column its number among these values, −1 for another."""
    import pyarrow.compute as pc

    parts = []
    for chunk in column.chunks:
        known = pc.fill_null(pc.index_in(chunk.dictionary, value_set=values), -1).to_numpy(zero_copy_only=False)
        parts.append(known.astype(np.int32)[chunk.indices.to_numpy(zero_copy_only=False)])
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


class _Stored:
    """Details that are read from the folder when somebody asks for one."""

    def __init__(self, folder: RunFolder, iteration: int, fingerprints: Mapping[str, str], keys: Keys) -> None:
        self._folder, self._iteration, self._fingerprints, self._keys = folder, iteration, fingerprints, keys

    @cached_property
    def texts(self) -> Sequence[str]:
        texts = self.texts_of(np.arange(len(self._keys)))
        return [texts[place] for place in range(len(self._keys))]

    def texts_of(self, places: Places) -> Mapping[int, str]:
        """The texts of some, by their places."""
        found: dict[int, str] = {}
        for table in self._folder.tables("candidates", str(self._iteration), [*_KEY, "text"]):
            there = self._keys.places(table)
            rows = np.flatnonzero(np.isin(there, places))
            found |= zip(there[rows].tolist(), table["text"].take(rows).to_pylist(), strict=True)
        return found

    def candidate(self, place: int) -> Candidate:
        return self._candidates[self._keys.key(self._iteration, place)]

    def score(self, name: str, place: int) -> Score:
        return self._scores[self._keys.key(self._iteration, place)][name]

    @cached_property
    def _candidates(self) -> Mapping[CandidateKey, Candidate]:
        return {candidate.key: candidate for candidate in self._folder.candidates(iteration=self._iteration)}

    @cached_property
    def _scores(self) -> Mapping[CandidateKey, Mapping[str, Score]]:
        return self._folder.scores(iteration=self._iteration, fingerprints=self._fingerprints)


def _dictionary(column: Any) -> Any:
    """The different texts of a column."""
    import pyarrow as pa

    return (
        pa.concat_arrays([chunk.dictionary for chunk in column.chunks]) if column.chunks else pa.array([], pa.string())
    )
