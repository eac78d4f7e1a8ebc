"""A reply with one fact of its prompt altered: as it should be but for that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import regex

from rsft.scorers.readings import Reading
from rsft.selection.pool import stable_hash
from rsft.text import LETTER
from rsft.types import Prompt

Values = Mapping[str, Sequence[str]]
"""The values that slots have in some prompts."""

_NUMBER = regex.compile(r"(\d+)(?:(st|nd|rd|th)\b)?", regex.I)
# Letters or digits of scripts with spaces: a word goes on from one to the other.
_ONE_WORD = regex.compile(rf"(?V1)(?:{LETTER}|\d){{2}}")
# Hours in halves of a day, months and days: another number of the same range stays an hour, a month or a day.
_RANGES = ((1, 9), (10, 12), (13, 23), (24, 31))
# Where a text says a value more often, or a slot has more values, so many are tried.
_MOST_PLACES, _MOST_VALUES = 4, 20
# Of a longer number, the last so many digits are looked at.
_MOST_DIGITS = 9


def values_of(prompts: Sequence[Prompt], field: str = "facts") -> Values:
    """Every value of each slot, once."""
    found: dict[str, dict[str, None]] = {}
    for prompt in prompts:
        for slot, value in _facts(prompt, field):
            found.setdefault(slot, {})[value] = None
    return {slot: sorted(values) for slot, values in found.items()}


def altered(text: str, prompt: Prompt, others: Values, seed: int, field: str = "facts") -> str | None:
    """The text with one fact that it says word for word replaced by something else of the same kind.

    That is another prompt's value of the same slot or, half of the time where it has one, the value with another number
    of the same form. The text stated the fact and no longer does, and still states all others but those that overlap
    with it ('Oakland' in '12 Main St, Oakland'); None where that can't be done. Which fact and which value is decided
    by a hash of the seed and the prompt, so it is always the same.
    """
    said = Reading(text)
    facts = sorted(_facts(prompt, field), key=lambda fact: stable_hash(seed, prompt.id, *fact))
    stated = [(slot, value, Reading(value)) for slot, value in facts if said.states(Reading(value))]
    for slot, value, fact in stated:
        kept = [other for _, _, other in stated if not (fact.states(other) or other.states(fact))]
        for place in islice(_places(value, text), _MOST_PLACES):
            for instead in _replacements(slot, value, others, stable_hash(seed, prompt.id, slot)):
                changed = text[: place[0]] + instead + text[place[1] :]
                reading = Reading(changed)
                if not reading.states(fact) and all(reading.states(other) for other in kept):
                    return changed
    return None


def _facts(prompt: Prompt, field: str) -> Iterator[tuple[str, str]]:
    """Slots with their values as texts; what is yes or no is left out, since it is said in many ways."""
    given: Any = prompt.fields.get(field)
    if isinstance(given, Mapping):
        for slot, value in given.items():
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                written = str(value).strip()
                if written and written.casefold() not in ("true", "false", "yes", "no", "none"):
                    yield str(slot), written


def _places(value: str, text: str) -> Iterator[tuple[int, int]]:
    """Where the text says the value, in whole words."""
    # By `re`: `regex` takes seconds for a long value that repeats itself. (To it 'ß' would be 'SS', too.)
    for found in re.finditer(rf"(?={re.escape(value)})", text, re.IGNORECASE):
        first, last = found.start(), found.start() + len(value)
        if not (_is_one_word(text[first - 1 : first + 1]) or _is_one_word(text[last - 1 : last + 1])):
            yield first, last


def _is_one_word(two: str) -> bool:
    """Whether two characters in a row belong to one word."""
    return _ONE_WORD.fullmatch(two) is not None


def _replacements(slot: str, value: str, others: Values, lot: str) -> Iterator[str]:
    """What can stand there instead and means something else."""
    has_number = _NUMBER.search(value) is not None
    alike = [other for other in others.get(slot, ()) if (_NUMBER.search(other) is not None) == has_number]
    found = sorted(alike, key=lambda other: stable_hash(lot, other))[:_MOST_VALUES]
    if has_number:
        number = _NUMBER.sub(lambda one: _another_number(one[1], one[2], lot), value, count=1)
        found.insert(0 if int(lot[-1], 16) % 2 else len(found), number)
    fact = Reading(value)
    for other in found:
        if not Reading(other).states(fact) and not fact.states(Reading(other)):
            yield other


def _another_number(digits: str, ordinal: str | None, lot: str) -> str:
    """Another number of as many digits: an hour, month or day stays one, and '1st' becomes '2nd'."""
    head, tail = digits[:-_MOST_DIGITS], digits[-_MOST_DIGITS:]
    number, draw = int(tail), int(lot[:8], 16)
    low, high = next((ends for ends in _RANGES if ends[0] <= number <= ends[1]), (number - number % 10, 0))
    choices = range(low, (high or low + 9) + 1)
    others = [other for other in choices if other not in (number, 0)]
    other = others[draw % len(others)]
    return f"{head}{other:0{len(tail)}}{_ending(other) if ordinal else ''}"


def _ending(number: int) -> str:
    return "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
