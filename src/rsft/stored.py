"""Pools of what a run folder holds, read column by column: ten million candidates fit, as objects they would not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from rsft.errors import RunError
from rsft.selection import Pool
from rsft.selection.pool import Mask, Numbers, Places
from rsft.store import RunFolder
from rsft.store.rows import candidate_of, schemas
from rsft.types import Candidate, CandidateKey, Decision, Score

_KEY = ("prompt_id", "sample_index", "generator")
# Details are held of so many candidates in a row: who asks for one goes on to the next, as a rule.
_WINDOW = 32_768
# Beyond so many prompts, looking up which parts of a file hold them saves nothing.
_MANY_PROMPTS = 20_000


class StoredDecisions:
    """The candidates on which a set of decisions decided in an iteration, and which of them it accepted."""

    def __init__(self, folder: RunFolder, iteration: int, name: str) -> None:
        accepted: list[Mask] = []

        def decided() -> Iterator[Any]:
            for table in folder.tables("decisions", f"{iteration}:{name}", [*_KEY, "accepted"]):
                accepted.append(np.asarray(table["accepted"]))
                yield table

        self.keys = Keys(decided())
        self.accepted_N: Mask = _joined(accepted, np.bool_)


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
        self.keys = Keys(folder.tables("candidates", str(iteration), [*_KEY], {"generator": generators}))
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


class Keys:
    """Keys of candidates of one iteration, as numbers: each has a place, in the order of the tables that it is read
    from."""

    def __init__(self, tables: Iterable[Any]) -> None:
        self._prompts: dict[str, int] = {}
        self._generators: dict[str, int] = {}
        columns = [
            (
                _numbers(table["prompt_id"], _numbering(self._prompts)),
                np.asarray(table["sample_index"], dtype=np.int32),
                _numbers(table["generator"], _numbering(self._generators)).astype(np.int16),
            )
            for table in tables
        ]
        prompts, samples, generators = zip(*columns, strict=True) if columns else ((), (), ())
        self.prompt_N: Numbers = _joined(prompts, np.int32)
        self.sample_N: Numbers = _joined(samples, np.int32)
        self._generator_N = _joined(generators, np.int16)
        # Families, of one prompt and one generator each, lie behind each other; each as wide as its greatest index
        # says. So a key's place is looked up at once, without a search.
        family_N = self._families(self._generator_N, self.prompt_N)
        self._width_F = np.zeros(len(self._prompts) * len(self._generators) + 1, dtype=np.int32)
        np.maximum.at(self._width_F, family_N, self.sample_N + 1)
        self._start_F = np.cumsum(self._width_F, dtype=np.int64) - self._width_F
        self._place = np.full(int(self._width_F.sum(dtype=np.int64)), -1, dtype=np.int32)
        self._place[self._start_F[family_N] + self.sample_N] = np.arange(len(self), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.prompt_N)

    @cached_property
    def prompt_ids(self) -> list[str]:
        return list(self._prompts)

    @cached_property
    def _generator_names(self) -> list[str]:
        return list(self._generators)

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

    def samples(self, prompt_id: str, generator: str) -> Numbers:
        """The sample indices of a prompt's candidates by a generator."""
        prompt, number = self._prompts.get(prompt_id, -1), self._generators.get(generator, -1)
        if prompt < 0 or number < 0:
            return np.zeros(0, dtype=np.int32)
        family = number * len(self._prompts) + prompt
        start = self._start_F[family]
        return np.flatnonzero(self._place[start : start + self._width_F[family]] >= 0).astype(np.int32)

    def places(self, table: Any) -> Places:
        """Of each row of a table with these columns its place among the keys; −1 if it is none of them."""
        prompt_R = _numbers(table["prompt_id"], _known(self._prompts))
        generator_R = _numbers(table["generator"], _known(self._generators))
        sample_R = np.asarray(table["sample_index"], dtype=np.int32)
        known_R = (prompt_R >= 0) & (generator_R >= 0)
        family_R = np.where(known_R, self._families(generator_R, prompt_R), len(self._width_F) - 1)
        known_R &= sample_R < self._width_F[family_R]
        places_R = np.full(len(sample_R), -1, dtype=np.intp)
        places_R[known_R] = self._place[self._start_F[family_R[known_R]] + sample_R[known_R]]
        return places_R

    def _families(self, generators: Any, prompts: Any) -> Places:
        """The numbers of families; that behind the last one is nobody's."""
        families: Places = generators.astype(np.intp) * len(self._prompts) + prompts
        return families


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
    for table in folder.tables("scores", str(iteration), [*_KEY, "scorer", "fingerprint", *columns], only):
        places, words = keys.places(table), table.select(columns)
        scorers, of = _numbers(table["scorer"], _known(names)), _numbers(table["fingerprint"], _known(prints))
        for name, fingerprint in fingerprints.items():
            mine = (places >= 0) & (scorers == names[name]) & (of == prints[fingerprint])
            if mine.any():
                yield name, places[mine], words.filter(mine)


