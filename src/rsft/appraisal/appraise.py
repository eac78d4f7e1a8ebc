"""Scorers put to trials: how often they are right, what else their scores hang on, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from rsft import metrics
from rsft.appraisal.trials import Trial, labelled, trials_of, with_reference
from rsft.config import Recipe
from rsft.errors import PromptError
from rsft.progress import Reporter
from rsft.scorers import BATCH, Combined, Scorer, build_scorers, run_in_batches
from rsft.scorers.judge.base import Judge
from rsft.setup import read_prompts
from rsft.text import word_count
from rsft.types import Interval, Reply, Score

_BATCH_SIZES, _BATCH_REPLIES = (1, 7, 64), 64
# A score that goes with the length more than this is named.
_LENGTH_BOUND = 0.3
# From here on a judge's score says good.
_GOOD_FROM = 0.5

Said = Mapping[tuple[str, str], Score]
"""One scorer's word on each reply, by prompt and text."""


def appraise_recipe(
    recipe: Recipe, rows: int, labels: str | None, same: str | None, seed: int, tell: Reporter
) -> dict[str, Any]:
    """Put a recipe's scorers to trials made of at most so many of its prompts, the held-out ones first, or of rows that
    are labelled. Raises a UserError."""
    scorers = build_scorers(recipe.scorers, recipe.model)
    if labels is not None:
        return appraise(scorers, labelled(labels, rows), tell)
    train, heldout, _ = read_prompts(recipe)
    known = [*with_reference(heldout, seed), *with_reference(train, seed)]
    trials = trials_of(known[:rows], seed, same, among=known)
    if not trials:
        raise PromptError(
            "Nothing can be tested: there is no other prompt's reply to hold against a reference, no fact in one to "
            "alter, and no earlier turn of an assistant. Give more prompts, or rows that are labelled (--labels FILE)."
        )
    return appraise(scorers, trials, tell)


def appraise(scorers: Mapping[str, Scorer], trials: Sequence[Trial], tell: Reporter) -> dict[str, Any]:
    """What each scorer is worth.

    `scorers`: for each its `trials` (AUC with its 95% interval; `prefers`, the share of pairs in which the good reply
    scores higher, ties half; `n`, the pairs, or replies where there are none; `failed`, the replies without a score),
    `length_correlation` (Spearman's, with the words of the `good` replies and of `all`), `batch_difference` (the most
    that a score changes between batches of 1, 7 and 64; not of judges), `seconds_per_1000` good replies in batches of
    `batch`, and the share that `failed` with the first reason. For a judge, `agreement` is with the labels, where there
    are any: `accuracy` and Cohen's `kappa`, a score of 0.5 or more taken for good. `correlations` are Spearman's
    between scorers, over the `good` replies and over `all`. `warnings` say what to look at. `scores` holds every
    trial's scores.
    """
    good = _different(reply for trial in trials for reply in trial.good)
    bad = _different(reply for trial in trials for reply in trial.bad)
    replies = _different([*good, *bad])  # the good ones first: these are timed
    tell.begin("scoring", len(replies) * len(scorers), "scores")
    for scorer in scorers.values():
        scorer.prepare()
    words: dict[str, list[Score]] = {}
    seconds: dict[str, float | None] = {}
    for name, scorer in scorers.items():
        if isinstance(scorer, Combined):
            words[name], seconds[name] = scorer.combine_all(words), None
        else:
            began = time.perf_counter()
            words[name] = run_in_batches(scorer, good)
            seconds[name] = 1000 * (time.perf_counter() - began) / len(good) if good else None
            words[name] += run_in_batches(scorer, replies[len(good) :])
        tell.advance(len(replies))
    said = {name: dict(zip(map(_key, replies), scores, strict=True)) for name, scores in words.items()}
    tell.end(f"{len(replies)} replies, {len(trials)} trials")
    numbers = {
        name: {
            "trials": {trial.name: _trial_numbers(trial, said[name]) for trial in trials},
            "agreement": _agreement(trials, said[name]) if isinstance(scorer, Judge) else None,
            "length_correlation": {
                "good": _length_correlation(good, said[name]),
                "all": _length_correlation(replies, said[name]),
            },
            # A judge is asked about each reply by itself, and each answer costs something.
            "batch_difference": (None if isinstance(scorer, (Combined, Judge)) else _batch_difference(scorer, replies)),
            "seconds_per_1000": seconds[name],
            **_failures(said[name]),
        }
        for name, scorer in scorers.items()
    }
    return {
        "replies": len(replies),
        "good": len(good),
        "batch": BATCH,
        "scorers": numbers,
        "correlations": {"good": _correlations(said, good), "all": _correlations(said, replies)},
        "warnings": _warnings(numbers),
        "scores": {
            trial.name: {
                name: {side: _values(getattr(trial, side), words) for side in ("good", "bad")}
                for name, words in said.items()
            }
            for trial in trials
        },
    }


