"""How much two replies have in common, by their words alone."""

from __future__ import annotations

from rsft.text import grams, normalise, words

_SHINGLE = 3

Shingles = frozenset[str]


def shingles(text: str) -> Shingles:
    """Word triples of the text, without its punctuation; a script without spaces gives triples of characters."""
    said = words(normalise(text))
    return frozenset(map(" ".join, grams(said, _SHINGLE))) or frozenset([" ".join(said)])


def jaccard(one: Shingles, other: Shingles) -> float:
    """The share of common triples among those of either, from 0 to 1."""
    return len(one & other) / len(one | other)
