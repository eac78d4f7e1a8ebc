"""Whether one text states what another one says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import regex

from rsft.scorers.tokens import Token, tokens
from rsft.text import normalise

_Places = Mapping[str, Sequence[int]]


class Reading:
    """A text, ready to be asked what it states.

    It is read twice: plainly, word by word, and merged, where a date, a time or a spelled number is one token. So '4'
    is not found in '4:30', 'March 4' or 'twenty-four', and yet the name 'Pier 17' is found in 'at Pier 17 March 2'.
    """

    def __init__(self, text: str) -> None:
        self.text = normalise(text)

    @cached_property
    def plain(self) -> list[Token]:
        return list(tokens(self.text, merged=False))

    @cached_property
    def merged(self) -> list[Token]:
        return list(tokens(self.text, merged=True))

    @cached_property
    def _plain_places(self) -> _Places:
        return _places(self.plain)

    @cached_property
    def _merged_places(self) -> _Places:
        return _places(self.merged)

    def states(self, fact: Reading) -> bool:
        """Whether this text holds the fact, from the beginning of a token to the end of one."""
        if not fact.plain:
            return bool(fact.text) and fact.text in self.text
        if _within(fact.merged, self.merged, self._merged_places):
            return True
        if fact._is_number:
            # Never looked for plainly: there, the 4 of 'March 4' and of '4 pm' is a token of its own.
            return False
        return _within(fact.plain, self.plain, self._plain_places) or self._holds_phone_number(fact)

    @property
    def _is_number(self) -> bool:
        return len(self.merged) == 1 and self.merged[0].states[0].startswith("#") and not self.text.isalpha()

    def _holds_phone_number(self, fact: Reading) -> bool:
        """Only the digits count in a phone number, however they are grouped."""
        if not _PHONE.fullmatch(fact.text):
            return False
        digits = _GAP.join(regex.findall(r"\d", fact.text))
        return regex.search(rf"(?<!\d){digits}(?![.-]?\d)", self.text) is not None


_GAP = "[ ().-]{0,2}"
_PHONE = regex.compile(rf"(?=[^ ()+-]*[ ()+-])\+?(?:{_GAP}\d){{7,15}}")


def _places(row: Sequence[Token]) -> _Places:
    places: dict[str, list[int]] = {}
    for at, token in enumerate(row):
        for reading in token.states:
            places.setdefault(reading, []).append(at)
    return places


def _within(fact: Sequence[Token], reply: Sequence[Token], places: _Places) -> bool:
    """Whether the fact's tokens stand in the reply in a row, with nothing glued on at its end."""
    starts_by_token = [
        [at - offset for reading in token.accepts for at in places.get(reading, ())]
        for offset, token in enumerate(fact)
    ]
    # From the rarest token, so that a reply of one word repeated costs no more than another.
    for start in min(starts_by_token, key=len):
        end = start + len(fact)
        if start < 0 or end > len(reply) or reply[start].glued or (end < len(reply) and reply[end].glued):
            continue
        window = zip(fact, reply[start:end], strict=True)
        if all(not set(wanted.accepts).isdisjoint(said.states) for wanted, said in window):
            return True
    return False