def _trial_numbers(trial: Trial, said: Said) -> dict[str, Any]:
    good, bad = _values(trial.good, said), _values(trial.bad, said)
    n = len(good) if trial.paired else len(good) + len(bad)
    failed = sum(value is None for value in (*good, *bad))
    if trial.paired:
        pairs = [(g, b) for g, b in zip(good, bad, strict=True) if g is not None and b is not None]
        area = metrics.paired_auc([g for g, _ in pairs], [b for _, b in pairs])
        prefers: Interval | None = metrics.mean([float(g > b) + 0.5 * (g == b) for g, b in pairs])
    else:
        area = metrics.unpaired_auc([g for g in good if g is not None], [b for b in bad if b is not None])
        prefers = None
    return {"auc": asdict(area), "prefers": prefers and asdict(prefers), "n": n, "failed": failed}


def _agreement(trials: Sequence[Trial], said: Said) -> dict[str, Any] | None:
    """How far a judge agrees with people who labelled replies one by one."""
    trial = next((trial for trial in trials if trial.name == "label"), None)
    if trial is None:
        return None
    values = [*_values(trial.good, said), *_values(trial.bad, said)]
    labels = [True] * len(trial.good) + [False] * len(trial.bad)
    known = [(value >= _GOOD_FROM, label) for value, label in zip(values, labels, strict=True) if value is not None]
    ours, theirs = [a for a, _ in known], [b for _, b in known]
    right = [a == b for a, b in known]
    return {"accuracy": asdict(metrics.share(right)), "kappa": metrics.kappa(ours, theirs), "at": _GOOD_FROM}


def _values(replies: Sequence[Reply], said: Said) -> list[float | None]:
    return [said[_key(reply)].value for reply in replies]


def _length_correlation(replies: Sequence[Reply], said: Said) -> float | None:
    known = [(value, word_count(reply.text)) for reply in replies if (value := said[_key(reply)].value) is not None]
    return metrics.spearman([value for value, _ in known], [float(words) for _, words in known])


def _batch_difference(scorer: Scorer, replies: Sequence[Reply]) -> float:
    some = replies[:: max(1, len(replies) // _BATCH_REPLIES)][:_BATCH_REPLIES]
    by_size = [[score.value for score in run_in_batches(scorer, some, size)] for size in _BATCH_SIZES]
    known = [[value for value in values if value is not None] for values in zip(*by_size, strict=True)]
    return max((max(values) - min(values) for values in known if values), default=0.0)


def _failures(said: Said) -> dict[str, Any]:
    reasons = [score.failure for score in said.values() if score.value is None]
    return {"failed": len(reasons) / max(1, len(said)), "first_failure": reasons[0] if reasons else None}


def _correlations(said: Mapping[str, Said], replies: Sequence[Reply]) -> dict[str, dict[str, float | None]]:
    """Spearman's between each two scorers, over those of the replies that both scored."""
    found: dict[str, dict[str, float | None]] = {name: {} for name in said}
    for one, other in combinations(said, 2):
        pairs = zip(_values(replies, said[one]), _values(replies, said[other]), strict=True)
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        found[one][other] = found[other][one] = metrics.spearman([a for a, _ in both], [b for _, b in both])
    return found


def _warnings(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    said = []
    for name, of in numbers.items():
        for among, value in of["length_correlation"].items():
            if value is not None and abs(value) > _LENGTH_BOUND:
                which = "longer" if value > 0 else "shorter"
                of_what = "good replies" if among == "good" else "all replies"
                said.append(
                    f"'{name}' prefers {which} replies: its correlation with the length of {of_what} is {value:+.2f}."
                )
        if of["failed"] > 0:
            said.append(
                f"'{name}' failed on {of['failed']:.1%} of the replies. The first reason: {of['first_failure']}"
            )
        if (of["batch_difference"] or 0) > 1e-3:
            said.append(f"'{name}' says another score in other batches, by up to {of['batch_difference']:.2g}.")
    return said


def _different(replies: Any) -> list[Reply]:
    return list({_key(reply): reply for reply in replies}.values())


def _key(reply: Reply) -> tuple[str, str]:
    return reply.prompt.id, reply.text
