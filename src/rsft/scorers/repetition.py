"""Does a reply say again what was said before?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import Field

from rsft.scorers.base import Scorer
from rsft.text import grams, normalise, words
from rsft.types import Reply, Score


class Repetition(Scorer):
    """1 − the share of the reply's word n-grams that are old, from 0 (nothing is new) to 1 (everything is).

    An n-gram is old if an earlier assistant's turn holds it or, with `within`, if it stands in the reply before. Each
    turn is looked at by itself, and the one that makes most of the reply old counts. A reply of fewer than n words is
    one n-gram. A script without spaces is read by its characters. A reply without words fails.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"n": 3}

    n: int = Field(3, ge=1, description="Words in a run that is looked for.")
    within: bool = Field(True, description="What the reply itself has said counts as said.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Reply) -> Score:
        said = words(normalise(reply.text))
        if not said:
            return Score.failed("the reply has no words")
        n = min(self.n, len(said))
        own = grams(said, n)
        again = _repeated(own) if self.within else [False] * len(own)
        inside = most = sum(again)
        source = "says itself"
        for number, turn in enumerate((t for t in reply.prompt.conversation if t.role == "assistant"), 1):
            before = _grams(turn.content, n)
            old = sum(seen or gram in before for seen, gram in zip(again, own, strict=True))
            if old > most:
                most, source = old, f"says the assistant's turn {number}"
                source += " and itself" if inside else ""
        if not most:
            return Score(1.0, "says nothing again")
        what = "words" if n == 1 else f"runs of {n} words"
        return Score(1 - most / len(own), f"{source} again in {most} of {len(own)} {what}")


def _repeated(own: Sequence[tuple[str, ...]]) -> list[bool]:
    """For each n-gram, whether it stands before."""
    seen: set[tuple[str, ...]] = set()
    again = []
    for gram in own:
        again.append(gram in seen)
        seen.add(gram)
    return again


@lru_cache(maxsize=1024)
def _grams(turn: str, n: int) -> frozenset[tuple[str, ...]]:
    """A prompt's turns are asked of each of its candidates."""
    return frozenset(grams(words(normalise(turn)), n))
