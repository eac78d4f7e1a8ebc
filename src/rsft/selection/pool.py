"""What rules see: the candidates of one iteration, as columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rsft.types import Candidate, CandidateKey, Score

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pool:
    """Columns over the same N candidates. `scores` holds NaN where a score failed; `said` holds the scores in full."""

    candidates: Sequence[Candidate]
    scores: Mapping[str, Values]
    said: Mapping[str, Sequence[Score]]

    @classmethod
    def of(cls, candidates: Sequence[Candidate], scores: Mapping[str, Sequence[Score]]) -> Pool:
        """A pool of candidates with each scorer's word on each of them, in the same order."""
        for name, said in scores.items():
            if len(said) != len(candidates):
                raise ValueError(f"'{name}' scored {len(said)} of {len(candidates)} candidates")
        columns = {
            name: np.array([np.nan if s.value is None else s.value for s in said], dtype=np.float64)
            for name, said in scores.items()
        }
        return cls(candidates, columns, scores)

    @classmethod
    def scored(cls, candidates: Sequence[Candidate], scores: Mapping[CandidateKey, Mapping[str, Score]]) -> Pool:
        """A pool of candidates with their scores as the run folder holds them: by key, then by scorer."""
        names = {name: None for candidate in candidates for name in scores[candidate.key]}
        return cls.of(candidates, {name: [scores[c.key][name] for c in candidates] for name in names})

    def __len__(self) -> int:
        return len(self.candidates)

    @cached_property
    def keys(self) -> Sequence[CandidateKey]:
        return [candidate.key for candidate in self.candidates]

    @cached_property
    def texts(self) -> Sequence[str]:
        return [candidate.text for candidate in self.candidates]

    @cached_property
    def finish_reasons(self) -> Sequence[str]:
        return [candidate.finish_reason for candidate in self.candidates]

    @cached_property
    def lots(self) -> Sequence[str]:
        """A stable hash of each candidate, by which ties are broken: order never decides."""
        return [
            stable_hash(key.prompt_id, key.sample_index, text) for key, text in zip(self.keys, self.texts, strict=True)
        ]

    @cached_property
    def families(self) -> Mapping[str, Sequence[int]]:
        """The places of each prompt's candidates."""
        places: dict[str, list[int]] = {}
        for place, key in enumerate(self.keys):
            places.setdefault(key.prompt_id, []).append(place)
        return places


def stable_hash(*parts: object) -> str:
    """The same for the same parts, on every machine and in every process."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()
