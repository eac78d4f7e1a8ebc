"""Decided replies, read some prompts at a time: keys and scores of an iteration are held as columns, texts are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.decided import StoredDecisions, deciding_rules
from rsft.store import RunFolder
from rsft.stored import stored_scores
from rsft.types import CandidateKey, Prompt

# Replies whose texts are held at once.
_AT_ONCE = 32_768
_COLUMNS = ("prompt_id", "sample_index", "generator", "text", "finish_reason")


@dataclass(frozen=True, slots=True)
class Told:
    """A reply, who decided on it, and its scores: None where one failed. `whole`: it came to its own end."""

    key: CandidateKey
    text: str
    accepted: bool
    rule: str
    scores: Mapping[str, float | None]
    whole: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with the replies to it that one iteration decided on, in the order of their keys."""

    prompt: Prompt
    replies: list[Told]


class Decided:
    """What a set of decisions says of an iteration."""

    def __init__(self, folder: RunFolder, iteration: int, name: str) -> None:
        self._folder, self._iteration = folder, iteration
        said = StoredDecisions(folder, iteration, name)
        self._keys, self._accepted_N = said.keys, said.accepted_N
        self._rules, self._rule_N = deciding_rules(folder, iteration, name)
        self._scores = stored_scores(folder, iteration, folder.noted_scorers(), said.keys)

    def answered(self, *, accepted_only: bool) -> Iterator[list[Answered]]:
        """The prompts in the order of their ids, some at a time: those with an accepted reply, or all."""
        wanted_N = self._accepted_N if accepted_only else np.ones(len(self._keys), dtype=np.bool_)
        # What must be read of a prompt is all of its replies, wanted or not.
        count_P = np.bincount(self._keys.prompt_N, minlength=len(self._keys.prompt_ids))
        there = np.unique(self._keys.prompt_N[wanted_N]).tolist()
        some: list[str] = []
        held = 0
        for prompt in sorted(there, key=lambda prompt: self._keys.prompt_ids[prompt]):
            if some and held + count_P[prompt] > _AT_ONCE:
                yield self._read(some, wanted_N)
                some, held = [], 0
            some.append(self._keys.prompt_ids[prompt])
            held += int(count_P[prompt])
        if some:
            yield self._read(some, wanted_N)

    def _read(self, ids: list[str], wanted_N: Any) -> list[Answered]:
        found: dict[str, list[Told]] = {one: [] for one in ids}
        for table in self._folder.tables("candidates", str(self._iteration), _COLUMNS, {"prompt_id": ids}):
            places = self._keys.places(table)
            rows = np.flatnonzero((places >= 0) & wanted_N[np.maximum(places, 0)])
            words = (table[name].take(rows).to_pylist() for name in ("text", "finish_reason"))
            for place, text, finish in zip(places[rows].tolist(), *words, strict=True):
                told = self._told(place, text, finish == "stop")
                found[told.key.prompt_id].append(told)
        prompts = {prompt.id: prompt for prompt in self._folder.load_prompts("train", ids)}
        return [Answered(prompts[one], sorted(found[one], key=lambda told: told.key)) for one in ids]

    def _told(self, place: int, text: str, whole: bool) -> Told:
        scores = {name: float(values[place]) for name, values in self._scores.items()}
        return Told(
            key=self._keys.key(self._iteration, place),
            text=text,
            accepted=bool(self._accepted_N[place]),
            rule=self._rules[int(self._rule_N[place])],
            scores={name: None if np.isnan(value) else value for name, value in scores.items()},
            whole=whole,
        )
