"""What a run folder holds of an iteration, in parts of whole prompts, so that memory does not grow with candidates.

The columns of keys, scores and decisions are read once, from the first row to the last, and put aside part by part;
the parts then come from there, as often as somebody goes through them. What all parts share is some bytes a prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rsft.aside import Aside
from rsft.columns import KEY, as_numbers, known_numbers, new_numbers
from rsft.drawn import Sampled
from rsft.errors import RunError
from rsft.groups import Groups
from rsft.ids import Ids
from rsft.joined import KEY_ROW, Joined, Range
from rsft.numbered import Numbered
from rsft.selection import Decided, Pool, Selection
from rsft.selection.pool import Lots, Mask, Numbers, Places, Values, lots_of
from rsft.store import RunFolder
from rsft.stored import StoredDetails, StoredPool, Whereabouts
from rsft.types import CandidateKey

PART = 1 << 20
"""Candidates of a part: some hundred megabytes while it is decided."""

_DRAWN = [*KEY_ROW, ("rule", np.int16), ("accepted", np.bool_)]


class StoredParts:
    """The train prompts' candidates of one iteration, with their scores and a set of decisions on them (by default the
    run's own), as pools of about `PART` candidates each; or, `whole`, as a single one. Where nothing is decided they
    are those that were `sampled`; if nobody says which, those that the finished sample stage drew. Before that is
    finished RunError is raised, or, `unfinished`, what is drawn so far is taken.

    A candidate's place is that in its part behind all parts before. In a part they are in the order of the decisions;
    before there are any, in that of the prompts and the sample indices.
    """

    def __init__(
        self,
        folder: RunFolder,
        iteration: int,
        fingerprints: Mapping[str, str],
        name: str = "policy",
        *,
        sampled: Sampled | None = None,
        unfinished: bool = False,
        whole: bool = False,
    ) -> None:
        self.folder, self.iteration, self.fingerprints = folder, iteration, dict(fingerprints)
        self._name, self._decisions = name, f"{iteration}:{name}"
        self._sampled, self._unfinished = sampled, unfinished
        count = folder.count_of("decisions", self._decisions)
        self.decided = count > 0
        self.ids = Ids.of_train(folder)
        self._generators: dict[str, int] = {}
        rules: dict[str, int] = {}
        self._split(count or folder.count_of("candidates", str(iteration)), None if whole else PART)
        self._drawn = Aside(_DRAWN, len(self._bounds) - 1, folder.path)
        for rows in self._rows(rules):
            self._drawn.sort_in(self.part_of(rows["prompt"]), rows)
        if not self.decided:
            self._drawn.arrange(_in_order)
        self.rules = list(rules)
        self.starts = np.cumsum([0, *self._drawn.count_P])
        # Of a single part there is one for all.
        self._numbered: Numbered | None = None
        self._numbered = self.numbered(0) if self.count == 1 else None
        self._lots_P: Lots = np.zeros(len(self.ids), dtype=np.uint64)
        self._has_lot_P = np.zeros(len(self.ids), dtype=np.bool_)
        self._join()
        self._baselines = self._of_baselines()
        self._places: dict[CandidateKey, int] = {}
        self._only = self._part(0) if self.count == 1 else None

    def __len__(self) -> int:
        """How many candidates there are."""
        return int(self.starts[-1])

    @property
    def count(self) -> int:
        """How many parts there are."""
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[StoredPool]:
        return map(self.part, range(self.count))

    def pools(self) -> Iterator[Pool]:
        return (part.pool for part in self)

    def part(self, number: int) -> StoredPool:
        """A part; a single one is always the same object."""
        return self._only or self._part(number)

    @property
    def prompts(self) -> int:
        """How many prompts have numbers, in `ids`: the train prompts are the first, in their order."""
        return len(self.ids)

    def joined(self, kind: Any, missing: Any, rows: Iterable[tuple[Any, Any]]) -> Joined:
        """A further column: of each candidate the value of numpy's `kind` that comes with its key (see `rows_of`)."""
        column = self._joined(kind, missing)
        for key_R, value_R in rows:
            known_R = _known(key_R)
            column.add(key_R[known_R], value_R[known_R])
        for part in range(self.count):
            column.settle(part, self.numbered(part))
        column.close()
        return column

    def _joined(self, kind: Any, missing: Any) -> Joined:
        sizes = np.diff(self.starts).tolist()
        return Joined(kind, missing, sizes, self.folder.path, self.part_of, self._numbered)

    def serves(self, rules: Selection) -> bool:
        """Whether these rules can decide on parts like these."""
        return self.count == 1 or rules.in_parts

    def decided_by(self, rules: Selection) -> Iterator[tuple[StoredPool, Decided]]:
        """What rules that it serves decide on each part."""
        assert self.serves(rules)
        surveyed = rules if self.count == 1 else rules.surveyed(self.pools)
        return ((part, surveyed.decide(part.pool)) for part in self)

    def reasons(self, part: StoredPool) -> dict[str, int]:
        """How many of a part's candidates each rule decided on."""
        counts = np.bincount(part.rule_N[part.rule_N >= 0], minlength=len(self.rules))
        return {name: count for name, count in zip(self.rules, counts.tolist(), strict=True) if count}

    def at(self, place: int) -> tuple[StoredPool, int]:
        """The part that holds a place, and where."""
        number = self.number_of(place)
        return self.part(number), place - int(self.starts[number])

    def number_of(self, place: int) -> int:
        """The number of the part that holds a place."""
        return int(np.searchsorted(self.starts, place, side="right")) - 1

    def serving(self, rules: Selection) -> StoredParts:
        """Parts of the same candidates on which these rules can decide: itself, or a single part."""
        if self.serves(rules):
            return self
        return StoredParts(
            self.folder,
            self.iteration,
            self.fingerprints,
            self._name,
            sampled=self._sampled,
            unfinished=self._unfinished,
            whole=True,
        )

    def accepted_at(self, places: Places, rules: Selection) -> Mask:
        """Which of the candidates at some places any rules accept."""
        serving = self.serving(rules)
        own_places = places if serving is self else serving.places_of(self.keys_of(places))
        accepted: Mask = np.zeros(len(places), dtype=np.bool_)
        for part, decided in serving.decided_by(rules):
            own, at = part.among(own_places)
            accepted[own] = decided.accepted_N[at]
        return accepted

    def places_of(self, keys: Sequence[CandidateKey]) -> Places:
        """The places of candidates with some keys; −1 for one that there is not. What was asked before is known."""
        import pyarrow as pa

        new = [key for key in dict.fromkeys(keys) if key not in self._places]
        prompts = self.ids.known(pa.array([key.prompt_id for key in new], type=pa.string()))
        part_K = np.where(prompts >= 0, self.part_of(prompts), -1).tolist()
        self._places |= dict.fromkeys(new, -1)
        for part in sorted({part for part in part_K if part >= 0}):
            held = self._only.keys if self._only is not None else self.numbered(part).keys
            for key in (key for key, of in zip(new, part_K, strict=True) if of == part):
                if (at := held.place(key)) is not None:
                    self._places[key] = at + int(self.starts[part])
        return np.array([self._places[key] for key in keys], dtype=np.intp)

    def told_of(self, places: Places) -> tuple[Mask, Numbers, Mapping[str, Values]]:
        """(K,) each: whether the candidates at some places are accepted, by which rule, and each scorer's value."""
        drawn = self._rows_at(places)
        values = {name: np.empty(len(places)) for name in self.fingerprints}
        for part, own in self._split_up(places):
            at = places[own] - self.starts[part]
            for name, column in values.items():
                column[own] = self._values[name].column(part)[at]
        return drawn["accepted"], drawn["rule"].astype(np.int32), values

    def keys_of(self, places: Places) -> list[CandidateKey]:
        """The keys of the candidates at some places."""
        if self._only is not None:
            return [self._only.keys.key(self.iteration, int(place)) for place in places]
        rows = self._rows_at(places)
        names = list(self._generators)
        said = zip(self.ids.take(rows["prompt"]), rows["sample"].tolist(), rows["generator"].tolist(), strict=True)
        return [CandidateKey(self.iteration, prompt, sample, names[generator]) for prompt, sample, generator in said]

    def texts_of(self, places: Places) -> dict[int, str]:
        """The texts at some places, by these: all of them in one pass."""
        if self._only is not None:
            return dict(self._only.texts_of(places))
        rows = self._rows_at(places)
        some = Numbered(rows, self.ids, [*self._generators])
        texts = StoredDetails(self._whereabouts, some, np.zeros(0, dtype=np.int16), []).texts
        return dict(zip(np.asarray(places).tolist(), texts, strict=True))

    # -- reading -----------------------------------------------------------------------------------------------------

    def _split(self, count: int, most: int | None) -> None:
        """Find out which prompts make a part: those from one bound on up to the next."""
        self._bounds: Numbers = np.array([0, np.iinfo(np.int32).max], dtype=np.int32)
        if most is None or count <= most:
            return
        counts_P = np.zeros(0, dtype=np.int64)
        for rows in self._rows(None):
            more_P = np.bincount(rows["prompt"], minlength=len(counts_P))
            more_P[: len(counts_P)] += counts_P
            counts_P = more_P
        part_P = (np.cumsum(counts_P) - counts_P) // most
        first = 1 + np.flatnonzero(part_P[1:] != part_P[:-1])
        self._bounds = np.array([0, *first, np.iinfo(np.int32).max], dtype=np.int32)

    def part_of(self, prompt_R: Numbers) -> Numbers:
        """The parts of prompts."""
        return np.searchsorted(self._bounds, prompt_R, side="right").astype(np.int32) - 1

    def _rows(self, rules: dict[str, int] | None) -> Iterator[Any]:
        """The candidates as rows of `_DRAWN`; their prompts alone count if there are no `rules` to number."""
        columns = [*KEY, "rule", "accepted"] if rules is not None else ["prompt_id"]
        if not self.decided:
            yield from self._rows_drawn()
            return
        for table in self.folder.tables("decisions", self._decisions, columns):
            rows = np.zeros(len(table), dtype=_DRAWN)
            rows["prompt"] = as_numbers(table["prompt_id"], self.ids.new)
            if rules is not None:
                rows["sample"] = np.asarray(table["sample_index"], dtype=np.int32)
                rows["generator"] = as_numbers(table["generator"], new_numbers(self._generators))
                rows["rule"] = as_numbers(table["rule"], new_numbers(rules))
                rows["accepted"] = np.asarray(table["accepted"])
            yield rows

    def _rows_drawn(self) -> Iterator[Any]:
        """The same of what was sampled of train prompts, or of all that is drawn."""
        generators, most_P = self._drawn_by()
        only = None if generators is None else {"generator": generators}
        for table in self.folder.tables("candidates", str(self.iteration), [*KEY], only):
            rows = np.zeros(len(table), dtype=_DRAWN)
            rows["prompt"] = as_numbers(table["prompt_id"], self.ids.known)
            rows["sample"] = np.asarray(table["sample_index"], dtype=np.int32)
            rows["generator"] = as_numbers(table["generator"], new_numbers(self._generators))
            rows["rule"] = -1
            counts_R = rows["prompt"] >= 0
            if most_P is not None:
                counts_R &= rows["sample"] < most_P[rows["prompt"]]
            yield rows[counts_R]

    def _drawn_by(self) -> tuple[Collection[str] | None, Places | None]:
        """By which generators the candidates are, None for any; and (P,) up to which sample index of each prompt."""
        import pyarrow as pa

        if self._sampled is not None:
            most_P = np.zeros(len(self.ids), dtype=np.intp)
            prompt_ids = pa.array(list(self._sampled.counts), type=pa.string())
            most_P[self.ids.known(prompt_ids)] = list(self._sampled.counts.values())
            return self._sampled.generators, most_P
        done = self.folder.stage_done(self.iteration, "policy", "sample")
        if done is None and not self._unfinished:
            raise RunError(
                f"The run {self.folder.path} has not drawn all candidates of iteration {self.iteration} yet."
            )
        return None if done is None else done["generators"], None

    def _join(self) -> None:
        """Read what belongs to the candidates, and put it aside in their order."""
        candidates, scores = Groups(), Groups()
        self._whereabouts = Whereabouts(self.folder, self.iteration, self.fingerprints, candidates, scores)
        ended: dict[str, int] = {}
        names = list(self.fingerprints)
        self._ends = self._joined(np.int16, _UNFINISHED)
        for prompt_R, key_R, value_R in self._read_ends(ended):
            candidates.note(prompt_R)
            self._ends.add(key_R, value_R)
        self.ended = list(ended)
        self._values = {name: self._joined(np.float64, np.nan) for name in names}
        for prompt_R, said in self._read_scores() if names else ():
            scores.note(prompt_R)
            for name, key_R, value_R in said:
                self._values[name].add(key_R, value_R)
        self.any_whole, self.ranges = False, dict.fromkeys(names, Range(np.inf, -np.inf, 0))
        columns = [self._ends, *self._values.values()]
        for part in range(self.count):
            keys = self.numbered(part)
            for column in columns:
                column.settle(part, keys)
            self.any_whole |= bool((self._ends.column(part) == _WHOLE).any())
            for name in names:
                self.ranges[name] = self.ranges[name].with_values(self._values[name].column(part))
        for column in columns:
            column.close()

    def _read_ends(self, ended: dict[str, int]) -> Iterator[tuple[Numbers, Any, Any]]:
        """Of all candidates their prompts; of those whose keys may be among these the keys, and how they ended."""
        finish = known_numbers({"stop": 0, "ended": 1})
        for table in self.folder.tables("candidates", str(self.iteration), [*KEY, "finish_reason", "ended_by"]):
            key_R = self.rows_of(table)
            finish_R = as_numbers(table["finish_reason"], finish)
            by_R = np.where(finish_R == 1, as_numbers(table["ended_by"], new_numbers(ended)), -1)
            value_R = np.where(finish_R == 0, _WHOLE, np.where(by_R >= 0, by_R, _UNFINISHED)).astype(np.int16)
            known_R = _known(key_R)
            yield key_R["prompt"], key_R[known_R], value_R[known_R]

    def _read_scores(self) -> Iterator[tuple[Numbers, list[tuple[str, Any, Values]]]]:
        """The same of the words of scorers with these fingerprints: the prompts, and of each its keys and values."""
        names = {name: number for number, name in enumerate(self.fingerprints)}
        prints = {said: number for number, said in enumerate(dict.fromkeys(self.fingerprints.values()))}
        for table in self.folder.tables("scores", str(self.iteration), [*KEY, "scorer", "fingerprint", "value"]):
            key_R, value_R = self.rows_of(table), table["value"].to_numpy()
            scorer_R = as_numbers(table["scorer"], known_numbers(names))
            print_R = as_numbers(table["fingerprint"], known_numbers(prints))
            # A failed score may have been made good in a later segment, never the other way round.
            known_R = _known(key_R) & ~np.isnan(value_R)
            said = []
            for name, fingerprint in self.fingerprints.items():
                mine = known_R & (scorer_R == names[name]) & (print_R == prints[fingerprint])
                if mine.any():
                    said.append((name, key_R[mine], value_R[mine]))
            yield key_R["prompt"], said

    def rows_of(self, table: Any) -> Any:
        """The keys of a table's rows as numbers, −1 for what no candidate has."""
        key_R = np.empty(len(table), dtype=KEY_ROW)
        key_R["prompt"] = as_numbers(table["prompt_id"], self.ids.known)
        key_R["sample"] = np.asarray(table["sample_index"], dtype=np.int32)
        key_R["generator"] = as_numbers(table["generator"], known_numbers(self._generators))
        return key_R

    def _of_baselines(self) -> Mapping[str, Mapping[str, Values]]:
        """Of each of the iteration's baselines, by name, each scorer's value for every prompt (P,), NaN for none."""
        done = self.folder.stage_done(self.iteration, "policy", "sample") or {}
        found: dict[str, Mapping[str, Values]] = {}
        for name, generator in done.get("baselines", {}).items():
            columns = {scorer: np.full(len(self.ids), np.nan) for scorer in self.fingerprints}
            of_it = [*KEY, "scorer", "fingerprint", "value"]
            for table in self.folder.tables("scores", str(self.iteration), of_it, {"generator": [generator]}):
                prompt_R = as_numbers(table["prompt_id"], self.ids.known)
                words = zip(*(table[column].to_pylist() for column in ("scorer", "fingerprint", "value")), strict=True)
                for prompt, (scorer, fingerprint, value) in zip(prompt_R.tolist(), words, strict=True):
                    if prompt >= 0 and value is not None and self.fingerprints.get(scorer) == fingerprint:
                        columns[scorer][prompt] = value
            found[name] = columns
        return found

    # -- parts -------------------------------------------------------------------------------------------------------

    def _part(self, part: int) -> StoredPool:
        drawn, numbered = self._drawn.rows(part), self.numbered(part)
        ends_N = self._ends.column(part)
        details = StoredDetails(self._whereabouts, numbered, ends_N, self.ended)
        pool = Pool(
            prompt_ids=numbered.prompt_ids,
            prompt_N=numbered.prompt_N,
            sample_N=numbered.sample_N,
            whole_N=ends_N == _WHOLE,
            scores={name: column.column(part) for name, column in self._values.items()},
            details=details,
            iteration=self.iteration,
            baselines={
                name: {scorer: values[numbered.number_P] for scorer, values in of.items()}
                for name, of in self._baselines.items()
            },
            prompt_lots_P=self._lots(numbered),
        )
        return StoredPool(
            numbered=numbered,
            pool=pool,
            fingerprints=self.fingerprints,
            decided=self.decided,
            accepted_N=drawn["accepted"].copy(),
            rule_N=drawn["rule"].astype(np.int32),
            start=int(self.starts[part]),
            texts_of=details.texts_of,
        )

    def numbered(self, part: int) -> Numbered:
        """The candidates of a part by numbers."""
        if self._numbered is not None:
            return self._numbered
        return Numbered(self._drawn.rows(part), self.ids, list(self._generators))

    def _lots(self, numbered: Numbered) -> Lots:
        """The lots of a part's prompts, each of which is worked out once."""
        number_P = numbered.number_P
        new_P = number_P[~self._has_lot_P[number_P]]
        self._lots_P[new_P] = lots_of(self.ids.take(new_P))
        self._has_lot_P[new_P] = True
        return self._lots_P[number_P]

    def _rows_at(self, places: Places) -> Any:
        """The rows of `_DRAWN` at some places."""
        places = np.asarray(places, dtype=np.intp)
        found = np.zeros(len(places), dtype=_DRAWN)
        for part, own in self._split_up(places):
            found[own] = self._drawn.rows(part)[places[own] - self.starts[part]]
        return found

    def _split_up(self, places: Places) -> Iterator[tuple[int, Mask]]:
        """The parts that hold some places, and which of these."""
        part_K = np.searchsorted(self.starts, places, side="right") - 1
        return ((part, part_K == part) for part in np.unique(part_K).tolist())


def _in_order(rows_N: Any) -> Any:
    """Rows in the order of their prompts and sample indices, whenever they were made."""
    return rows_N[np.lexsort((rows_N["generator"], rows_N["sample"], rows_N["prompt"]))]


_UNFINISHED, _WHOLE = -1, -2
"""How a candidate ended; a number from 0 on is that of the rule that ended it."""


def _known(key_R: Any) -> Any:
    return (key_R["prompt"] >= 0) & (key_R["generator"] >= 0)


def whole_pool(
    folder: RunFolder,
    iteration: int,
    fingerprints: Mapping[str, str],
    name: str = "policy",
    *,
    unfinished: bool = False,
) -> StoredPool:
    """All candidates of an iteration in one pool: see `StoredParts`."""
    return StoredParts(folder, iteration, fingerprints, name, unfinished=unfinished, whole=True).part(0)
