"""What there is to say of prompts before a recipe is written for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsft.starting.columns import FIELDS, holds, is_blank
from rsft.types import Prompt

# Languages are told of so many prompts: more would take longer, and say no more.
_LANGUAGES_OF = 200
# A token's rough length in characters.
_CHARACTERS_PER_TOKEN = 2.5


@dataclass(frozen=True, slots=True)
class Found:
    """In how many prompts a field can be used, what it holds, and why it can't in one of those where it can't."""

    usable: int
    of: int
    holds: frozenset[str]
    problem: str = ""

    @property
    def everywhere(self) -> bool:
        return self.of > 0 and self.usable == self.of


@dataclass(frozen=True, slots=True)
class Looked:
    """Prompts in numbers. `duplicates` counts conversations that came before; `languages` is of the first 200."""

    count: int
    turns: float
    longest_characters: int
    duplicates: int
    begin_with_system: int
    languages: Mapping[str, int]
    fields: Mapping[str, Found]

    @property
    def longest_tokens_about(self) -> int:
        return int(self.longest_characters / _CHARACTERS_PER_TOKEN)


def look(prompts: Sequence[Prompt]) -> Looked:
    """Count what there is."""
    different = {
        tuple((turn.role, " ".join(turn.content.split()).casefold()) for turn in prompt.conversation)
        for prompt in prompts
    }
    return Looked(
        count=len(prompts),
        turns=sum(len(prompt.conversation) for prompt in prompts) / max(1, len(prompts)),
        longest_characters=max((sum(len(turn.content) for turn in prompt.messages) for prompt in prompts), default=0),
        duplicates=len(prompts) - len(different),
        begin_with_system=sum(prompt.conversation[0].role == "system" for prompt in prompts),
        languages=_languages(prompts[:_LANGUAGES_OF]),
        fields={name: _found(name, prompts) for name in FIELDS},
    )


def _languages(prompts: Sequence[Prompt]) -> dict[str, int]:
    """How many prompts are in which language, the most frequent first; what can't be told is left out."""
    from rsft.scorers.languages import language_of

    said = ("\n".join(turn.content for turn in prompt.conversation if turn.role != "system") for prompt in prompts)
    counts = Counter(language for text in said if (language := language_of(text[:2000])))
    return dict(counts.most_common())


def _found(name: str, prompts: Sequence[Prompt]) -> Found:
    problems = [_problem(name, prompt.fields.get(name)) for prompt in prompts]
    kinds = frozenset(holds(prompt.fields[name]) for prompt in prompts if not is_blank(prompt.fields.get(name)))
    wrong = next((problem for problem in problems if problem), "")
    return Found(sum(problem is None for problem in problems), len(prompts), kinds, wrong)


def _problem(name: str, value: Any) -> str | None:
    """Why a scorer can't use a field's value; nothing where it is not there, None where it can."""
    if is_blank(value):
        return ""
    if holds(value) not in FIELDS[name].holds:
        return f"it holds {holds(value)}, and not {' or '.join(FIELDS[name].holds)}"
    if name == "constraints":
        return _problem_of_constraints(value)
    return _problem_of_schema(value) if name == "schema" else None


def _problem_of_constraints(value: Any) -> str | None:
    from pydantic import ValidationError

    from rsft.config.mistakes import mistakes
    from rsft.scorers.asked import Asked

    try:
        asked = Asked.model_validate(dict(value))
    except ValidationError as error:
        return mistakes(error, Asked, "the constraints", "constraints")[0]
    return None if asked.names else ""


def _problem_of_schema(value: Any) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        return f"is no JSON Schema: {error.message[:120]}"
    return None
