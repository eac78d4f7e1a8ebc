"""Known tricks against judges, found by rules before any judge is asked.

A judge can be fooled by a reply that says nothing ("One Token to Fool LLM-as-a-Judge", 2507.08794: a colon, "Thought
process:"), that brings its own verdict, speaks to its judge, or feigns the end of the data. None of these has a place
in an honest reply. The rules look for whole phrases of that kind, not for words such as 'rating', 'stars' or 'score'.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import regex

from rsft.scorers.judge.trick_phrases import OPENERS, PATTERNS
from rsft.text import normalise, words

_SPEAKS = regex.compile(r"[\p{L}\p{N}]")
# Letters of other scripts that look like Latin ones: they hide a word within a Latin text.
_ALIKE = str.maketrans("аеорсухіјѕԁһѵαεικνορτυχ", "aeopcyxijsdhvaeikvoptux")
_TWO_SCRIPTS = regex.compile(r"\b(?=\w*[a-z])(?=\w*[\p{Cyrillic}\p{Greek}])\w{1,40}\b")
_SHOWN = 60


def trick_in(text: str) -> str | None:
    """The known trick that a reply holds: its kind, and the place. None for an honest reply, as far as rules tell.

    Case, width, accents, invisible marks, and letters that only look Latin never matter.
    """
    plain = normalise(text)
    if not _SPEAKS.search(plain):
        return f"nothing is said: {text[:_SHOWN]!r}"
    plain = _TWO_SCRIPTS.sub(lambda word: word[0].translate(_ALIKE), plain)
    if _only_opens(plain):
        return f"the beginning of an answer, and no answer: {text.strip()[:_SHOWN]!r}"
    # Lines matter to a few patterns; a normalised text has lost them.
    lines = "\n".join(filter(None, (normalise(line) for line in text.splitlines())))
    lines = _TWO_SCRIPTS.sub(lambda word: word[0].translate(_ALIKE), lines)
    for kind, pattern in _patterns():
        if found := pattern.search(lines) or pattern.search(plain):
            return f"{kind}: {found[0].strip()[:_SHOWN]!r}"
    return None


@cache
def _patterns() -> Sequence[tuple[str, regex.Pattern[str]]]:
    return [(kind, regex.compile(pattern, regex.M)) for kind, some in PATTERNS.items() for pattern in some]


@cache
def _openers() -> regex.Pattern[str]:
    """One or more openers, and nothing else; over the words of a text."""
    spelled = sorted({" ".join(words(normalise(one))) for one in OPENERS}, key=len, reverse=True)
    return regex.compile(rf"(?:(?:{'|'.join(map(regex.escape, spelled))})(?: |$))++")


def _only_opens(plain: str) -> bool:
    row = " ".join(words(plain))
    return _openers().fullmatch(row) is not None