def stored_lengths(folder: RunFolder, iteration: int, keys: Keys) -> Iterator[tuple[Places, Places]]:
    """Some places after the other, with the numbers of tokens of the candidates there."""
    import pyarrow.compute as pc

    for table in folder.tables("candidates", str(iteration), [*_KEY, "token_ids"]):
        places, lengths = keys.places(table), pc.list_value_length(table["token_ids"]).to_numpy()
        yield places[places >= 0], lengths[places >= 0].astype(np.intp)


def deciding_rules(folder: RunFolder, iteration: int, name: str) -> tuple[list[str], Numbers]:
    """The rules that decided in a set of decisions, and (N,): which of them decided on each candidate, in the order of
    `StoredDecisions`."""
    numbers: dict[str, int] = {}
    parts = [
        _numbers(table["rule"], _numbering(numbers))
        for table in folder.tables("decisions", f"{iteration}:{name}", ["rule"])
    ]
    return list(numbers), _joined(parts, np.int32)


def stored_rules(folder: RunFolder, iteration: int, name: str) -> dict[str, int]:
    """How many candidates each rule decided on in a set of decisions, that which decided on most first."""
    numbers: dict[str, int] = {}
    counts = np.zeros(0, dtype=np.intp)
    for table in folder.tables("decisions", f"{iteration}:{name}", ["rule"]):
        said = _numbers(table["rule"], _numbering(numbers))
        counts = np.append(counts, np.zeros(len(numbers) - len(counts), dtype=np.intp))
        counts += np.bincount(said, minlength=len(numbers))
    return dict(sorted(zip(numbers, counts.tolist(), strict=True), key=lambda one: -one[1]))


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
    for some in folder.tables("decisions", f"{iteration}:{name}", [*_KEY, "accepted", "rule", "explanation"], only):
        table = some if accepted is None else some.filter(pc.equal(some["accepted"], accepted))
        table = pa.table({column: pc.cast(table[column], _plain(table[column].type)) for column in table.column_names})
        if first is not None and len(first) == most:
            table = table.filter(pc.less_equal(table["prompt_id"], first["prompt_id"][-1]))
        first = table if first is None else pa.concat_tables([first, table])
        first = first.sort_by([(column, "ascending") for column in _KEY]).slice(0, most)
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
    for table in folder.tables("candidates", str(iteration), [*_KEY], only):
        yield table.filter(pc.is_in(table["prompt_id"], trained_on))


def _numbering(known: dict[str, int]) -> Callable[[Any], Sequence[int]]:
    """Gives the texts of an Arrow array numbers, one after the other."""
    return lambda texts: [known.setdefault(text, len(known)) for text in texts.to_pylist()]


def _known(numbers: Mapping[str, int]) -> Callable[[Any], Sequence[int]]:
    """The numbers that the texts of an Arrow array have, −1 for another one."""
    return lambda texts: [*map(numbers.get, texts.to_pylist(), repeat(-1))]


def _numbers(column: Any, numbers_of: Callable[[Any], Sequence[int]]) -> Numbers:
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
    numbers_N: Numbers = _joined(parts, np.int32)
    return numbers_N


def _joined(parts: Sequence[Any], kind: Any) -> Any:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)


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
        for table in self._folder.tables("candidates", str(self._iteration), [*_KEY, "text"], only):
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
        finish = _known({"stop": 0, "ended": 1})
        columns = [*_KEY, "finish_reason", "ended_by"]
        for table in self._folder.tables("candidates", str(self._iteration), columns):
            there = self._keys.places(table)
            places, finish_R = there[there >= 0], _numbers(table["finish_reason"], finish)[there >= 0]
            whole_N[places] = finish_R == 0
            by_N[places] = np.where(finish_R == 1, _numbers(table["ended_by"], _numbering(names))[there >= 0], -1)
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
