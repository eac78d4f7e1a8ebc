"""Phrases that replies to many prompts share.

A habit that no rule minds grows: each iteration learns from replies of the one before, and accepts its habits again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from rsft.text import grams, normalise, sentences, word_spans, words

# Words of a phrase: shorter ones are grammar, longer ones hold one of these.
_WORDS = (3, 4)
# Phrases in the replies to fewer prompts, or to a smaller share of them, are not told; nor are more than so many.
_LEAST_PROMPTS, _LEAST_SHARE, _MOST = 3, 0.05, 100
# A habit has grown by so much, and to twice what it was at least.
_GROWN = 0.15
# So many habits are told.
_TOLD = 3


def shared_phrases(replies: Iterable[tuple[str, str]]) -> dict[str, float]:
    """The phrases that replies to several prompts share, with the share of the prompts, the commonest first.

    Takes pairs of what was said to the model and what it replied; those of one prompt have the same first text. What a
    prompt says itself is no habit of its replies.
    """
    by_prompt: dict[str, set[str]] = {}
    for given, reply in replies:
        by_prompt.setdefault(given, set()).update(_phrases(reply))
    counts: Counter[str] = Counter()
    for given, phrases in by_prompt.items():
        counts.update(phrases - _phrases(given))
    least = max(_LEAST_PROMPTS, _LEAST_SHARE * len(by_prompt))
    common = sorted(
        ((phrase, count) for phrase, count in counts.items() if count >= least), key=lambda one: (-one[1], one[0])
    )
    return {phrase: count / len(by_prompt) for phrase, count in common[:_MOST]}


def grown(by_iteration: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The phrases whose share grew most from the first iteration to the last, with their shares in all of them; 0 where
    few had it. Of phrases that share two words in a row only one is told."""
    if len(by_iteration) < 2:
        return {}
    first, last = by_iteration[0], by_iteration[-1]
    growth = {phrase: share - first.get(phrase, 0.0) for phrase, share in last.items()}
    found: list[str] = []
    for phrase in sorted(growth, key=lambda phrase: (-growth[phrase], -len(phrase), phrase)):
        has_grown = growth[phrase] >= max(_GROWN, first.get(phrase, 0.0))
        if has_grown and not any(_overlap(phrase, other) for other in found):
            found.append(phrase)
    return {phrase: [shares.get(phrase, 0.0) for shares in by_iteration] for phrase in found[:_TOLD]}


def _phrases(text: str) -> set[str]:
    """The phrases inside a text's sentences, as they are written but for case and width. Numbers are in none."""
    found: set[str] = set()
    for sentence in sentences(text):
        whole = normalise(sentence)
        spans = word_spans(whole)
        for length in _WORDS:
            found.update(whole[gram[0][0] : gram[-1][1]] for gram in grams(spans, length))
    return {phrase for phrase in found if not any(map(str.isdigit, phrase))}


def _overlap(one: str, other: str) -> bool:
    """Whether they share two words in a row."""
    pairs, others = (set(pairwise(words(phrase))) for phrase in (one, other))
    return bool(pairs & others)
