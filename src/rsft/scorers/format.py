"""Has a reply the form that it should have?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import regex
from pydantic import Field, field_validator, model_validator

from rsft.patterns import MATCHING_SECONDS, checked
from rsft.scorers.base import Scorer
from rsft.scorers.length import check_order, outside, too_many_words
from rsft.text import word_count
from rsft.types import Reply, Score

# What a pattern may take while the reply is being written: it then just goes on.
_GLANCE_SECONDS = 0.01
# Whatever looks beyond the characters that it takes, or back to some: a partial match says nothing certain of these.
_LOOKS_AROUND = regex.compile(r"\(\?(?![:Pi])|\(\?P[=>&]|\(\*|\\[bBmMGKZzA0-9gX]|[$^]|[*+?}]\+|\{[^}]*[a-z]")
# Looking up what was compiled takes `regex` itself as long as a usual match.
_compiled = lru_cache(maxsize=64)(regex.compile)


class OneLine(Scorer):
    """1 if the reply is one line, not counting white space around it; 0 if it is empty or has any line break."""

    quick: ClassVar[bool] = True

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [_verdict(_line_problems(reply.text)) for reply in replies]

    def hopeless(self, beginning: Reply) -> str | None:
        return _second_line(beginning.text)


class Format(Scorer):
    """1 if the reply keeps to every option that is given, else 0.

    `pattern` is a regular expression that must match the whole reply, white space around it aside. `one_line` allows no
    line break of any kind and no empty reply. Words are counted as the scorer `length` counts them.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"one_line": True, "max_words": 60}

    pattern: str | None = Field(None, description="A regular expression that the whole reply must match.")
    one_line: bool = Field(False, description="No line break, and not empty.")
    min_words: int | None = Field(None, ge=0, description="At least so many words.")
    max_words: int | None = Field(None, ge=0, description="At most so many words.")

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else checked(pattern)

    @model_validator(mode="after")
    def _asks_for_something(self) -> Format:
        if self.pattern is None and not self.one_line and self.min_words is None and self.max_words is None:
            raise ValueError("give at least one of pattern, one_line: true, min_words and max_words")
        check_order("words", self.min_words, self.max_words)
        return self

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply.text) for reply in replies]

    def hopeless(self, beginning: Reply) -> str | None:
        text = beginning.text
        if self.one_line and (problem := _second_line(text)):
            return problem
        for problem in too_many_words(text, self.max_words):
            return problem
        return "can't match the pattern any more" if self.pattern and _matches_nothing(self.pattern, text) else None

    def _score(self, text: str) -> Score:
        problems = _line_problems(text) if self.one_line else []
        if self.min_words is not None or self.max_words is not None:
            problems += outside(word_count(text), self.min_words, self.max_words, "words")
        if self.pattern is not None:
            try:
                if _compiled(self.pattern).fullmatch(text.strip(), timeout=MATCHING_SECONDS) is None:
                    problems.append("does not match the pattern")
            except TimeoutError:
                return Score.failed(f"the pattern took more than {MATCHING_SECONDS:g} s on this reply")
        return _verdict(problems)


def _line_problems(text: str) -> list[str]:
    if not text.strip():
        return ["empty"]
    problem = _second_line(text)
    return [problem] if problem else []


def _second_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return f"{len(lines)} lines" if len(lines) > 1 else None


def _matches_nothing(pattern: str, beginning: str) -> bool:
    """Whether no text that begins so matches the whole pattern, white space around it aside."""
    text = beginning.lstrip()
    if _LOOKS_AROUND.search(pattern):
        return False
    try:
        if regex.fullmatch(pattern, text, partial=True, timeout=_GLANCE_SECONDS):
            return False
        return text == text.rstrip() or not regex.fullmatch(pattern, text.rstrip(), timeout=_GLANCE_SECONDS)
    except TimeoutError:
        return False


def _verdict(problems: Sequence[str]) -> Score:
    return Score(float(not problems), "; ".join(problems))
