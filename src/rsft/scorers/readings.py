"""What a text states, in a form that does not depend on how it is written: '4:30 pm' and '16:30' read the same.

A text becomes a row of tokens. Each token has readings, the strings by which tokens are compared: words stand for
themselves, '#4' is a number, '@16:30' a time of day, '~03-07' a date. '$20', '20 dollars' and 'USD 20.00' all become
the tokens '#20' and '$'. Text is read twice: *plainly*, word by word, and *merged*, where times, dates and spelled
numbers are one token each. So '4' is not found in '4:30', 'March 4' or 'twenty-four', and yet the name 'Pier 17' is
found in 'Pier 17 March 2'.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import regex

from rsft.scorers import numerals
from rsft.scorers.text import LETTER, UNSPACED, normalise


class Token(NamedTuple):
    """One unit of a text: what it states where it stands in a reply, and what it accepts where it stands in a fact."""

    states: tuple[str, ...]
    accepts: tuple[str, ...]
    glued: bool = False
    """It goes on from the token before it without a gap, as 'b' in '12b': nothing that is whole ends before it."""


_MONTHS = (
    "january jan januar janvier enero",
    "february feb februar fevrier febrero",
    "march mar marz mars marzo",
    "april apr avril abril",
    "may mai mayo",
    "june jun juni juin junio",
    "july jul juli juillet julio",
    "august aug aout agosto",
    "september sept sep septembre septiembre",
    "october oct oktober octobre octubre",
    "november nov novembre noviembre",
    "december dec dezember decembre diciembre",
)
_MONTH_NUMBER = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}

_CURRENCIES = {
    "$": ("$", "usd", "us$", "dollar", "dollars", "us dollar", "us dollars", "buck", "bucks", "美元", "ドル"),
    "€": ("€", "eur", "euro", "euros", "欧元", "ユーロ"),
    "£": ("£", "gbp", "pound", "pounds"),
    "¥": ("¥",),
    "jpy": ("jpy", "yen", "円", "日元"),
    "cny": ("cny", "rmb", "yuan", "元", "人民币"),
    "₹": ("₹", "inr", "rupee", "rupees"),
    "₩": ("₩", "krw", "won", "원"),
    "chf": ("chf", "francs", "franken"),
}
_PERCENT = ("%", "percent", "per cent", "pct", "prozent", "パーセント")
_UNIT = {name: unit for unit, names in _CURRENCIES.items() for name in names} | dict.fromkeys(_PERCENT, "%")
# '¥' is the sign of two currencies.
_ACCEPTS = {"¥": ("¥", "jpy", "cny"), "jpy": ("jpy", "¥"), "cny": ("cny", "¥")}
# What may stand right behind a number and leave it whole: '500ml', '9am'. Otherwise it is part of a code: '12B'.
_ATTACHED = frozenset(
    "am pm uhr h hr hrs min mins sec secs s ms km m cm mm mi ft kg g mg lb lbs oz l ml cl gb mb tb kw v w x mph kmh".split()
)

_AFTERNOON = ("pm", "in the afternoon", "in the evening", "at night", "下午", "晚上", "午後", "夜")
_MORNING = ("am", "in the morning", "上午", "早上", "凌晨", "午前", "朝")
_NOON = {"noon": "12:00", "midnight": "00:00"}


def _any(names: object) -> str:
    return "|".join(sorted(map(regex.escape, names), key=len, reverse=True))  # type: ignore[call-overload]


_START = rf"(?<!{LETTER}|\d|\d[.,:/])"
_END = rf"(?!{LETTER}|\d)"
_YEAR = r"(?:,? (?P<year>(?:19|20)\d\d)(?![.,:/]?\d))?"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_MONTH_DIGITS = r"(?P<month>0?[1-9]|1[0-2])"
_MONTH_NAME = rf"(?P<name>{_any(_MONTH_NUMBER)})"
_HOUR = r"(?P<hour>[01]?\d|2[0-4])"
_MINUTE = r"(?P<minute>[0-5]\d)"
_HALF_OF_DAY = rf"(?P<half>a\.? ?m|p\.? ?m|{_any([*_AFTERNOON, *_MORNING, *_NOON])})"
_CJK_HALF = rf"(?P<half>{'|'.join(name for name in (*_AFTERNOON, *_MORNING) if not name.isascii())})"

# A single pattern reads a text from left to right. Each alternative is a kind of token with a reader of its own below.
# Every repetition is bounded or possessive: reading takes time linear in the text's length, whatever the text.
_MERGED_ONLY = [
    ("iso", rf"{_START}(?P<year>\d{{4}})(?P<cut>[-/.]){_MONTH_DIGITS}(?P=cut){_DAY}{_END}"),
    ("dotted", rf"{_START}{_DAY}\.{_MONTH_DIGITS}\.(?P<year>\d{{4}}){_END}"),
    ("slashed", rf"{_START}(?P<first>\d\d?)/(?P<second>\d\d?)/(?P<year>\d{{4}}){_END}"),
    ("cjk_date", rf"(?:(?P<year>\d{{4}})年 ?)?{_START}{_MONTH_DIGITS}月 ?{_DAY}[日号號]"),
    ("month_first", rf"{_START}{_MONTH_NAME}\.? (?:the )?{_DAY}(?:st|nd|rd|th)?(?![.,:/]?\d){_END}{_YEAR}"),
    (
        "day_first",
        # Not in 'Pier 17 March 2nd', where the month belongs to what follows.
        rf"{_START}{_DAY}(?:st|nd|rd|th|\.|er)? ?(?:of |de )?{_MONTH_NAME}{_END}(?! \d\d?(?:st|nd|rd|th)){_YEAR}",
    ),
    ("cjk_time", rf"{_CJK_HALF} ?{_HOUR}(?::{_MINUTE}|[時时点點](?: ?(?P<minute>\d\d?)分|(?P<thirty>半))?)?{_END}"),
    ("cjk_clock", rf"{_START}{_HOUR}[時时点點](?: ?(?P<minute>\d\d?)分|(?P<thirty>半))?(?!間|间|\d)"),
    ("time", rf"{_START}{_HOUR}(?:[:.]{_MINUTE}(?::\d\d)?)? ?(?:o'clock )?{_HALF_OF_DAY}{_END}"),
    ("clock", rf"{_START}{_HOUR}(?:[:.]{_MINUTE})? ?uhr{_END}|{_START}{_HOUR} ?h ?{_MINUTE}{_END}"),
    ("bare_time", rf"{_START}{_HOUR}:{_MINUTE}(?::[0-5]\d)?(?![.:/]?\d){_END}"),
    ("noon", rf"{_START}(?P<half>{_any(_NOON)}){_END}"),
    ("spelled", rf"{_START}{numerals.SPELLED}{_END}"),
    # A Chinese or Japanese number counts as one where a measure word follows: 一 alone is part of many words.
    ("han", rf"(?<![第〇零一二两兩三四五六七八九十百千万]){numerals.HAN}(?=[个個位間间张張枚名人天晚泊家次本辆輛台份条條件杯瓶つ])"),
]
_PLAIN = [
    ("ordinal", rf"{_START}\d++(?:st|nd|rd|th){_END}"),
    (
        "number",
        rf"(?P<minus>(?<![^ (])-|{_START}minus )?"
        rf"(?:(?P<before>{_START}(?:us\$|usd|eur|gbp|jpy|cny|rmb|inr|chf)|[$€£¥₹₩]) ?)?"
        # Groups parted by spaces are one amount only where a currency says so: '1 299,50 €'.
        rf"(?P<digits>\d{{1,3}}(?: \d{{3}}){{1,4}}(?:,\d\d?)?(?= ?(?:€|eur|chf))|\.?\d++(?:[.,:']\d++)*+)"
        rf"(?: ?(?P<scale>hundred|thousand|million|billion|[百千万萬億亿])(?!{LETTER})|(?P<scale>k|mn|bn)(?!{LETTER})"
        rf"|(?(before)(?P<scale>m)(?!{LETTER})|(?!)))?"
        rf"(?: ?(?P<unit>{_any(_UNIT)})(?!{LETTER}| ?\d))?",
    ),
    ("abbreviation", rf"(?<!{LETTER}|\d|{LETTER}\.){LETTER}(?:\.{LETTER}){{1,7}}(?!{LETTER}|\d)"),
    ("word", rf"{LETTER}[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]*+(?:(?:\+\+?|\#)(?![\p{{L}}\p{{N}}]))?"),
    ("character", rf"[{UNSPACED}]"),
    ("and", "&"),
]


def _pattern(kinds: list[tuple[str, str]]) -> regex.Pattern[str]:
    return regex.compile("(?V1)" + "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds))


_PATTERNS = {False: _pattern(_PLAIN), True: _pattern(_MERGED_ONLY + _PLAIN)}


class Reading:
    """A text, ready to be asked what it states."""

    def __init__(self, text: str) -> None:
        self.text = normalise(text)

    @cached_property
    def plain(self) -> list[Token]:
        return list(_tokens(self.text, merged=False))

    @cached_property
    def merged(self) -> list[Token]:
        return list(_tokens(self.text, merged=True))

    @cached_property
    def _plain_places(self) -> dict[str, list[int]]:
        return _places(self.plain)

    @cached_property
    def _merged_places(self) -> dict[str, list[int]]:
        return _places(self.merged)

    def states(self, fact: Reading) -> bool:
        """Whether this text holds the fact, from a token's beginning to a token's end."""
        if not fact.plain:
            return bool(fact.text) and fact.text in self.text
        if _within(fact.merged, self.merged, self._merged_places):
            return True
        # A number alone is never looked for plainly, where the 4 of 'March 4' and of '4 pm' is a token of its own.
        if fact.is_number:
            return False
        return _within(fact.plain, self.plain, self._plain_places) or fact._is_phone_number_in(self.text)

    @property
    def is_number(self) -> bool:
        return len(self.merged) == 1 and self.merged[0].states[0].startswith("#") and any(map(str.isdigit, self.text))

    def _is_phone_number_in(self, text: str) -> bool:
        """Digits are what counts in a phone number, however they are grouped."""
        if not _PHONE.fullmatch(self.text):
            return False
        digits = _GAP.join(regex.findall(r"\d", self.text))
        return regex.search(rf"(?<!\d){digits}(?![.-]?\d)", text) is not None


_GAP = "[ ().-]{0,2}"
_PHONE = regex.compile(r"(?=.*[ ()+-])\+?(?:[ ().-]{0,2}\d){7,15}")


def _places(tokens: list[Token]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for at, token in enumerate(tokens):
        for reading in token.states:
            places.setdefault(reading, []).append(at)
    return places


def _within(fact: list[Token], reply: list[Token], places: dict[str, list[int]]) -> bool:
    """Whether the fact's tokens stand in the reply in a row, with nothing glued to either end."""
    # The search starts at the rarest token, so that a reply of one word repeated costs no more than another.
    starts = [
        [at - offset for reading in token.accepts for at in places.get(reading, ())]
        for offset, token in enumerate(fact)
    ]
    length = len(fact)
    for start in min(starts, key=len):
        end = start + length
        if start < 0 or end > len(reply) or reply[start].glued or (end < len(reply) and reply[end].glued):
            continue
        if all(
            not set(token.accepts).isdisjoint(said.states)
            for token, said in zip(fact, reply[start:end], strict=True)
        ):
            return True
    return False


def _tokens(text: str, *, merged: bool) -> Iterator[Token]:
    after_number = -1
    for match in _PATTERNS[merged].finditer(text):
        kind = match.lastgroup
        print(kind, match)
