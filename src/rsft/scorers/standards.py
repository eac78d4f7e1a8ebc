"""Scores in units of the base policy's own spread: which scorers want that, and what it takes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from rsft.errors import ScoringError
from rsft.scorers.base import Scorer
from rsft.scorers.combined import Combined, Standard
from rsft.types import Score

# Fewer scores say nothing of a spread.
_LEAST = 16


def to_standardise(scorers: Mapping[str, Scorer]) -> list[str]:
    """The scores whose spread is wanted, each once."""
    wanted = (s for s in scorers.values() if isinstance(s, Combined) and s.standardise)
    return list(dict.fromkeys(name for scorer in wanted for name in scorer.combines))


def without_standards(scorers: Mapping[str, Scorer]) -> dict[str, Scorer]:
    """The scorers that need no standards, neither themselves nor through what they combine."""
    free: dict[str, Scorer] = {}
    for name, scorer in scorers.items():  # parts come before what combines them
        if not isinstance(scorer, Combined) or (not scorer.standardise and free.keys() >= set(scorer.reads)):
            free[name] = scorer
    return free


def measure(names: Iterable[str], scores: Iterable[Mapping[str, Score]]) -> dict[str, Standard]:
    """Mean and standard deviation of each of these scores. Raises ScoringError where there is no spread to speak of."""
    columns = list(scores)
    standards = {}
    for name in names:
        known = [said[name].value for said in columns]
        values = [value for value in known if value is not None]
        spread = statistics.stdev(values) if len(values) >= _LEAST else 0.0
        if spread == 0.0:
            raise ScoringError(
                f"The score '{name}' can't be standardised: of {len(columns)} replies of the base, {len(values)} "
                f"have one, and {len(set(values))} of these differ. It takes {_LEAST}, and a spread."
            )
        standards[name] = (statistics.fmean(values), spread)
    return standards


def with_standards(scorers: Mapping[str, Scorer], standards: Mapping[str, Standard]) -> dict[str, Scorer]:
    """The same scorers, of which those that standardise know the standards."""
    bound: dict[str, Scorer] = {}
    for name, scorer in scorers.items():
        bound[name] = scorer
        if isinstance(scorer, Combined):
            bound[name] = scorer.of(bound, standards if scorer.standardise else None)
    return bound
