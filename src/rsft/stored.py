"""Pools of what a run folder holds, read column by column: ten million candidates fit, as objects they would not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rsft.columns import KEY, Keys, as_numbers, known_numbers, new_numbers
from rsft.decided import StoredDecisions
from rsft.errors import RunError
from rsft.selection import Pool
from rsft.selection.pool import Mask, Numbers, Places
from rsft.store import RunFolder
from rsft.store.rows import candidate_of, schemas
from rsft.types import Candidate, Score

# Details are held of so many candidates in a row: who asks for one goes on to the next, as a rule.
_WINDOW = 32_768
# Beyond so many prompts, looking up which parts of a file hold them saves nothing.
_MANY_PROMPTS = 20_000


class StoredPool:
    """The train prompts' candidates of one iteration, with their scores, and which a set of decisions accepted (by
    default the run's own): none, until it has decided. `unfinished` takes what is drawn so far where it has not."""

    def __init__(
        self,
        folder: RunFolder,
        iteration: int,
        fingerprints: Mapping[str, str],
        name: str = "policy",
        *,
        unfinished: bool = False,
    ) -> None:
        said = StoredDecisions(folder, iteration, name)
        self.decided = len(said.keys) > 0
        self.keys = said.keys if self.decided else Keys(_drawn(folder, iteration, unfinished=unfinished))
        self.fingerprints = dict(fingerprints)
        details = _Stored(folder, iteration, fingerprints, self.keys)
        self.texts_of = details.texts_of
        self.accepted_N: Mask = said.accepted_N if self.decided else np.zeros(len(self.keys), dtype=np.bool_)
        self.pool = Pool(
            prompt_ids=self.keys.prompt_ids,
            prompt_N=self.keys.prompt_N,
            sample_N=self.keys.sample_N,
            whole_N=details.whole_N,
            scores=stored_scores(folder, iteration, fingerprints, self.keys),
            details=details,
            iteration=iteration,
        ).beside(_baselines(folder, iteration, fingerprints))


class Stock:
    """What the folder holds of some generators' candidates in an iteration, and which of them have a word of every
    scorer: what tells, of millions, which are still owed."""

    def __init__(
        self, folder: RunFolder, iteration: int, generators: Collection[str], fingerprints: Mapping[str, str]
    ) -> None:
        self.keys = Keys(folder.tables("candidates", str(iteration), [*KEY], {"generator": generators}))
        scores = stored_scores(folder, iteration, fingerprints, self.keys)
        self.scored_N: Mask = np.ones(len(self.keys), dtype=np.bool_)
        for values_N in scores.values():
            self.scored_N &= ~np.isnan(values_N)

    def missing(self, generator: str, prompt_ids: Sequence[str], samples: int) -> tuple[Places, Numbers]:
        """Of each of P prompts those of the first sample indices of which there is no candidate, as prompts' places and
        indices, in order."""
        there_PS = np.zeros((len(prompt_ids), samples), dtype=np.bool_)
        for place, prompt_id in enumerate(prompt_ids):
            known = self.keys.samples(prompt_id, generator)
            there_PS[place, known[known < samples]] = True
        prompts, indices = np.nonzero(~there_PS)
        return prompts, indices.astype(np.int32)


def stored_scores(folder: RunFolder, iteration: int, fingerprints: Mapping[str, str], keys: Keys) -> dict[str, Any]:
    """The values that scorers with these fingerprints gave to the candidates (N,), NaN where there is none."""
    columns = {name: np.full(len(keys), np.nan) for name in fingerprints}
    for name, places, table in _said(folder, iteration, fingerprints, keys, ["value"]):
        values = table["value"].to_numpy()
        # A failed score may have been made good in a later segment, never the other way round.
        known = ~np.isnan(values)
        columns[name][places[known]] = values[known]
    return columns


def _said(
    folder: RunFolder,
    iteration: int,
    fingerprints: Mapping[str, str],
    keys: Keys,
    columns: Sequence[str],
    only: Mapping[str, Collection[str]] | None = None,
) -> Iterator[tuple[str, Places, Any]]:
    """Some columns of what the scorers with these fingerprints said, in the order of its making: whose words they are,
    the places of the candidates that they are of, and the rows."""
    names = {name: number for number, name in enumerate(fingerprints)}
    prints = {said: number for number, said in enumerate(dict.fromkeys(fingerprints.values()))}
    for table in folder.tables("scores", str(iteration), [*KEY, "scorer", "fingerprint", *columns], only):
        places, words = keys.places(table), table.select(columns)
        scorers, of = (
            as_numbers(table["scorer"], known_numbers(names)),
            as_numbers(table["fingerprint"], known_numbers(prints)),
        )
        for name, fingerprint in fingerprints.items():
            mine = (places >= 0) & (scorers == names[name]) & (of == prints[fingerprint])
            if mine.any():
                yield name, places[mine], words.filter(mine)


def stored_lengths(folder: RunFolder, iteration: int, keys: Keys) -> Iterator[tuple[Places, Places]]:
    """Some places after the other, with the numbers of tokens of the candidates there."""
    import pyarrow.compute as pc

    for table in folder.tables("candidates", str(iteration), [*KEY, "token_ids"]):
        places, lengths = keys.places(table), pc.list_value_length(table["token_ids"]).to_numpy()
        yield places[places >= 0], lengths[places >= 0].astype(np.intp)


def _baselines(
    folder: RunFolder, iteration: int, fingerprints: Mapping[str, str]
) -> Mapping[str, Mapping[str, Mapping[str, Score]]]:
    """The scores of the iteration's baselines, by baseline, prompt and scorer."""
    done = folder.stage_done(iteration, "policy", "sample") or {}
    found = {}
    for name, generator in done.get("baselines", {}).items():
        scores = folder.scores(iteration=iteration, generators=[generator], fingerprints=fingerprints)
        found[name] = {key.prompt_id: said for key, said in scores.items()}
    return found


