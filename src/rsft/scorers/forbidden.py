"""Does a reply keep clear of certain phrases?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from rsft.scorers.base import Scorer
from rsft.scorers.text import normalise, words
from rsft.types import Reply, Score


class Forbidden(Scorer):
    """1 if none of the phrases occurs in the reply, else 0.

    A phrase occurs where its words stand in a row, whatever punctuation is between them: 'as an AI' occurs in 'As an
    (AI)' and not in 'as an aide'. Width and accents never matter, case only if `ignore_case` is false. A phrase
    without a letter or digit ('```') occurs where its characters do.
    """

    phrases: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(min_length=1)
    ignore_case: bool = True

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        wanted = [(phrase, *self._forms(phrase)) for phrase in self.phrases]
        return [self._score(reply.text, wanted) for reply in replies]

    def _score(self, text: str, wanted: Sequence[tuple[str, str, str]]) -> Score:
        whole, row = self._forms(text)
        found = [phrase for phrase, plain, in_row in wanted if (in_row in row if in_row.strip() else plain in whole)]
        return Score(float(not found), f"says {', '.join(map(repr, found))}" if found else "")

    def _forms(self, text: str) -> tuple[str, str]:
        """The normalised text, and its words with a space on both sides of each."""
        normalised = normalise(text, ignore_case=self.ignore_case)
        return normalised, f" {' '.join(words(normalised))} "
