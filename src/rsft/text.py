"""Text as it is compared and counted: in one form; cut into sentences, and into words, or characters where a script has
no spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

import regex

_Unit = TypeVar("_Unit")

# Scripts that are written without spaces, or (Hangul) with particles attached: their characters are units of their own.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\uff70"
LETTER = rf"[[\p{{L}}\p{{M}}]--[{UNSPACED}]]"
"""A letter of a script that puts spaces between words."""

_OTHER_NUMBER = regex.compile(r"\p{No}")
_FOREIGN_DIGIT = regex.compile(r"(?V1)[\p{Nd}--[0-9]]")
_INVISIBLE = regex.compile(r"\p{Cf}+")
_ACCENT = regex.compile(r"[\u0300-\u036f]+")
_ALIKE = str.maketrans("’‘ʼ´−‐‑٫٬", "''''---.,")
_HALVES = {"½": ".5", "¼": ".25", "¾": ".75"}

_WORD = regex.compile(rf"(?V1)[{UNSPACED}]|{LETTER}[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]*+|\d++")
_RUN = regex.compile(r"[^\s\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]++")
# What of ASCII is neither a letter or digit nor a space.
_ASCII_MARKS = bytes(code for code in range(128) if not chr(code).isalnum() and code not in b" \t\n\r\v\f")
_COUNTED_ALONE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\uff70]")
_WORD_CHARACTER = regex.compile(r"[\p{L}\p{N}]")
# Where one sentence ends and the next begins: not behind an initial, a title or a number ('J. Smith', 'Dr. Who').
# Each run of white space and of closing marks is looked at once: a long one costs linear time.
_SENTENCE_END = regex.compile(
    r"(?<=[。！？｡][」』”’）)]{0,9})(?![」』”’）)。！？｡])"
    r"|(?<=[.!?…][\"'”’)\]]{0,9})(?<!\b(?:\p{L}|dr|mr|mrs|ms|prof|st|no|vs|etc|approx|e\.g|i\.e)\.)(?<!^\d{1,2}\.)"
    r"(?<!\s)\s++(?=\S)"
    r"|(?<!\s)[^\S\n]*+\n\s*+",
    regex.I | regex.M,
)


def normalise(text: str, *, ignore_case: bool = True) -> str:
    """One form for texts that say the same: width, case, accents, digits of any script, invisible marks, spaces.

    Only accents that combine with a letter (U+0300 to U+036F) are dropped: voicing marks of kana and vowel signs of
    Indian scripts tell words apart. Takes time linear in the text's length.
    """
    if not text.isascii():
        text = text.translate(_ALIKE)
        text = _OTHER_NUMBER.sub(_spelled_out, text)
        text = unicodedata.normalize("NFKC", text)
        text = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", text)))
        text = _INVISIBLE.sub("", text)
        text = _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)
    return " ".join((text.casefold() if ignore_case else text).replace("`", "'").split())


def words(normalised: str) -> list[str]:
    """The words of a normalised text, without punctuation; the characters, where a script has no spaces."""
    return [match[0] for match in _WORD.finditer(normalised)]


def word_spans(normalised: str) -> list[tuple[int, int]]:
    """Where the words of a normalised text begin and end."""
    return [match.span() for match in _WORD.finditer(normalised)]


def word_count(text: str) -> int:
    """How many words a reader would count: runs between spaces that hold a letter or digit, and each Chinese or
    Japanese character."""
    if text.isascii():  # the same, in a tenth of the time: without marks, runs are what is left between spaces
        return len(text.encode().translate(None, _ASCII_MARKS).split())
    rest, alone = _COUNTED_ALONE.subn(" ", text)
    return alone + sum(1 for run in _RUN.finditer(rest) if _WORD_CHARACTER.search(run[0]))


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, with their punctuation. Each line ends one, too.

    Takes time linear in the text's length.
    """
    return [part for part in (piece.strip() for piece in _SENTENCE_END.split(text)) if _WORD_CHARACTER.search(part)]


def grams(units: Sequence[_Unit], n: int) -> list[tuple[_Unit, ...]]:
    """The n-grams of a sequence of words, in order."""
    return [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]


def _spelled_out(match: regex.Match[str]) -> str:
    """A number that is no digit (½, ², ①): NFKC would glue its digits to those beside it and make another number."""
    number, before = match[0], match.string[match.start() - 1 : match.start()]
    if number in _HALVES:
        return _HALVES[number]
    plain = unicodedata.normalize("NFKC", number)
    return plain if before.isalpha() else f" {plain} "