def _drawn(folder: RunFolder, iteration: int, *, unfinished: bool) -> Iterator[Any]:
    """The keys of what the policy's finished sample stage drew. Raises RunError if there is none, unless an
    `unfinished` one will do: then all that is drawn for train prompts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    done = folder.stage_done(iteration, "policy", "sample")
    if done is None and not unfinished:
        raise RunError(f"The run {folder.path} has not drawn all candidates of iteration {iteration} yet.")
    only = None if done is None else {"generator": done["generators"]}
    trained_on = pa.array(folder.prompt_ids("train"), type=pa.string())
    for table in folder.tables("candidates", str(iteration), [*KEY], only):
        yield table.filter(pc.is_in(table["prompt_id"], trained_on))


class _Stored:
    """Details that are read from the folder when somebody asks for one."""

    def __init__(self, folder: RunFolder, iteration: int, fingerprints: Mapping[str, str], keys: Keys) -> None:
        self._folder, self._iteration, self._fingerprints, self._keys = folder, iteration, fingerprints, keys
        self._candidates_from, self._scores_from = -1, -1
        self._candidates: tuple[Any, Any] = None, None
        self._scores: dict[str, list[Any]] = {}

    @cached_property
    def texts(self) -> Sequence[str]:
        texts = self.texts_of(np.arange(len(self._keys)))
        return [texts[place] for place in range(len(self._keys))]

    def texts_of(self, places: Places) -> Mapping[int, str]:
        """The texts of some, by their places."""
        found: dict[int, str] = {}
        prompts = np.unique(self._keys.prompt_N[places])
        few = len(prompts) < _MANY_PROMPTS
        only = {"prompt_id": [self._keys.prompt_ids[prompt] for prompt in prompts]} if few else None
        for table in self._folder.tables("candidates", str(self._iteration), [*KEY, "text"], only):
            there = self._keys.places(table)
            rows = np.flatnonzero(np.isin(there, places))
            found |= zip(there[rows].tolist(), table["text"].take(rows).to_pylist(), strict=True)
        return found

    @property
    def whole_N(self) -> Mask:
        """(N,): which candidates came to their own end."""
        return self._ends[0]

    def ended_by(self, places: Places) -> Sequence[str | None]:
        _, by_N, rules = self._ends
        return [rules[number] if number >= 0 else None for number in by_N[places].tolist()]

    @cached_property
    def _ends(self) -> tuple[Mask, Numbers, Sequence[str]]:
        """Which candidates are whole (N,), the numbers of the rules that ended others while they were drawn (N,), −1
        for no rule, and these rules."""
        whole_N: Mask = np.zeros(len(self._keys), dtype=np.bool_)
        by_N = np.full(len(self._keys), -1, dtype=np.int32)
        names: dict[str, int] = {}
        finish = known_numbers({"stop": 0, "ended": 1})
        columns = [*KEY, "finish_reason", "ended_by"]
        for table in self._folder.tables("candidates", str(self._iteration), columns):
            there = self._keys.places(table)
            places, finish_R = there[there >= 0], as_numbers(table["finish_reason"], finish)[there >= 0]
            whole_N[places] = finish_R == 0
            by_N[places] = np.where(finish_R == 1, as_numbers(table["ended_by"], new_numbers(names))[there >= 0], -1)
        return whole_N, by_N, list(names)

    def candidate(self, place: int) -> Candidate:
        start = place - place % _WINDOW
        if self._candidates_from != start:
            self._candidates_from, self._candidates = start, self._candidates_at(start)
        table, row_of = self._candidates
        return candidate_of([column[int(row_of[place - start])].as_py() for column in table.columns])

    def score(self, name: str, place: int) -> Score:
        start = place - place % _WINDOW
        if self._scores_from != start:
            self._scores_from, self._scores = start, self._scores_at(start)
        said = self._scores[name][place - start]
        return Score.failed("there is no score") if said is None else Score(*said)

    def _candidates_at(self, start: int) -> tuple[Any, Places]:
        """The rows of a window's candidates, and which is whose."""
        import pyarrow as pa

        columns = schemas()["candidates"].names
        row_of: Places = np.full(_WINDOW, -1)
        parts: list[Any] = []
        for table in self._folder.tables("candidates", str(self._iteration), columns, self._prompts_at(start)):
            places = self._keys.places(table) - start
            rows = np.flatnonzero((places >= 0) & (places < _WINDOW))
            row_of[places[rows]] = sum(len(part) for part in parts) + np.arange(len(rows))
            parts.append(table.take(rows).cast(schemas()["candidates"]))
        return pa.concat_tables(parts).combine_chunks(), row_of

    def _scores_at(self, start: int) -> dict[str, list[Any]]:
        """What each scorer said of a window's candidates: value, explanation, failure."""
        held: dict[str, list[Any]] = {name: [None] * _WINDOW for name in self._fingerprints}
        words = ["value", "explanation", "failure"]
        some = _said(self._folder, self._iteration, self._fingerprints, self._keys, words, only=self._prompts_at(start))
        for name, places, table in some:
            near = (places >= start) & (places < start + _WINDOW)
            of_place = held[name]
            rows = zip(*(column.to_pylist() for column in table.filter(near).columns), strict=True)
            for place, row in zip((places[near] - start).tolist(), rows, strict=True):
                of_place[place] = row
        return held

    def _prompts_at(self, start: int) -> Mapping[str, Collection[str]]:
        """Whose rows a window's are among."""
        prompts = np.unique(self._keys.prompt_N[start : start + _WINDOW])
        return {"prompt_id": [self._keys.prompt_ids[prompt] for prompt in prompts]}
