"""Answers that a prompt's candidates agree on (self-consistency, 2203.11171)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import regex
from pydantic import Field, field_validator

from rsft.patterns import checked, last_group
from rsft.selection.pool import Mask, Pool, stable_hash
from rsft.selection.rule import Rule
from rsft.text import normalise

_NUMBER = regex.compile(r"(?:(?<![\w)])-)?(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?")
# A longer one is compared as it stands.
_MOST_DIGITS = 28
_AROUND = " .,;:!?。！？、，；：\"'“”「」*$"
_SHOWN = 60


class Agreement(Rule):
    """Keeps candidates whose answer is that of at least the share `least` of the prompt's candidates with an answer.

    The answer is the reply itself (`whole`), the last number in it (`last_number`), or what the one group of a regular
    expression holds where it matches last. Answers are compared as `rsft.text.normalise` writes them, without the
    punctuation around them, and numbers by value: '1,000' is '1000.0'. A reply without an answer is never kept.
    Candidates that a rule before has rejected don't count.
    """

    example: ClassVar[Any] = {"agreement": {"least": 0.5, "answer": "last_number"}}
    main_option: ClassVar[str | None] = "least"
    weighs_all: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True

    least: float = Field(0.5, gt=0, le=1, description="The share that must have the same answer.")
    answer: str = Field("whole", description="whole, last_number, or a regular expression with one group.")
    majority: bool = Field(
        False, description="Keep the most frequent answer alone; of equally frequent ones, one by a stable hash."
    )

    @field_validator("answer")
    @classmethod
    def _finds_an_answer(cls, said: str) -> str:
        if said not in ("whole", "last_number"):
            try:
                checked(said, one_group=True)
            except ValueError as error:
                raise ValueError(
                    f"expected whole, last_number or a regular expression with one group: {error}"
                ) from None
        return said

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        kept = np.zeros_like(alive)
        for family in pool.families(alive):
            answers = self._answers(pool, family)
            if not answers:
                continue
            counts = Counter(answers.values())
            agreed = {answer for answer, count in counts.items() if count / len(answers) >= self.least}
            if self.majority:
                agreed &= {_most_frequent(counts)}
            kept[[place for place, answer in answers.items() if answer in agreed]] = True
        return kept

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        answers = self._answers(pool, [int(other) for other in pool.siblings(place) if alive[other]])
        if place not in answers:
            return "has no answer"
        counts = Counter(answers.values())
        own, most = answers[place], _most_frequent(counts)
        why = f"{counts[own]} of {len(answers)} agree on {_shown(own)}"
        return f"{why}, and {counts[most]} on {_shown(most)}" if self.majority and own != most else why

    def _answers(self, pool: Pool, family: Sequence[int]) -> Mapping[int, str]:
        """The answers of a prompt's candidates by their places."""
        found = {place: self._answer_of(pool.texts[place]) for place in family}
        return {place: answer for place, answer in found.items() if answer}

    def _answer_of(self, text: str) -> str | None:
        if self.answer == "whole":
            return _comparable(text)
        if self.answer == "last_number":
            numbers = _NUMBER.findall(normalise(text))
            return _comparable(numbers[-1]) if numbers else None
        try:
            found = last_group(self.answer, text)
        except TimeoutError:
            return None
        return None if found is None else _comparable(found)


def _comparable(answer: str) -> str:
    """The answer in the form in which answers are compared."""
    plain = normalise(answer).strip(_AROUND)
    if len(plain) <= _MOST_DIGITS and _NUMBER.fullmatch(plain):
        value = Decimal(plain.replace(",", ""))
        plain = format(value.normalize() if value else Decimal(0), "f")
    return plain


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda answer: (-counts[answer], stable_hash(answer)))


def _shown(answer: str) -> str:
    return repr(answer if len(answer) <= _SHOWN else answer[:_SHOWN] + "…")
