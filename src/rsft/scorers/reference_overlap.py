"""How much a reply has in common with the reference?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from rsft.scorers.base import Scorer
from rsft.text import normalise, words
from rsft.types import Reply, Score


class ReferenceOverlap(Scorer):
    """How many words the reply shares with the reference, from 0 to 1: the F1 of their words.

    Words are counted as often as they come, whatever their order and case: 2·c / (r + g), with c words in common, r of
    the reply and g of the reference (SQuAD's F1, 1606.05250). Of several references the nearest counts. It is no judge
    of one reply, which may be good in other words: it is for means: a held-out scorer beside those that select.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"field": "reference"}

    field: str = Field("reference", description="The prompt's field that holds a reference, or a list of them.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Reply) -> Score:
        given = reply.prompt.fields.get(self.field)
        references = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str) and one]
        if not references:
            return Score.failed(f"the prompt's field '{self.field}' holds no text")
        own = Counter(words(normalise(reply.text)))
        value, nearest = max((_f1(own, Counter(words(normalise(text)))), text) for text in references)
        return Score(value, f"nearest to {nearest!r}" if len(references) > 1 else "")


def _f1(own: Counter[str], reference: Counter[str]) -> float:
    total = own.total() + reference.total()
    return 2 * (own & reference).total() / total if total else 0.0
