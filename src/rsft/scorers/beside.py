"""Scorers that hold a reply against the base model's own: which they are, and what they must know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rsft.scorers.base import Baseline, Scorer
from rsft.scorers.combined import Combined


def compare(scorers: Iterable[Scorer]) -> bool:
    """Whether one of these scorers needs the base model's greedy replies."""
    return any(scorer.compares for scorer in scorers)


def with_baseline(scorers: Mapping[str, Scorer], baseline: Baseline) -> dict[str, Scorer]:
    """The same scorers, of which those that compare know what with."""
    bound: dict[str, Scorer] = {}
    for name, scorer in scorers.items():  # parts come before what combines them
        if isinstance(scorer, Combined):
            bound[name] = scorer.of(bound)
        else:
            bound[name] = scorer.beside(baseline) if scorer.compares else scorer
    return bound
