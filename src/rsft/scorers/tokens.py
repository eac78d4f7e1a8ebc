"""What a text says, token by token, in a form that does not depend on how it is written.

A token has readings, the strings by which tokens are compared: a word stands for itself, '#4' is a number, '@16:30' a
time of day, '~03-07' a date. '$20', '20 dollars' and 'USD 20.00' all become the two tokens '#20' and '$'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import regex

from rsft.scorers import numerals
from rsft.text import LETTER, UNSPACED


class Token(NamedTuple):
    """What it states where it stands in a reply, and what it accepts where it stands in a fact."""

    states: tuple[str, ...]
    accepts: tuple[str, ...]
    glued: bool = False
    """It goes on from a number without a gap, as 'b' in '12b': nothing that is whole ends before it."""


class Piece(NamedTuple):
    """What is read at once, a word or a date, and where in the text it stands."""

    start: int
    end: int
    tokens: tuple[Token, ...]


def tokens(normalised: str, *, merged: bool) -> Iterator[Token]:
    """Read a normalised text. `merged` makes each date, time and spelled number one token, else they stay words."""
    return (token for piece in pieces(normalised, merged=merged) for token in piece.tokens)


def pieces(normalised: str, *, merged: bool) -> Iterator[Piece]:
    """The same tokens with their places.

    Takes time linear in the text's length: every repetition of the patterns below is bounded or possessive.
    """
    at, number_end = 0, -1
    while (start := _NEXT.search(normalised, at)) is not None:
        at, written = start.end(), start[0]
        for pattern, read in _kinds_at(start, merged):
            if (match := pattern.match(normalised, start.start())) is not None:
                at = match.end()
                yield Piece(match.start(), at, tuple(read(match)))
                number_end = at if read is _number else -1
                break
        else:
            goes_on = start.start() == number_end and start["word"] is not None
            token = _token("and" if written == "&" else written, glued=goes_on and written not in _ATTACHED)
            yield Piece(start.start(), at, (token,))


def _token(*readings: str, glued: bool = False) -> Token:
    return Token(readings, readings, glued)


# -- The words of the trade --------------------------------------------------------------------------------------------


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MONTHS = (
    *("january jan januar janvier enero", "february feb februar fevrier febrero", "march mar marz mars marzo"),
    *("april apr avril abril", "may mai mayo", "june jun juni juin junio", "july jul juli juillet julio"),
    *("august aug aout agosto", "september sept sep septembre septiembre", "october oct oktober octobre octubre"),
    *("november nov novembre noviembre", "december dec dezember decembre diciembre"),
)
_MONTH_NUMBER = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}

_UNITS = {
    "$": ("$", "usd", "us$", "dollar", "dollars", "us dollar", "us dollars", "buck", "bucks", "美元", "ドル"),
    "€": ("€", "eur", "euro", "euros", "欧元", "ユーロ"),
    "£": ("£", "gbp", "pound", "pounds"),
    "¥": ("¥",),
    "jpy": ("jpy", "yen", "円", "日元"),
    "cny": ("cny", "rmb", "yuan", "元", "人民币"),
    "₹": ("₹", "inr", "rupee", "rupees"),
    "₩": ("₩", "krw", "won", "원"),
    "chf": ("chf", "franken"),
    "%": ("%", "percent", "per cent", "pct", "prozent", "パーセント"),
}
UNITS = frozenset(_UNITS)
"""The readings of what makes a number an amount: currencies, and percent."""
_UNIT_OF = {name: unit for unit, names in _UNITS.items() for name in names}
# '¥' is the sign of two currencies.
_ACCEPTED_UNITS = {"¥": ("¥", "jpy", "cny"), "jpy": ("jpy", "¥"), "cny": ("cny", "¥")}

_NOON = {"noon": "12:00", "midnight": "00:00"}
_AFTERNOON = ("pm", "in the afternoon", "in the evening", "at night", "下午", "晚上", "午後", "夜")
_MORNING = ("am", "in the morning", "上午", "早上", "凌晨", "午前", "朝")
_CJK_HALVES = [name for name in (*_AFTERNOON, *_MORNING) if not name.isascii()]

# What may stand right behind a number and leave it whole: '500ml', '9am'. Anything else makes it a code: '12B'.
_ATTACHED = _set(
    "am pm uhr h hr hrs min mins sec secs s ms km m cm mm mi ft kg g mg lb lbs oz l ml cl gb mb tb kb kw v w x mph kmh "
    "star stars"
)
# Beside these, 'one' is a number; beside those, a pronoun.
_BEFORE_COUNT = _set("found only just exactly least located for")
_BEFORE_PRONOUN = _set("the this that which another any every each no other nice good great first last")
_AFTER_PRONOUN = _set(
    "is was are were has had of at on in for with that which who from to by and or but as way more another would could "
    "can will may might leaves leaving departs departing starts starting costs costing goes going takes located called "
    "named available today tomorrow next being among you"
)

# -- The readers: from a match to its tokens ---------------------------------------------------------------------------

_Match = regex.Match[str]


def _number(match: _Match) -> Iterator[Token]:
    written, scale, sign = match["digits"], match["scale"], "-" if match["minus"] else ""
    values = numerals.values(written)
    if values:
        yield _token(*(f"#{sign}{numerals.scaled(value, scale) if scale else value}" for value in values))
    else:
        # '1,2,3' is a list; '10.0.0.1' and '007' are compared as they stand.
        for part in written.split(","):
            yield _token(*([f"#{value}" for value in numerals.values(part)] or [part]))
    name = match["before"] or match["unit"]
    if name:
        unit = _UNIT_OF[name]
        yield Token((unit,), _ACCEPTED_UNITS.get(unit, (unit,)))


def _spelled(match: _Match) -> Iterator[Token]:
    if match[0] == "one" and _is_pronoun(match):
        yield _token("one")
    else:
        yield _token(f"#{numerals.spelled_value(match[0])}", match[0])


def _is_pronoun(one: _Match) -> bool:
    """'one' that counts nothing: 'this one', 'one of them', 'one is at 6 am', 'one-way'; not so 'I found one.'."""
    before = regex.search(r"(\w+) $", one.string[max(0, one.start() - 12) : one.start()])
    after = regex.match(r"(?: |-(?=way))(\w+)", one.string[one.end() : one.end() + 12])
    if before is not None and before[1] in _BEFORE_COUNT:
        return False
    if before is not None and before[1] in _BEFORE_PRONOUN:
        return True
    return after is None or after[1] in _AFTER_PRONOUN


def _han(match: _Match) -> Iterator[Token]:
    yield _token(f"#{numerals.han_value(match[0])}", match[0])


def _date(match: _Match) -> Iterator[Token]:
    groups = match.groupdict()
    month = int(groups.get("month") or _MONTH_NUMBER[groups["name"]])
    yield _token(f"~{month:02}-{int(groups['day']):02}")
    if groups.get("year"):
        yield _token(f"#{groups['year']}")


def _slashed_date(match: _Match) -> Iterator[Token]:
    """3/7/2026 is the third of July to some and the seventh of March to others: it states both."""
    first, second = int(match["first"]), int(match["second"])
    either = [(month, day) for month, day in ((first, second), (second, first)) if 1 <= month <= 12 and 1 <= day <= 31]
    yield _token(*([f"~{month:02}-{day:02}" for month, day in either] or [match[0]]))
    yield _token(f"#{match['year']}")


def _time(match: _Match) -> Iterator[Token]:
    groups = match.groupdict()
    half = (groups.get("half") or "").replace(".", "").replace(" m", "m")
    hour, minute = int(groups["hour"]), int(groups.get("minute") or (30 if groups.get("thirty") else 0))
    if half in _AFTERNOON and hour < 12:
        hour += 12
    elif (half in _MORNING or half == "midnight") and hour == 12:
        hour = 0
    yield _token(_clock(hour, minute))


def _bare_time(match: _Match) -> Iterator[Token]:
    """'4:30' states the early morning, as '04:30' does; a fact that says no more than '4:30' accepts either half."""
    hour, minute = int(match["hour"]), int(match["minute"])
    time = _clock(hour, minute)
    half_is_open = hour <= 12 and not match["hour"].startswith("0")
    yield Token((time,), (time, _clock(hour + 12, minute)) if half_is_open else (time,))


def _clock(hour: int, minute: int) -> str:
    return f"@{hour % 24:02}:{minute:02}"


def _noon(match: _Match) -> Iterator[Token]:
    yield _token(f"@{_NOON[match[0]]}", match[0])


def _verbatim(match: _Match) -> Iterator[Token]:
    yield _token(match[0])


def _abbreviation(match: _Match) -> Iterator[Token]:
    yield _token(match[0].replace(".", ""))


# -- The patterns ------------------------------------------------------------------------------------------------------

_Kind = tuple[regex.Pattern[str], Callable[[_Match], Iterator[Token]]]


def _kind(pattern: str, read: Callable[[_Match], Iterator[Token]]) -> _Kind:
    return regex.compile("(?V1)" + pattern), read


def _any(names: Iterable[str]) -> str:
    return "|".join(sorted(map(regex.escape, names), key=len, reverse=True))


_CODES = ("usd", "eur", "gbp", "jpy", "cny", "rmb", "inr", "chf")
_SIGN = "[$€£¥₹₩]"
_END = rf"(?!{LETTER}|\d)"
_YEAR = r"(?:,? (?P<year>(?:19|20)\d\d)(?![.,:/]?\d))?"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?P<month>0?[1-9]|1[0-2])"
_MONTH_NAME = rf"(?P<name>{_any(_MONTH_NUMBER)})"
_HOUR = r"(?P<hour>[01]?\d|2[0-4])"
_MINUTE = r"(?P<minute>[0-5]\d)"
_CJK_CLOCK = rf"{_HOUR}[時时点點](?: ?(?P<minute>\d\d?)分|(?P<thirty>半))?"
_HALF_OF_DAY = rf"(?P<half>a\.? ?m|p\.? ?m|{_any([*_AFTERNOON, *_MORNING, *_NOON])})"

# Where the next token begins. A number may begin with its sign, or with its currency.
_NEXT = regex.compile(
    rf"(?V1)(?<![^ (])-(?={_SIGN}?\.?\d)|{_SIGN}(?= ?\.?\d)|(?<!{LETTER}|\d)(?:{_any(_CODES)})(?=\d)"
    r"|(?:(?<![^ (])\.)?\d|&"
    rf"|(?P<word>{LETTER}[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]*+(?:(?:\+\+?|\#)(?![\p{{L}}\p{{N}}]))?)"
    rf"|[{UNSPACED}]"
)
_NUMBER = _kind(
    rf"(?P<minus>-|minus )?(?:(?P<before>us\$|{_any(_CODES)}|{_SIGN}) ?)?"
    # Groups parted by spaces are one amount only where a currency says so: '1 299,50 €'.
    r"(?P<digits>\d{1,3}(?: \d{3}){1,4}(?:,\d\d?)?(?= ?(?:€|eur|chf))|\.?\d++(?:[.,:']\d++)*+)"
    rf"(?: ?(?P<scale>hundred|thousand|million|billion|[百千万萬億亿])(?!{LETTER})|(?P<scale>k|mn|bn)(?!{LETTER})"
    rf"|(?(before)(?P<scale>m)(?!{LETTER})|(?!)))?"
    rf"(?: ?(?P<unit>{_any(_UNIT_OF)})(?!{LETTER}| ?\d))?",
    _number,
)
_ORDINAL = _kind(rf"\d++(?:st|nd|rd|th){_END}", _verbatim)
_ABBREVIATION = _kind(rf"(?<!{LETTER}\.){LETTER}(?:\.{LETTER}){{1,7}}(?!{LETTER}|\d)", _abbreviation)
_DATES_AND_TIMES = (
    _kind(rf"(?P<year>\d{{4}})[-/.]{_MONTH}[-/.]{_DAY}{_END}", _date),
    _kind(rf"{_DAY}\.{_MONTH}\.(?P<year>\d{{4}}){_END}", _date),
    _kind(rf"(?P<first>\d\d?)/(?P<second>\d\d?)/(?P<year>\d{{4}}){_END}", _slashed_date),
    _kind(rf"(?:(?P<year>\d{{4}})年 ?)?{_MONTH}月 ?{_DAY}[日号號]", _date),
    # Not in 'Pier 17 March 2nd', where the month belongs to what follows.
    _kind(
        rf"{_DAY}(?:st|nd|rd|th|\.|er)? ?(?:of |de )?{_MONTH_NAME}{_END}(?!\.? \d\d?(?:st|nd|rd|th)){_YEAR}",
        _date,
    ),
    _kind(rf"{_HOUR}(?:[:.]{_MINUTE}(?::\d\d)?)? ?(?:o'clock )?{_HALF_OF_DAY}{_END}", _time),
    _kind(rf"{_HOUR}(?:[:.]{_MINUTE})? ?uhr{_END}", _time),
    _kind(rf"{_HOUR} ?h ?{_MINUTE}{_END}", _time),
    _kind(rf"{_HOUR}:{_MINUTE}(?::[0-5]\d)?(?![.:/]?\d){_END}", _bare_time),
    _kind(rf"{_CJK_CLOCK}(?![間间\d])", _time),
)
_MAY_BE_DATE_OR_TIME = regex.compile(r"\d\d?(?!\d)|\d{4}[-/.年]")
_MONTH_FIRST = _kind(rf"{_MONTH_NAME}\.? (?:the )?{_DAY}(?:st|nd|rd|th)?(?![.,:/]?\d){_END}{_YEAR}", _date)
_CJK_TIME = _kind(rf"(?P<half>{_any(_CJK_HALVES)}) ?(?:{_HOUR}:{_MINUTE}|{_CJK_CLOCK}){_END}", _time)
# A Chinese or Japanese number counts as one where a measure word follows: 一 alone is part of many words.
_HAN = _kind(
    rf"(?<![第{numerals.HAN}千万])[{numerals.HAN}]{{1,5}}(?=[个個位間间张張枚名人天晚泊家次本辆輛台份条條件杯瓶つ])",
    _han,
)
_AT_NUMBER = ((_ORDINAL, _NUMBER), (*_DATES_AND_TIMES, _ORDINAL, _NUMBER))
_AT_WORD = dict.fromkeys(("minus", "us", *_CODES), (_NUMBER,))
_AT_MERGED_WORD = _AT_WORD | {
    **dict.fromkeys(_MONTH_NUMBER, (_MONTH_FIRST,)),
    **dict.fromkeys(_NOON, (_kind(_any(_NOON), _noon),)),
    **dict.fromkeys(numerals.SMALL, (_kind(rf"{numerals.SPELLED}{_END}", _spelled),)),
    **dict.fromkeys((name[0] for name in _CJK_HALVES), (_CJK_TIME,)),
    **dict.fromkeys(numerals.HAN, (_HAN,)),
}


def _kinds_at(start: _Match, merged: bool) -> Sequence[_Kind]:
    """What may begin here, in the order in which it is tried."""
    written = start[0]
    if start["word"] is not None and len(written) == 1:
        return (_ABBREVIATION,)
    if written[0].isdigit() and merged and _MAY_BE_DATE_OR_TIME.match(start.string, start.start()):
        return _AT_NUMBER[True]
    if written[-1] in "-.$€£¥₹₩0123456789" and start["word"] is None:
        return _AT_NUMBER[False]
    return (_AT_MERGED_WORD if merged else _AT_WORD).get(written, ())
