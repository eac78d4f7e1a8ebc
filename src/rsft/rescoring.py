"""Scoring again what a run has drawn: by scorers that changed, and where a score failed. Nothing is drawn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsft.config import load_recipe, recipe_differences
from rsft.errors import RecipeError
from rsft.progress import Reporter
from rsft.scorers import Scorer, build_scorers, measure, to_standardise, with_standards, without_standards
from rsft.scoring import Record, Scores, score_owed, score_rows
from rsft.setup import saved_recipe
from rsft.store import RunFolder

# Candidates whose scores are committed together.
_COMMIT = 1024


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
    replies. The run's own decisions, and the scores that made them, stay as they are. Raises a UserError.
    """
    recipe = load_recipe(run, overrides)
    _only_scorers_differ(recipe_differences(saved_recipe(run), recipe))
    scorers = build_scorers(recipe.scorers, recipe.model)
    with RunFolder.open(run, write=True) as folder:
        scorers = _with_standards(scorers, folder)
        for scorer in scorers.values():
            scorer.prepare()
        prompts = {prompt.id: prompt for split in ("train", "heldout") for prompt in folder.load_prompts(split)}
        counts = {name: _Count() for name in scorers}
        record = Record(recipe.scoring.max_failed)
        fingerprints = {name: scorer.fingerprint for name, scorer in scorers.items()}
        iterations = sorted({key.iteration for key in folder.candidate_keys()})
        replies = 0
        for iteration in iterations:
            candidates = [candidate for candidate in folder.candidates(iteration=iteration) if candidate.is_reply]
            known = folder.scores(iteration=iteration, fingerprints=fingerprints)
            tell.begin(f"iteration {iteration} · scoring", len(candidates), "candidates")
            for start in range(0, len(candidates), _COMMIT):
                some = candidates[start : start + _COMMIT]
                scored = score_owed(scorers, prompts, record, some, known)
                folder.commit(scores=folder.not_there(score_rows(scorers, scored)))
                for candidate, scores in scored:
                    _count(counts, scores, known.get(candidate.key, {}))
                tell.advance(len(some))
            tell.end(f"{len(candidates)} replies")
            replies += len(candidates)
    return {
        "run": str(run),
        "replies": replies,
        "scorers": {name: count.numbers for name, count in counts.items()},
    }


def _only_scorers_differ(changed: Sequence[str]) -> None:
    others = [line for line in changed if not line.startswith(("scorers", "scoring."))]
    if others:
        lines = "\n".join(f"  - {line}" for line in others)
        raise RecipeError(f"Scoring again can change scorers only (--set scorers.NAME...):\n{lines}")


def _with_standards(scorers: dict[str, Scorer], folder: RunFolder) -> dict[str, Scorer]:
    """Scorers that standardise, by the spread that the run's own scores of the base policy's replies have."""
    wanted = to_standardise(scorers)
    if not wanted:
        return scorers
    free = without_standards(scorers)
    fingerprints = {name: free[name].fingerprint for name in wanted}
    scores = folder.scores(iteration=0, fingerprints=fingerprints)
    trained_on = {prompt.id for prompt in folder.load_prompts("train")}
    columns = [said for key, said in scores.items() if key.prompt_id in trained_on and said.keys() >= set(wanted)]
    return with_standards(scorers, measure(wanted, columns))


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
