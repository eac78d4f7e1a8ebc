"""Is a reply as long as it may be?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rsft.scorers.base import Scorer
from rsft.text import word_count
from rsft.types import Reply, Score


class Length(Scorer):
    """1 if the reply's length is within the limits, else 0.

    Words are runs between spaces that hold a letter or a digit; each Chinese or Japanese character counts as one.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"max_words": 60}

    min_words: int | None = Field(None, ge=0, description="At least so many words.")
    max_words: int | None = Field(None, ge=0, description="At most so many words.")
    min_chars: int | None = Field(None, ge=0, description="At least so many characters.")
    max_chars: int | None = Field(None, ge=0, description="At most so many characters.")

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Length:
        if all(limit is None for limit in (self.min_words, self.max_words, self.min_chars, self.max_chars)):
            raise ValueError("give at least one limit")
        check_order("words", self.min_words, self.max_words)
        check_order("chars", self.min_chars, self.max_chars)
        return self

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply.text) for reply in replies]

    def hopeless(self, beginning: Reply) -> str | None:
        problems = too_many_words(beginning.text, self.max_words)
        return next(iter([*problems, *outside(len(beginning.text), None, self.max_chars, "characters")]), None)

    def _score(self, text: str) -> Score:
        word_total, char_total = word_count(text), len(text)
        problems = [
            *outside(word_total, self.min_words, self.max_words, "words"),
            *outside(char_total, self.min_chars, self.max_chars, "characters"),
        ]
        return Score(float(not problems), "; ".join(problems) or f"{word_total} words, {char_total} characters")


def check_order(unit: str, low: int | None, high: int | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"min_{unit} ({low}) is more than max_{unit} ({high})")


def too_many_words(text: str, most: int | None) -> list[str]:
    """What is wrong if the text has more words. A longer text never has fewer."""
    if most is None or len(text) <= most:  # a word has a character at least
        return []
    if text.isascii() and len(text) <= 2 * most:  # and a space before the next
        return []
    return outside(word_count(text), None, most, "words")


def outside(count: int, low: int | None, high: int | None, unit: str) -> list[str]:
    """What is wrong with a count, in a list of at most one."""
    if low is not None and count < low:
        return [f"{count} {unit}, fewer than {low}"]
    if high is not None and count > high:
        return [f"{count} {unit}, more than {high}"]
    return []
