"""Scoring again what a run has drawn: by scorers that changed, and where a score failed. Nothing is drawn."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsft.errors import RunError
from rsft.keeping import Keeping
from rsft.progress import Reporter
from rsft.saved import changed_recipe
from rsft.scorers import (
    Baseline,
    Scorer,
    build_scorers,
    compare,
    measure,
    to_standardise,
    with_baseline,
    with_standards,
    without_standards,
)
from rsft.scoring import Record, Scored, Scores, score_owed
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey


@dataclass(slots=True)
class _Count:
    """How it went for one scorer."""

    known: int = 0
    scored: int = 0
    failed: int = 0
    values: list[float] = field(default_factory=list)

    @property
    def numbers(self) -> dict[str, Any]:
        mean = statistics.fmean(self.values) if self.values else None
        return {"known": self.known, "scored": self.scored, "failed": self.failed, "mean": mean}


def rescore(run: Path, overrides: Sequence[str], tell: Reporter) -> dict[str, Any]:
    """Score every candidate of a run by its recipe's scorers, with `overrides`, where such a score is not there yet.

    Of each scorer: how many scores were known, how many were made now, how many failed, and the mean over whole
    replies. The run's decisions stay as they are, and so do the scores that made them, but for failed ones that are
    made good. Raises a UserError.
    """
    recipe = changed_recipe(run, overrides, "scorers", "scoring")
    with RunFolder.open(run, write=True) as folder:
        again = _Rescoring(folder, Record(recipe.scoring.max_failed, recipe.scoring.max_seconds), tell)
        scorers = again.standardised(build_scorers(recipe.scorers, recipe.model))
        counts = {name: _Count() for name in scorers}
        replies = 0
        for iteration in folder.drawn_iterations():
            candidates = again.replies(iteration)
            known = again.known(scorers, iteration)
            for candidate, said in again.scored(scorers, iteration, candidates, known):
                _count(counts, said, known.get(candidate.key, {}))
            replies += len(candidates)
    return {
        "run": str(run),
        "replies": replies,
        "scorers": {name: count.numbers for name, count in counts.items()},
    }


class _Rescoring:
    """Scores a folder's candidates again, and keeps what is new."""

    def __init__(self, folder: RunFolder, record: Record, tell: Reporter) -> None:
        self._folder = folder
        self._record = record
        self._tell = tell
        self._train = {prompt.id: prompt for prompt in folder.load_prompts("train")}
        self._prompts = self._train | {prompt.id: prompt for prompt in folder.load_prompts("heldout")}

    def standardised(self, scorers: dict[str, Scorer]) -> dict[str, Scorer]:
        """The scorers, made ready; those that standardise by the spread over the run's replies of the base policy."""
        for scorer in scorers.values():
            scorer.prepare()
        if compare(scorers.values()):
            scorers = with_baseline(scorers, self._baseline(self._compared))
        wanted = to_standardise(scorers)
        if not wanted:
            return scorers
        free = without_standards(scorers)
        candidates = [candidate for candidate in self.replies(0) if candidate.key.prompt_id in self._train]
        scored = self.scored(free, 0, candidates, self.known(free, 0))
        return with_standards(scorers, measure(wanted, [said for _, said in scored]))

    def replies(self, iteration: int) -> list[Candidate]:
        """The whole replies of an iteration, but for those to train prompts that others are only compared with."""
        only_compared = None if iteration else self._compared
        return [
            candidate
            for candidate in self._folder.candidates(iteration=iteration)
            if candidate.is_reply
            and not (candidate.key.generator == only_compared and candidate.key.prompt_id in self._train)
        ]

    @property
    def _compared(self) -> str | None:
        """The generator of the base's greedy replies, if the run drew any to compare with."""
        return (self._folder.stage_done(0, "policy", "compare") or {}).get("generator")

    def _baseline(self, generator: str | None) -> Baseline:
        """The base's greedy replies that the run drew to compare with. Raises RunError where it drew none."""
        if generator is None:
            raise RunError(
                f"The run {self._folder.path} has no greedy replies of its base model to compare with (against: "
                "greedy): they are drawn when a run begins whose scorers want them. Start such a run (--fork "
                f"{self._folder.path}), or compare with a field of the prompts (against: reference)."
            )
        drawn = self._folder.candidates(iteration=0, generators=[generator])
        replies = {c.key.prompt_id: c.text for c in drawn if c.is_reply and c.key.sample_index == 0}
        return Baseline(generator, replies)

    def known(self, scorers: Mapping[str, Scorer], iteration: int) -> Mapping[CandidateKey, Scores]:
        """What the folder holds of these scorers' words."""
        fingerprints = {name: scorer.fingerprint for name, scorer in scorers.items()}
        return self._folder.scores(iteration=iteration, fingerprints=fingerprints)

    def scored(
        self,
        scorers: Mapping[str, Scorer],
        iteration: int,
        candidates: Sequence[Candidate],
        known: Mapping[CandidateKey, Scores],
    ) -> Iterator[Scored]:
        """The candidates with every scorer's word, as they come; what is new is kept."""
        self._tell.begin(f"iteration {iteration} · scoring", len(candidates), "candidates")
        with Keeping(self._folder, scorers, known) as keeping:
            for one in score_owed(scorers, self._prompts, self._record, candidates, known):
                keeping.keep([one])
                self._tell.advance(1)
                yield one
        self._tell.end(f"{len(candidates)} replies")


def _count(counts: Mapping[str, _Count], scores: Scores, known: Scores) -> None:
    for name, score in scores.items():
        count = counts[name]
        if name in known and known[name].value is not None:
            count.known += 1
        elif score.value is None:
            count.failed += 1
        else:
            count.scored += 1
        if score.value is not None:
            count.values.append(score.value)
