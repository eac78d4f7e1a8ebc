"""Whether one text states what another one says."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from itertools import accumulate

import regex

from rsft.scorers.tokens import Token, tokens
from rsft.text import normalise, words

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

    def holds(self, row: Sequence[Token]) -> bool:
        """Whether tokens that were read merged stand here in a row."""
        return _within(row, self.merged, self._merged_places)

    def holds_number_without(self, number: Token, units: Container[str]) -> bool:
        """Whether the number stands here with none of these units behind it."""
        for at in (at for reading in number.accepts for at in self._merged_places.get(reading, ())):
            following = self.merged[at + 1] if at + 1 < len(self.merged) else None
            if following is None or not (following.glued or following.states[0] in units):
                return True
        return False

    def holds_names(self, written: str, filling: Container[str]) -> bool:
        """Whether the words stand here in a row, or in a few rows of which each is here: 'Standard Honda Accord'.

        Words of `filling` may join the rows: 'Ann and Bo'.
        """
        name = Reading(written)
        if not name.plain:
            return self.states(name)
        at, rows = 0, 0
        while at < len(name.plain):
            end = at + self._longest_row(name.plain[at:])
            if end == at and not all(reading in filling for reading in name.plain[at].states):
                return False
            rows += end > at
            at = max(end, at + 1)
        return 0 < rows <= _MOST_ROWS

    def _longest_row(self, row: Sequence[Token]) -> int:
        """How many of the first tokens stand here in a row."""
        longest = 0
        for start in self._plain_places.get(row[0].states[0], ())[:_MOST_PLACES]:
            said = self.plain[start : start + len(row)]
            same = (set(wanted.accepts).isdisjoint(one.states) for wanted, one in zip(row, said, strict=False))
            longest = max(longest, next((i for i, differs in enumerate(same) if differs), len(said)))
        return longest

    def accepts(self, token: Token) -> bool:
        """Whether something here would be stated by the token: '4:30' by what '4:30 pm' says."""
        return not self._accepted.isdisjoint(token.states)

    def has_day(self, day: int) -> bool:
        """Whether a date of this day of a month stands here."""
        return day in self._days

    def holds_code(self, code: str) -> bool:
        """Whether the code's letters and digits stand here as whole words, however grouped: 'AB-12', 'ab 12', 'AB12'.

        So for links, e-mail addresses and phone numbers.
        """
        wanted = "".join(words(normalise(code)))
        text, edges = self._squeezed
        at = text.find(wanted)
        while at >= 0:
            if at in edges and at + len(wanted) in edges:
                return bool(wanted)
            at = text.find(wanted, at + 1)
        return False

    @cached_property
    def _squeezed(self) -> tuple[str, frozenset[int]]:
        """The words without what is between them, and where each begins or ends."""
        said = words(self.text)
        return "".join(said), frozenset(accumulate(map(len, said), initial=0))

    @cached_property
    def _accepted(self) -> frozenset[str]:
        return frozenset(reading for token in self.merged for reading in token.accepts)

    @cached_property
    def _days(self) -> frozenset[int]:
        return frozenset(int(reading[-2:]) for reading in self._merged_places if reading.startswith("~"))

    @property
    def _is_number(self) -> bool:
        return len(self.merged) == 1 and self.merged[0].states[0].startswith("#") and not self.text.isalpha()

    def _holds_phone_number(self, fact: Reading) -> bool:
        """Only the digits count in a phone number, however they are grouped."""
        if not _PHONE.fullmatch(fact.text):
            return False
        digits = _GAP.join(regex.findall(r"\d", fact.text))
        return regex.search(rf"(?<!\d){digits}(?![.-]?\d)", self.text) is not None


# A name that is made up of more than is given in a row is another name.
_MOST_ROWS = 3
# Where the first word of a name is given more often, the name is looked for in so many places.
_MOST_PLACES = 1000
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
