"""A pool of what a run folder holds, read column by column: millions of candidates fit, as objects they would not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rsft.columns import KEY, Keys, as_numbers, known_numbers
from rsft.groups import Groups
from rsft.numbered import Numbered
from rsft.selection import Pool
from rsft.selection.pool import End, Mask, Numbers, Places
from rsft.store import RunFolder
from rsft.types import Score

# Details are held of so many candidates in a row: who asks for one goes on to the next, as a rule.
_WINDOW = 32_768


@dataclass
class StoredPool:
    """Candidates of one iteration with their scores: all of some train prompts', or of all of them. `start` is the
    place of the first one among all."""

    numbered: Numbered
    pool: Pool
    fingerprints: Mapping[str, str]
    decided: bool
    accepted_N: Mask
    """Which a set of decisions accepted: none, until it has decided."""
    rule_N: Numbers
    """The number of the rule that decided, −1 where none has."""
    start: int
    texts_of: Callable[[Places], Mapping[int, str]]
    """The texts at some places."""

    @property
    def keys(self) -> Keys:
        return self.numbered.keys

    def among(self, places: Places) -> tuple[Mask, Places]:
        """Which of some places among all candidates are here, and where."""
        here: Mask = (places >= self.start) & (places < self.start + len(self.pool))
        return here, places[here] - self.start


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
    spans: Sequence[range] | None = None,
) -> Iterator[tuple[str, Places, Any]]:
    """Some columns of what the scorers with these fingerprints said, in the order of its making: whose words they are,
    the places of the candidates that they are of, and the rows."""
    names = {name: number for number, name in enumerate(fingerprints)}
    prints = {said: number for number, said in enumerate(dict.fromkeys(fingerprints.values()))}
    for table in folder.tables("scores", str(iteration), [*KEY, "scorer", "fingerprint", *columns], spans=spans):
        places, words = keys.places(table), table.select(columns)
        scorers, of = (
            as_numbers(table["scorer"], known_numbers(names)),
            as_numbers(table["fingerprint"], known_numbers(prints)),
        )
        for name, fingerprint in fingerprints.items():
            mine = (places >= 0) & (scorers == names[name]) & (of == prints[fingerprint])
            if mine.any():
                yield name, places[mine], words.filter(mine)


def stored_lengths(
    folder: RunFolder, iteration: int, rows_of: Callable[[Any], Any]
) -> Iterator[tuple[Any, np.ndarray[Any, np.dtype[np.int32]]]]:
    """Some rows of candidates after the other, as `rows_of` says whose they are, and their numbers of tokens."""
    import pyarrow.compute as pc

    for table in folder.tables("candidates", str(iteration), [*KEY, "token_ids"]):
        yield rows_of(table), pc.list_value_length(table["token_ids"]).to_numpy().astype(np.int32)


@dataclass(frozen=True)
class Whereabouts:
    """Where rows lie: their folder and iteration, and the groups of candidates and scores that hold some prompts."""

    folder: RunFolder
    iteration: int
    fingerprints: Mapping[str, str]
    candidates: Groups
    scores: Groups


class StoredDetails:
    """Details of some candidates, which are read from the folder when somebody asks for one. `by_N` are the numbers, in
    `ended`, of the rules that ended a candidate while it was drawn, less than 0 for no rule."""

    def __init__(self, where: Whereabouts, numbered: Numbered, by_N: Any, ended: Sequence[str]) -> None:
        self._where, self._numbered, self._by_N, self._ended = where, numbered, by_N, ended
        self._ends_from, self._scores_from = -1, -1
        self._ends: dict[int, End] = {}
        self._scores: dict[str, list[Any]] = {}

    @cached_property
    def texts(self) -> Sequence[str]:
        count = len(self._numbered.prompt_N)
        texts: Any = np.full(count, "", dtype=object)
        everyone: Mask = np.ones(count, dtype=np.bool_)
        for places, said in self._texts(everyone):
            texts[places] = said
        in_order: Sequence[str] = texts
        return in_order

    def texts_of(self, places: Places) -> Mapping[int, str]:
        """The texts of some, by their places."""
        wanted_N: Mask = np.zeros(len(self._numbered.prompt_N), dtype=np.bool_)
        wanted_N[places] = True
        return {place: text for some, said in self._texts(wanted_N) for place, text in zip(some, said, strict=True)}

    def _texts(self, wanted_N: Mask) -> Iterator[tuple[list[int], list[str]]]:
        spans = self._where.candidates.spans(self._numbered.number_P[np.unique(self._numbered.prompt_N[wanted_N])])
        scope = str(self._where.iteration)
        for table in self._where.folder.tables("candidates", scope, [*KEY, "text"], spans=spans):
            places = self._numbered.keys.places(table)
            rows = np.flatnonzero((places >= 0) & wanted_N[places])
            yield places[rows].tolist(), table["text"].take(rows).to_pylist()

    def ended_by(self, places: Places) -> Sequence[str | None]:
        return [self._ended[number] if number >= 0 else None for number in self._by_N[places].tolist()]

    def end(self, place: int) -> End:
        start = place - place % _WINDOW
        if self._ends_from != start:
            self._ends_from, self._ends = start, self._ends_at(start)
        return self._ends[place]

    def score(self, name: str, place: int) -> Score:
        start = place - place % _WINDOW
        if self._scores_from != start:
            self._scores_from, self._scores = start, self._scores_at(start)
        said = self._scores[name][place - start]
        return Score.failed("there is no score") if said is None else Score(*said)

    def _ends_at(self, start: int) -> dict[int, End]:
        """How those of a window's candidates ended, by their places, that are no whole replies."""
        import pyarrow.compute as pc

        ends: dict[int, End] = {}
        spans, scope = self._where.candidates.spans(self._prompts_at(start)), str(self._where.iteration)
        columns = [*KEY, "finish_reason", "token_ids", "why", "ended_by"]
        for table in self._where.folder.tables("candidates", scope, columns, spans=spans):
            places = self._numbered.keys.places(table)
            cut = as_numbers(table["finish_reason"], known_numbers({"stop": 0})) != 0
            rows = np.flatnonzero((places >= start) & (places < start + _WINDOW) & cut)
            some = table.take(rows)
            tokens = pc.list_value_length(some["token_ids"])
            said = (some["finish_reason"], tokens, some["why"], some["ended_by"])
            words = zip(*(column.to_pylist() for column in said), strict=True)
            ends |= {place: End(*word) for place, word in zip(places[rows].tolist(), words, strict=True)}
        return ends

    def _scores_at(self, start: int) -> dict[str, list[Any]]:
        """What each scorer said of a window's candidates: value, explanation, failure."""
        where, words = self._where, ["value", "explanation", "failure"]
        held: dict[str, list[Any]] = {name: [None] * _WINDOW for name in where.fingerprints}
        spans = where.scores.spans(self._prompts_at(start))
        said = _said(where.folder, where.iteration, where.fingerprints, self._numbered.keys, words, spans)
        for name, places, table in said:
            near = (places >= start) & (places < start + _WINDOW)
            of_place = held[name]
            rows = zip(*(column.to_pylist() for column in table.filter(near).columns), strict=True)
            for place, row in zip((places[near] - start).tolist(), rows, strict=True):
                of_place[place] = row
        return held

    def _prompts_at(self, start: int) -> Numbers:
        """Whose rows a window's are among."""
        some = np.unique(self._numbered.prompt_N[start : start + _WINDOW])
        numbers: Numbers = self._numbered.number_P[some]
        return numbers
