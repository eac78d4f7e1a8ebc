"""What was drawn: some candidates as objects, or any number of them as the run folder holds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rsft.scoring import Scored, Scores
from rsft.selection import Pool
from rsft.types import Candidate, CandidateKey, in_order_of_keys


@dataclass(frozen=True, slots=True)
class Drawn:
    """Candidates with their scores, in the order of their keys.

    `drawn_tokens` were drawn just now: the other candidates were there already, from before an interruption or from the
    other arm. `unneeded_tokens` were drawn of candidates that do not count: a prompt had enough before they were done.
    """

    candidates: Sequence[Candidate]
    scores: Mapping[CandidateKey, Scores]
    drawn_tokens: int
    unneeded_tokens: int = 0

    @classmethod
    def of(cls, scored: Sequence[Scored], drawn_tokens: int, unneeded_tokens: int = 0) -> Drawn:
        in_order = sorted(scored, key=lambda one: in_order_of_keys(one[0].key))
        scores = {candidate.key: said for candidate, said in in_order}
        return cls([candidate for candidate, _ in in_order], scores, drawn_tokens, unneeded_tokens)

    @property
    def pool(self) -> Pool:
        return Pool.scored(self.candidates, self.scores)


@dataclass(frozen=True, slots=True)
class Sampled:
    """An arm's candidates in an iteration, which the run folder holds: of each prompt (by id) so many, those of the
    first sample indices, by these generators. Memory grows with prompts only, however many there are of each."""

    iteration: int
    counts: Mapping[str, int]
    generators: Collection[str]

    def __len__(self) -> int:
        return sum(self.counts.values())

    def has(self, key: CandidateKey) -> bool:
        """Whether a candidate of the iteration, by one of the generators, is among them."""
        return key.sample_index < self.counts.get(key.prompt_id, 0)
