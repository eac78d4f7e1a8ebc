"""A reply with one fact of its prompt altered: as it should be but for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import regex

from rsft.scorers.readings import Reading
from rsft.selection.pool import stable_hash
from rsft.types import Prompt

Values = Mapping[str, Sequence[str]]
"""The values that slots have in some prompts."""

_DIGITS = regex.compile(r"\d+")


def values_of(prompts: Sequence[Prompt], field: str = "facts") -> Values:
    """Every value of each slot, once."""
    found: dict[str, dict[str, None]] = {}
    for prompt in prompts:
        for slot, value in _facts(prompt, field):
            found.setdefault(slot, {})[value] = None
    return {slot: sorted(values) for slot, values in found.items()}


def altered(text: str, prompt: Prompt, others: Values, seed: int, field: str = "facts") -> str | None:
    """The text with one fact that it says word for word replaced by something else of the same kind.

    That is another prompt's value of the same slot or, where there is none, a number of as many digits. The text then
    no longer says what it said; None where that can't be done. Which fact and which value is decided by a hash of the
    seed and the prompt, so it is always the same.
    """
    facts = sorted(_facts(prompt, field), key=lambda fact: stable_hash(seed, prompt.id, *fact))
    for slot, value in facts:
        place = regex.search(rf"(?<!\w){regex.escape(value)}(?!\w)", text, regex.IGNORECASE)
        if place is None:
            continue
        for other in _replacements(slot, value, others, stable_hash(seed, prompt.id, slot)):
            changed = text[: place.start()] + other + text[place.end() :]
            if not Reading(changed).states(Reading(value)):
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


def _replacements(slot: str, value: str, others: Values, lot: str) -> Iterator[str]:
    has_digits = bool(_DIGITS.search(value))
    alike = [other for other in others.get(slot, ()) if bool(_DIGITS.search(other)) == has_digits]
    for other in sorted(alike, key=lambda other: stable_hash(lot, other)):
        if not Reading(other).states(Reading(value)) and not Reading(value).states(Reading(other)):
            yield other
    if has_digits:
        yield _DIGITS.sub(lambda digits: _another_number(digits[0], lot), value, count=1)


def _another_number(digits: str, lot: str) -> str:
    """As many digits, of which the last is another one."""
    last = (int(digits[-1]) + 1 + int(lot[:4], 16) % 8) % 10
    return digits[:-1] + str(last or 9 - int(digits[-1] == "9"))
