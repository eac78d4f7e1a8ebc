"""Does a reply state the facts that its prompt gives?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import regex
from pydantic import Field

from rsft.scorers.base import Scorer
from rsft.scorers.readings import Reading
from rsft.text import normalise, words
from rsft.types import Reply, Score

_FLAGS = {"true": True, "yes": True, "false": False, "no": False, "none": False}

_CLAUSE = regex.compile(r"[^.!?;,:。！？；，、\n]+")
_NEGATION = regex.compile(
    r"\b(?:no|not|non|nope|none|never|neither|nor|without|cannot|lacks?|false|unavailable|kein\w*|nicht|ohne)\b"
    r"|n't\b|不|没|沒|无|無|非|ない|なし|ません"
)
_EMPTY_SLOT_WORDS = frozenset(
    ["is", "has", "have", "are", "does", "do", "can", "in", "of", "the", "a", "an", "for", "to", "on", "at"]
)


class StatesFacts(Scorer):
    """The share of the prompt's facts that the reply states.

    `field` names the prompt's field: a mapping of slots to values, or a list of values. A value that is a list counts
    as one fact and holds if each of its items is stated. A value of None is no fact (a column that a row doesn't fill).

    A value is stated if the reply holds it whole, whatever its case, punctuation, width and accents: the fact '4' is
    not stated by '14', '4:30', '$4.50', 'March 4' or '4th'. Written differently, these count as the same: numbers
    ('1,299.50', '1.299,50', '1299.5'; 'four', '两位'), amounts ('$20', '20 dollars'; a reply must name the currency
    that the fact names), times ('4:30 pm', '16:30', '16.30 Uhr', '下午4点半'), dates ('March 2nd', '2 March',
    '2. März', '3月2日'; a reply must give the year that the fact gives) and phone numbers.

    A yes-or-no value (true, false, 'True', 'no', 'None') is stated by a clause that names the slot, with a negation in
    it for the negative ones: `subtitles: none` by 'without any subtitles'. Slots are read as English words.

    One mention may state two facts of the same value ('3 bedrooms and bathrooms' states beds: 3 and baths: 3).
    """

    quick: ClassVar[bool] = True

    field: str = Field("facts", description="The prompt's field that holds the facts.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Reply) -> Score:
        facts = list(_facts(reply.prompt.fields.get(self.field)))
        if not facts:
            given = "is empty" if self.field in reply.prompt.fields else "is missing"
            return Score.failed(f"the prompt's field '{self.field}' {given}: there is nothing to state")
        said = Reading(reply.text)
        missing = [
            f"{slot}: {_shown(value)}" if slot else _shown(value)
            for slot, value in facts
            if not _states(said, reply.text, slot, value)
        ]
        stated = len(facts) - len(missing)
        explanation = f"states {stated} of {len(facts)}" + (f"; missing {'; '.join(missing)}" if missing else "")
        return Score(stated / len(facts), explanation)


def _facts(given: Any) -> Iterator[tuple[str, Any]]:
    """Slots and values; values of a list have no slot. What is empty states nothing and is left out."""
    if isinstance(given, Mapping):
        pairs = [(str(slot), value) for slot, value in given.items()]
    elif isinstance(given, (list, tuple)):
        pairs = [("", value) for value in given]
    elif given is None:
        pairs = []
    else:
        raise TypeError(f"facts must be a mapping or a list, found {type(given).__name__}")
    for slot, value in pairs:
        if isinstance(value, Mapping):
            raise TypeError(f"the fact '{slot}' is a mapping, expected a text, a number or a list of them")
        if value is not None and value != [] and str(value).strip():
            yield slot, value


def _states(said: Reading, text: str, slot: str, value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_states(said, text, slot, item) for item in value)
    written = str(value)
    flag = value if isinstance(value, bool) else _FLAGS.get(written.strip().casefold())
    if flag is None or not slot:
        return said.states(_reading(written))
    # A title may happen to be called 'True' or 'None'; but 'yes' and 'no' are said of anything.
    literally = written.strip().casefold() in ("true", "false", "none") and said.states(_reading(written))
    return literally or _states_flag(text, slot, positive=flag)


def _states_flag(text: str, slot: str, *, positive: bool) -> bool:
    """Whether a clause names the slot (half of its words, at least), with a negation or without one."""
    named = words(normalise(regex.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", slot)))
    named = [word for word in named if word not in _EMPTY_SLOT_WORDS] or named
    for match in _CLAUSE.finditer(regex.sub(r"(?i)\bbut\b", ",", text)):
        clause = normalise(match[0])
        if positive is (_NEGATION.search(clause) is None):
            heard = words(clause)
            heard += [first + second for first, second in pairwise(heard)]
            if 2 * sum(any(_same_stem(word, one) for one in heard) for word in named) >= len(named):
                return True
    return False


def _same_stem(slot_word: str, heard: str) -> bool:
    """'subtitle' and 'subtitles', 'serves' and 'served'."""
    if slot_word.removesuffix("s") == heard.removesuffix("s"):
        return True
    return len(slot_word) >= 5 and slot_word[:5] == heard[:5]


@lru_cache(maxsize=4096)
def _reading(fact: str) -> Reading:
    """A prompt's facts are asked of each of its candidates."""
    return Reading(fact)


def _shown(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
