"""Is a reply's answer the right one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Literal

import regex
from pydantic import Field, field_validator, model_validator

from rsft.patterns import MATCHING_SECONDS, checked, last_group
from rsft.scorers import numerals
from rsft.scorers.base import Scorer
from rsft.text import LETTER, normalise
from rsft.types import Prompt, Reply, Score

Compare = Literal["exact", "normalised", "number"]
_Given = str | int | float

_SHOWN = 80
# A number of more digits is no answer; it would take more than linear time to read.
_MOST_DIGITS = 1000
# What stands around an answer and is no part of it. A bracket, a sign or a point may be, at its beginning.
_BEFORE = " \n\"'*_“”„«»「」『』《》"
_BEHIND = _BEFORE + ".,;:!?…。，、；：！？"
_PARENTHESISED = regex.compile(r"\(([\p{L}\p{N}]++)\)")
_NUMBER = regex.compile(
    rf"(?V1)(?<!{LETTER})(?:(?<!{LETTER}|[\p{{N}})\]%.])(?P<minus>-))?(?:[$€£¥₹₩] ?)?(?<![\d.])"
    r"(?P<digits>\.?\d++(?:[.,']\d++)*+)(?:e(?P<power>[+-]?\d{1,2})(?![\p{L}\d]))?"
)


class Answer(Scorer):
    """1 if the reply's answer is the right one, else 0; a reply without an answer has 0.

    The right one is `expected` or, without it, the prompt's field `field`: a text, a number, or a list of which each is
    right. A prompt without it is a failed score. The reply's answer is the whole of it, its last number (`where:
    last_number`), or what the group of the regular expression `pattern` holds where it matches last.

    `compare`: `exact` looks at each character but white space at the ends; `normalised` leaves out case, width, accents
    and punctuation at the ends, too; `number` reads both as the number they hold ('$1,299.50' is 1299.5), and an answer
    that doesn't hold exactly one is no answer. '1.299' is 1299 as well as 1.299. Fractions are for `math_answer`.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"pattern": r"(?i)answer is (\w+)"}

    field: str = Field("answer", description="The prompt's field that holds the right answer.")
    expected: _Given | list[_Given] | None = Field(None, description="The right answer to every prompt instead.")
    where: Literal["whole", "last_number"] = Field("whole", description="What of the reply is its answer.")
    pattern: str | None = Field(None, description="A regular expression whose one group is the reply's answer.")
    compare: Compare | None = Field(None, description="`number` for the last number, else `normalised`.")

    @field_validator("expected", mode="before")
    @classmethod
    def _is_no_flag(cls, given: Any) -> Any:
        if any(isinstance(one, bool) for one in (given if isinstance(given, list) else [given])):
            raise ValueError("is true or false; write a text in quotes: 'yes'")
        return given

    @field_validator("pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else checked(pattern, one_group=True)

    @model_validator(mode="after")
    def _options_agree(self) -> Answer:
        if self.where == "last_number" and self.pattern is not None:
            raise ValueError("give either a pattern or where: last_number")
        if self.where == "last_number" and self.compare not in (None, "number"):
            raise ValueError("the last number is compared as a number")
        if self.expected is not None:
            self._accepted_among(self.expected, "the option 'expected'")
        return self

    @cached_property
    def _by(self) -> Compare:
        return self.compare or ("number" if self.where == "last_number" else "normalised")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Reply) -> Score:
        try:
            accepted = self._accepted(reply.prompt)
        except ValueError as error:
            return Score.failed(str(error))
        try:
            answer = self._answer(reply.text)
        except TimeoutError:
            return Score.failed(f"the pattern took more than {MATCHING_SECONDS:g} s on this reply")
        forms = self._forms(answer) if answer is not None else set()
        if answer is None or not forms:
            return Score(0.0, "no answer")
        if forms & accepted.keys():
            return Score(1.0, f"answers {_shown(answer)}")
        return Score(0.0, f"answers {_shown(answer)}, not {_shown(next(iter(accepted.values())))}")

    def _accepted(self, prompt: Prompt) -> Mapping[str | Decimal, str]:
        if self.expected is not None:
            return self._accepted_among(self.expected, "the option 'expected'")
        return self._accepted_among(prompt.fields.get(self.field), f"the prompt's field '{self.field}'")

    def _accepted_among(self, given: Any, whose: str) -> Mapping[str | Decimal, str]:
        """Every form of the answers that are right, with the answer as it is written. Raises ValueError."""
        answers = answers_in(given, whose)
        accepted = {form: answer for answer in answers for form in self._forms(answer)}
        if not accepted:
            raise ValueError(f"{whose} holds no {'number' if self._by == 'number' else 'answer'}: {_shown(answers[0])}")
        return accepted

    def _answer(self, text: str) -> str | None:
        if self.where == "last_number":
            numbers = [match[0] for match in _NUMBER.finditer(normalise(text))]
            return numbers[-1] if numbers else None
        return text if self.pattern is None else last_group(self.pattern, text)

    def _forms(self, answer: str) -> set[str | Decimal]:
        """What the answer is compared by; nothing if it is none."""
        if self._by == "number":
            numbers = list(_NUMBER.finditer(normalise(answer)))
            return set(_values(numbers[0])) if len(numbers) == 1 else set()
        form = answer.strip()
        if self._by == "normalised":
            form = normalise(form).rstrip(_BEHIND).lstrip(_BEFORE)
            form = _PARENTHESISED.sub(r"\1", form) if len(form) < _SHOWN else form
        return {form} if form else set()


def answers_in(given: Any, whose: str) -> list[str]:
    """The answers that a prompt's field holds. Raises ValueError if there are none."""
    answers = given if isinstance(given, (list, tuple)) else [given]
    if given is None or not answers:
        raise ValueError(f"{whose} is {'missing' if given is None else 'empty'}: there is no right answer")
    for answer in answers:
        if not isinstance(answer, (str, int, float)):
            found = type(answer).__name__
            raise ValueError(f"{whose} must be a text, a number or a list of them, found {found}")  # noqa: TRY004
    return [str(answer) for answer in answers]


def _values(number: regex.Match[str]) -> list[Decimal]:
    digits = number["digits"]
    if len(digits) > _MOST_DIGITS:
        return []
    written = [digits] if digits.isdigit() else numerals.values(digits)
    power = Decimal(f"1e{number['power'] or 0}")
    return [Decimal(value) * power * (-1 if number["minus"] else 1) for value in written]


def _shown(answer: str) -> str:
    answer = answer.strip()
    return repr(answer if len(answer) <= _SHOWN else answer[:_SHOWN] + "…")
