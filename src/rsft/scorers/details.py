"""The details that a text states: what one has to know, and may get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import regex

from rsft.scorers.readings import Reading
from rsft.scorers.tokens import UNITS, Piece, Token, pieces
from rsft.text import LETTER, UNSPACED, normalise, sentences

Kind = Literal["numbers", "dates", "amounts", "names", "codes"]


class Detail(NamedTuple):
    """`dates` are times of day, too; `amounts` have a currency or are percentages."""

    kind: Kind
    written: str
    tokens: tuple[Token, ...] = ()
    """How it is read where it stands; none for what is compared by its characters or words."""


def details(text: str) -> Iterator[Detail]:
    """Each detail, sentence by sentence; a detail that is written twice comes twice. Takes time linear in the length.

    A number counts in digits and in words, but for 'one' and 一, which are articles and pronouns more often; ordinals
    count in digits. No detail are the numbers of a list's lines, and '24/7'. English names of days, 'tomorrow' among
    them, are dates.

    Names are told by their capitals, and so not where a sentence begins, nor in a sentence of capitals alone; a run of
    capitalised words is one name. In scripts without case they are what stands in quotation marks or title brackets,
    and three katakana or more in a row. Where nouns have capitals, as in German, they pass for names.
    """
    for sentence in sentences(text):
        yield from _of_sentence(normalise(sentence, ignore_case=False))


def supported(detail: Detail, by: Reading) -> bool:
    """Whether the text says the same, however it is written.

    A bare number supports an amount ('4250', '4250 dollars'), a time without its half of the day supports both halves
    ('at 4:30', '4:30 pm'), and a date an ordinal ('March 2nd', 'the 2nd').
    """
    if detail.kind == "codes":
        return by.holds_code(detail.written)
    if detail.kind == "names" or not detail.tokens:
        return by.holds_names(detail.written, _ORDINARY)
    if by.holds(detail.tokens):
        return True
    first = detail.tokens[0]
    if detail.kind == "amounts":
        return by.holds_number_without(first, UNITS)
    if detail.kind == "dates" and first.states[0].startswith("@"):
        return by.accepts(first)
    day = _ORDINAL.fullmatch(first.states[0])
    return day is not None and by.has_day(int(day[1]))


# -- Finding them ------------------------------------------------------------------------------------------------------


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ORDINAL = regex.compile(r"(\d{1,2})(?:st|nd|rd|th)")
_NO_DETAIL = regex.compile(r"^\(?\d{1,2}[.)](?= )|\b24/7\b")
_CODE = regex.compile(
    r"(?V1)(?P<link>(?:https?://|www\.)[^\s<>\"'”」』)\]]++|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{2,64}){1,4}"
    r"|(?<![\w.-])[a-z0-9-]{1,64}\.(?:com|org|net|edu|gov|info)(?:/[^\s<>\"')\]]*+)?(?![\w-]))"
    r"|(?<![\w-])(?=[\w/#-]{0,24}\d)(?:\p{Lu}[\p{Lu}\d]{0,12}|\d{1,12}(?=[-/_\#]\p{Lu}\p{Lu}?\b))"
    r"(?:[-/_\#][\p{Lu}\d]{1,12}){1,5}(?![\w-])"
)
_PHONE = regex.compile(r"(?<![\w.,-])[+(]{0,2}\d(?:[ ().-]{0,2}\d){6,14}(?![\w])")
_QUOTED = regex.compile(
    r"“([^”“.!?\n]{2,60})”|\"([^\".!?]{2,60})\"|「([^」]{1,30})」|『([^』]{1,30})』|《([^》]{1,30})》"
)
_MOST_WORDS_OF_A_TITLE = 8
_LETTER = regex.compile(r"\p{L}")
_KATAKANA = regex.compile(r"[\p{Katakana}ー・]{3,40}+")
_PART = rf"{LETTER}[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]*+"
_WORD = regex.compile(rf"(?V1){_PART}(?:['-]{_PART}){{0,4}}+(?:(?:\+\+?|\#)(?![\p{{L}}\p{{N}}]))?")
_BEGINNING = regex.compile(r"(?:^(?:\(?\d{1,2}[.)])?|[:;•*–—] ?)[\s\"“'‘(\[*_#•–—-]*+$")
# So many characters are looked at for what opens a sentence.
_OPENING = 12
_GAP_IN_A_NAME = regex.compile(r" |(?<=\b(?:\p{L}|Dr|Mr|Mrs|Ms|St|Mt|Ft))\. ?| & ")
_RELATIVE_DAY = regex.compile(
    r"\b(?:today|tonight|(?:the )?day after tomorrow|tomorrow|yesterday|(?:mon|tues|wednes|thurs|fri|satur|sun)days?)\b"
)
# Words that name nothing, wherever they have a capital: English words of the closed classes, and what is said in
# passing.
_ORDINARY = _set(
    "a an the this that these those i you he she it we they me him her us them my your his its our their mine yours "
    "one each every all both some any no other another such same and or but nor so yet if then than as because while "
    "though of in on at by for from to with without into onto over under about after before between during until since "
    "via per near up down out off be is am are was were been being do does did have has had will would shall should "
    "can could may might must not there here what which who whom whose when where why how very too also just only "
    "still now yes yeah ok okay please thanks thank hello hi hey sorry sure well great good pm mr mrs ms dr vs f c "
    "fahrenheit celsius s"
)


class _Taken:
    """Which characters belong to a detail already."""

    def __init__(self, length: int) -> None:
        self._mask = bytearray(length)

    def take(self, start: int, end: int) -> bool:
        """Take the span, if all of it is free."""
        if self._mask.find(1, start, end) >= 0:
            return False
        self._mask[start:end] = b"\1" * (end - start)
        return True


def _of_sentence(cased: str) -> Iterator[Detail]:
    # As long as the text itself: what casefold would make longer (ß) is no part of a number or date.
    folded = cased.lower() if cased.isascii() else "".join(c if len(c.lower()) > 1 else c.lower() for c in cased)
    taken = _Taken(len(cased))
    for match in _NO_DETAIL.finditer(cased):
        taken.take(*match.span())
    for match in _CODE.finditer(cased):
        end = match.end() - (len(match[0]) - len(match[0].rstrip(".,;:!?")) if match["link"] else 0)
        if taken.take(match.start(), end):
            yield Detail("codes", cased[match.start() : end])
    for match in _QUOTED.finditer(cased):
        title = next(group for group in match.groups() if group is not None)
        if title.count(" ") < _MOST_WORDS_OF_A_TITLE and _LETTER.search(title) and taken.take(*match.span()):
            yield Detail("names", title)
    found = list(pieces(folded, merged=True))
    for piece in found:
        if piece.tokens[0].states[0][0] in "~@" and taken.take(piece.start, piece.end):
            yield Detail("dates", cased[piece.start : piece.end], piece.tokens)
    for match in _RELATIVE_DAY.finditer(folded):
        if taken.take(*match.span()):
            yield Detail("dates", cased[match.start() : match.end()])
    for match in _PHONE.finditer(cased):
        if not match[0].isdigit() and taken.take(*match.span()):
            yield Detail("codes", match[0])
    yield from _numbers(cased, found, taken)
    yield from _names(cased, taken)


def _numbers(cased: str, found: list[Piece], taken: _Taken) -> Iterator[Detail]:
    """Numbers and amounts, and the codes that are made of a number with letters: '12B', 'A4', '007'."""
    for piece, following in zip(found, [*found[1:], None], strict=True):
        start, end, tokens = piece
        if following is not None and following.tokens[0].glued and taken.take(start, following.end):
            yield Detail("codes", cased[start : following.end])
            continue
        written, reading = cased[start:end], tokens[0].states[0]
        if reading[0] == "#":
            if written.lower() in ("one", "一") or not taken.take(start, end):
                continue
            if len(tokens) == 2 and tokens[1].states[0] in UNITS:
                yield Detail("amounts", written, tokens)
            else:
                yield from (Detail("numbers", written, (token,)) for token in tokens)
        elif any(map(str.isdigit, reading)):
            ordinal = _ORDINAL.fullmatch(reading) is not None
            a_code = reading[0].isdigit() or sum(map(str.isdigit, reading)) > 1 or not written.islower()
            if a_code and taken.take(start, end):
                yield Detail("numbers" if ordinal else "codes", written, tokens if ordinal else ())


def _names(cased: str, taken: _Taken) -> Iterator[Detail]:
    for match in _KATAKANA.finditer(cased):
        if taken.take(*match.span()):
            yield Detail("names", match[0])
    if cased.isupper():
        return
    run_start = run_end = -1
    count = 0
    for match in _WORD.finditer(cased):
        start, end = match.span()
        capital = match[0][0].isupper()
        gap = _GAP_IN_A_NAME.fullmatch(cased, run_end, start) if capital and run_end >= 0 else None
        if run_end >= 0 and (gap is None or count == _MOST_WORDS_OF_A_TITLE):
            yield Detail("names", cased[run_start:run_end])
            run_start = run_end = -1
            count = 0
        if not capital or (run_end < 0 and _names_nothing(cased, match)) or not taken.take(start, end):
            continue
        run_start, run_end, count = (run_start if run_end >= 0 else start), end, count + 1
    if run_end >= 0:
        yield Detail("names", cased[run_start:run_end])


def _names_nothing(cased: str, word: regex.Match[str]) -> bool:
    """Whether a word's capital says nothing, as it would have one anyway."""
    if _BEGINNING.search(cased, max(0, word.start() - _OPENING), word.start()):
        return True
    return word[0].lower().replace("-", "'").partition("'")[0] in _ORDINARY
