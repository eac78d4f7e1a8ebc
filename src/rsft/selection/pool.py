"""What rules see: the candidates of one iteration, as columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from rsft.text import word_count
from rsft.types import Candidate, CandidateKey, FinishReason, Score

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Values = np.ndarray[Any, np.dtype[np.float64]]
Numbers = np.ndarray[Any, np.dtype[np.int32]]
Places = np.ndarray[Any, np.dtype[np.intp]]
Lots = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True)
class End:
    """How a candidate ended that is no whole reply, after how many tokens: see `Candidate`."""

    finish_reason: FinishReason
    tokens: int
    why: str | None
    ended_by: str | None


class Details(Protocol):
    """What only some rules and explanations read of a pool's candidates, by their places."""

    @property
    def texts(self) -> Sequence[str]: ...

    def end(self, place: int) -> End: ...

    def score(self, name: str, place: int) -> Score: ...

    def ended_by(self, places: Places) -> Sequence[str | None]:
        """The rules that ended some candidates while they were drawn; None for one that no rule ended."""


@dataclass(frozen=True)
class Pool:
    """Columns over the same N candidates: their prompts, as numbers of `prompt_ids`, their sample indices, whether they
    came to their own end, and their scores, NaN where one failed."""

    prompt_ids: Sequence[str]
    prompt_N: Numbers
    sample_N: Numbers
    whole_N: Mask
    scores: Mapping[str, Values]
    details: Details
    iteration: int = 1
    baselines: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    """Of each baseline, by its name, each score of every prompt's reply (prompts,), NaN where there is none."""
    prompt_lots_P: Lots | None = None
    """(prompts,): what `lots_of` gives for them, if somebody knows."""

    @classmethod
    def of(cls, candidates: Sequence[Candidate], scores: Mapping[str, Sequence[Score]]) -> Pool:
        """A pool of candidates with each scorer's word on each of them, in the same order."""
        for name, said in scores.items():
            if len(said) != len(candidates):
                raise ValueError(f"'{name}' scored {len(said)} of {len(candidates)} candidates")
        numbers: dict[str, int] = {}
        prompts = [numbers.setdefault(candidate.key.prompt_id, len(numbers)) for candidate in candidates]
        return cls(
            prompt_ids=list(numbers),
            prompt_N=np.array(prompts, dtype=np.int32),
            sample_N=np.array([candidate.key.sample_index for candidate in candidates], dtype=np.int32),
            whole_N=np.array([candidate.finish_reason == "stop" for candidate in candidates], dtype=np.bool_),
            scores={
                name: np.array([np.nan if s.value is None else s.value for s in said], dtype=np.float64)
                for name, said in scores.items()
            },
            details=_Known(candidates, scores),
            iteration=candidates[0].key.iteration if candidates else 1,
        )

    @classmethod
    def scored(cls, candidates: Sequence[Candidate], scores: Mapping[CandidateKey, Mapping[str, Score]]) -> Pool:
        """A pool of candidates with their scores as the run folder holds them: by key, then by scorer."""
        names = {name: None for candidate in candidates for name in scores[candidate.key]}
        return cls.of(candidates, {name: [scores[c.key][name] for c in candidates] for name in names})

    def __len__(self) -> int:
        return len(self.prompt_N)

    @property
    def texts(self) -> Sequence[str]:
        return self.details.texts

    @cached_property
    def lots_N(self) -> Lots:
        """A number for each candidate, by which ties are broken: the same in any order and beside any others."""
        lots_P = lots_of(self.prompt_ids) if self.prompt_lots_P is None else self.prompt_lots_P
        return mixed(lots_P[self.prompt_N] ^ mixed(self.sample_N.astype(np.uint64)))

    @cached_property
    def words_N(self) -> Numbers:
        """How many words each candidate has. All texts are read."""
        return np.fromiter(map(word_count, self.texts), dtype=np.int32, count=len(self))

    def families(self, alive: Mask) -> Iterator[list[int]]:
        """The places of each prompt's candidates that are alive, in the order of their lots."""
        places = self._in_order(alive)
        bounds = [*_starts(self.prompt_N[places]).tolist(), len(places)]
        for start, end in pairwise(bounds):
            yield places[start:end].tolist()

    def siblings(self, place: int) -> Places:
        """The places of the same prompt's candidates, itself among them, in a time that does not grow with the pool."""
        order, bounds = self._by_prompt
        prompt = self.prompt_N[place]
        return order[bounds[prompt] : bounds[prompt + 1]]

    @cached_property
    def _by_prompt(self) -> tuple[Places, Places]:
        order = np.argsort(self.prompt_N, kind="stable")
        return order, np.searchsorted(self.prompt_N[order], np.arange(len(self.prompt_ids) + 1))

    def first(self, alive: Mask, most: int | Places, by: Values | None = None) -> Mask:
        """Of each prompt the first candidates that are alive: by value from the greatest on, then by lot. `most` of
        each, or (prompts,) of them."""
        if isinstance(most, int) and np.count_nonzero(alive) <= most:
            return alive.copy()
        places = self._in_order(alive, by)
        starts = _starts(self.prompt_N[places])
        ranks = np.arange(len(places)) - np.repeat(starts, np.diff(np.append(starts, len(places))))
        first_N = np.zeros(len(self), dtype=np.bool_)
        first_N[places[ranks < (most if isinstance(most, int) else most[self.prompt_N[places]])]] = True
        return first_N

    def _in_order(self, alive: Mask, by: Values | None = None) -> Places:
        """The places of those that are alive: prompt after prompt, by value from the greatest on, then by lot."""
        places = np.flatnonzero(alive)
        keys: list[Any] = [self.lots_N[places], self.prompt_N[places]]
        if by is not None:
            keys.insert(1, -by[places])
        return places[np.lexsort(keys)]

    def counts(self, alive: Mask) -> Places:
        """(prompts,): how many candidates of each prompt are alive."""
        return np.bincount(self.prompt_N[alive], minlength=len(self.prompt_ids))


class _Known:
    """Details of candidates that are in memory."""

    def __init__(self, candidates: Sequence[Candidate], scores: Mapping[str, Sequence[Score]]) -> None:
        self._candidates = candidates
        self._scores = scores

    @cached_property
    def texts(self) -> Sequence[str]:
        return [candidate.text for candidate in self._candidates]

    def end(self, place: int) -> End:
        candidate = self._candidates[place]
        return End(candidate.finish_reason, len(candidate.token_ids), candidate.why, candidate.ended_by)

    def score(self, name: str, place: int) -> Score:
        return self._scores[name][place]

    def ended_by(self, places: Places) -> Sequence[str | None]:
        some = (self._candidates[place] for place in places)
        return [candidate.ended_by if candidate.finish_reason == "ended" else None for candidate in some]


def _starts(sorted_N: Numbers) -> Places:
    """Where each run of equal numbers begins."""
    if not len(sorted_N):
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(np.append(True, sorted_N[1:] != sorted_N[:-1]))


def mixed(numbers: Lots) -> Lots:
    """Numbers whose bits hang on all of theirs (the finaliser of SplitMix64; Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        z = numbers + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z ^= z >> np.uint64(shift)
            z *= np.uint64(factor)
        z ^= z >> np.uint64(31)
        return z


def lots_of(prompt_ids: Sequence[str]) -> Lots:
    """(prompts,): a number for each prompt, of which its candidates' lots are made."""
    return np.array([int(stable_hash("lot", prompt_id)[:16], 16) for prompt_id in prompt_ids], dtype=np.uint64)


def stable_hash(*parts: object) -> str:
    """The same for the same parts, on every machine and in every process."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()
