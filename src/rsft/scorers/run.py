"""Having replies scored: whatever a scorer does, each reply gets a word from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rsft.errors import TemplateError, UserError
from rsft.scorers.base import Scorer
from rsft.scorers.combined import Combined
from rsft.types import Reply, Score
from rsft.wording import whole

BATCH = 64
"""Replies that a scorer is asked about at once."""


def score_all(scorers: Mapping[str, Scorer], replies: Sequence[Reply]) -> dict[str, list[Score]]:
    """Every scorer's word on each reply, in order. Parts stand before what combines them, as `build_scorers` has it."""
    said: dict[str, list[Score]] = {}
    for name, scorer in scorers.items():
        if isinstance(scorer, Combined):
            said[name] = scorer.combine_all(said)
        else:
            said[name] = run_in_batches(scorer, replies)
    return said


def run_in_batches(scorer: Scorer, replies: Sequence[Reply], size: int = BATCH) -> list[Score]:
    """The scorer's word on each reply, in order, of which it is asked `size` at once."""
    batches = (replies[start : start + size] for start in range(0, len(replies), size))
    return [score for batch in batches for score in run_scorer(scorer, batch)]


def run_scorer(scorer: Scorer, replies: Sequence[Reply]) -> list[Score]:
    """The scorer's word on each reply, in order. What raises, or is no score, is a failed score with the reason.

    A batch that raises or has the wrong count is scored again one by one: a bad reply never spoils its neighbours. A
    UserError is raised: it is not the reply's fault, and somebody can mend it. Only a conversation that a model's chat
    template refuses is a failed score.
    """
    try:
        return _scores(scorer, replies)
    except Exception as error:
        if isinstance(error, UserError) and not isinstance(error, TemplateError):
            raise
        if len(replies) == 1:
            return [Score.failed(reason_of(error))]
        return [score for reply in replies for score in run_scorer(scorer, [reply])]


def _scores(scorer: Scorer, replies: Sequence[Reply]) -> list[Score]:
    said = scorer.score(list(replies))
    if said is None or isinstance(said, (str, bytes, Mapping)):
        raise TypeError(f"the scorer returned {type(said).__name__}, expected a list with one score for each reply")
    said = list(said)
    if len(said) != len(replies):
        raise ValueError(f"the scorer returned {len(said)} scores for {len(replies)} replies")
    return [_as_score(one) for one in said]


def _as_score(said: Any) -> Score:
    if isinstance(said, (str, bytes)):
        return Score.failed(f"the scorer returned {type(said).__name__}, expected a number")
    try:
        score = Score.of(said)
        # A plain float, whatever kind of number the scorer works with; and texts that can be stored.
        value = None if score.value is None else float(score.value)
        return Score(value, whole(score.explanation or ""), score.failure and whole(score.failure))
    except Exception as error:
        return Score.failed(reason_of(error))


def reason_of(error: Exception) -> str:
    """An error as the reason of a failed score."""
    return whole(f"{type(error).__name__}: {error}") if str(error) else type(error).__name__
