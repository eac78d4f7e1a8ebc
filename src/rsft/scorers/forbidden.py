"""Does a reply keep clear of certain phrases?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from rsft.scorers.base import Scorer
from rsft.text import normalise, words
from rsft.types import Reply, Score


class Forbidden(Scorer):
    """1 if none of the phrases occurs in the reply, else 0.

    A phrase occurs where its words stand in a row, whatever punctuation is between them: 'as an AI' occurs in 'As an
    (AI)' and not in 'as an aide'. Width and accents never matter, case only if `ignore_case` is false. A phrase
    without a letter or digit ('```') occurs where its characters do.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"phrases": ["as an AI", "I cannot"]}

    phrases: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(
        min_length=1, description="None of these may occur."
    )
    ignore_case: bool = Field(True, description="Whether 'AS AN AI' is 'as an AI'.")

    @cached_property
    def _wanted(self) -> Sequence[tuple[str, str, str]]:
        """The phrases with both forms of each."""
        return [(phrase, *self._forms(phrase)) for phrase in self.phrases]

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply.text) for reply in replies]

    def hopeless(self, beginning: Reply) -> str | None:
        # What stands behind the last space may still become another word.
        text = beginning.text[: beginning.text.rfind(" ") + 1]
        heard = text.lower() if self.ignore_case else text
        if text.isascii() and not any(row.split(" ", 2)[1] in heard for _, _, row in self._wanted):
            return None
        return self._score(text).explanation or None

    def _score(self, text: str) -> Score:
        whole, row = self._forms(text)
        found = [
            phrase for phrase, plain, in_row in self._wanted if (in_row in row if in_row.strip() else plain in whole)
        ]
        return Score(float(not found), f"says {', '.join(map(repr, found))}" if found else "")

    def _forms(self, text: str) -> tuple[str, str]:
        """The normalised text, and its words with a space on both sides of each."""
        normalised = normalise(text, ignore_case=self.ignore_case)
        return normalised, f" {' '.join(words(normalised))} "
