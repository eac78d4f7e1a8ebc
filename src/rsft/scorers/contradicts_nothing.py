"""Is every detail of a reply one that it was given?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import Field

from rsft.scorers.base import Scorer
from rsft.scorers.context import Context, Fields
from rsft.scorers.details import Detail, Kind, details, supported
from rsft.scorers.readings import Reading
from rsft.types import Prompt, Reply, Score

_KINDS: tuple[Kind, ...] = ("numbers", "dates", "amounts", "names", "codes")
_USUAL_FIELDS = ("facts", "persona")
_SHOWN = 8


class ContradictsNothing(Scorer):
    """The share of the details in the reply that its conversation, or a field of its prompt, gives; 1 if it has none.

    Details are numbers, dates and times, amounts of money and percentages, names, and codes (with e-mail addresses,
    links and phone numbers): see `rsft.scorers.details` for how they are told. Each counts once, and holds however it
    is written: '16:30' where '4:30 pm' was given. What follows from what was given, a sum or tomorrow's date, was not
    given.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"details": ["numbers", "dates", "amounts"]}

    fields: Fields | None = Field(
        None, alias="with", description="Fields of the prompt that count as given. Default: facts and persona, if any."
    )
    details: tuple[Kind, ...] = Field(_KINDS, min_length=1, description="The kinds of details that are looked at.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Reply) -> Score:
        stated = list({_identity(found): found for found in details(reply.text) if found.kind in self.details}.values())
        if not stated:
            return Score(1.0, "states no detail")
        given = self._given(reply.prompt)
        invented = [found.written for found in stated if not any(supported(found, text) for text in given)]
        kept = len(stated) - len(invented)
        explanation = f"{kept} of {len(stated)} details were given"
        if invented:
            more = f"; and {len(invented) - _SHOWN} more" if len(invented) > _SHOWN else ""
            explanation += f"; not given: {'; '.join(invented[:_SHOWN])}{more}"
        return Score(kept / len(stated), explanation)

    def _given(self, prompt: Prompt) -> list[Reading]:
        fields = self.fields
        if fields is None:
            fields = tuple(name for name in _USUAL_FIELDS if name in prompt.fields)
        context = Context.of(prompt, fields)
        texts = [*context.given.values(), *(turn.content for turn in context.turns)]
        return [_reading(text) for text in dict.fromkeys(texts)]


def _identity(found: Detail) -> tuple[object, ...]:
    return (found.kind, found.tokens or found.written.casefold())


@lru_cache(maxsize=4096)
def _reading(given: str) -> Reading:
    """What a prompt gives is asked of each of its candidates."""
    return Reading(given)
