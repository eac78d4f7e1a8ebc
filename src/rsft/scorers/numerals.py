"""Numbers as people write them, and the values they stand for."""

from __future__ import annotations

from decimal import Decimal

import regex


def _count(words: str, start: int, step: int = 1) -> dict[str, int]:
    return {word: start + step * index for index, word in enumerate(words.split())}


_ONES = _count("zero one two three four five six seven eight nine", 0)
_TEENS = _count("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 10)
_TENS = _count("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
SMALL = _ONES | _TEENS | _TENS
"""The English words that a number begins with."""

_SCALES = (
    {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
    | {"k": 10**3, "m": 10**6, "mn": 10**6, "bn": 10**9}
    | {"百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8}
)
_HAN_ONES = {
    character: value
    for value, characters in enumerate(("〇零", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九"))
    for character in characters
}
HAN = "".join(_HAN_ONES) + "十百"
"""The characters that a small Chinese or Japanese number is written with."""

_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(list(_ONES)[1:])}))?|{'|'.join(_TEENS)}|{'|'.join(_ONES)})"
SPELLED = rf"{_SMALL}(?:[ -](?:hundred|thousand|million|billion)(?:[ -](?:and )?{_SMALL})?){{0,6}}"
"""A number in English words, as a pattern over normalised text. It is bounded, so that its value is too."""

# Longer runs of digits are no amounts; they are compared as they stand.
_MOST_DIGITS = 30
_GROUPED = regex.compile(r"[1-9]\d{0,2}([,.'])\d{3}(?:\1\d{3})*|[1-9]\d?(?:,\d{2})+,\d{3}|[1-9]\d{0,2}(?: \d{3})+")


def spelled_value(words: str) -> str:
    """'twenty-four' → '24', 'two hundred and five' → '205'."""
    total = current = 0
    for word in regex.split(r"[ -]", words):
        if word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1) * _SCALES[word], 0
        else:
            current += SMALL.get(word, 0)
    return str(total + current)


def han_value(characters: str) -> str:
    """'十二' → '12', '三十' → '30', '二〇二六' → '2026'."""
    if not set(characters) & set("十百"):
        return str(int("".join(str(_HAN_ONES[character]) for character in characters)))
    total = current = 0
    for character in characters:
        if character in "十百":
            total, current = total + max(current, 1) * (10 if character == "十" else 100), 0
        else:
            current = _HAN_ONES[character]
    return str(total + current)


def values(written: str) -> tuple[str, ...]:
    """The plain decimals that digits with separators may stand for; none if they are not one number.

    '1,299.50' is 1299.5, and so are '1.299,50' and '1'299.50'. '1.299' is 1299 to some and 1.299 to others: it has
    both values. ('4,000' is 4000 to all: nobody writes 4 like that.) A whole number with a leading zero is a code and
    has none.
    """
    if len(written) > _MOST_DIGITS or ":" in written:
        return ()
    if written.isdigit():
        return (written,) if written == "0" or written[0] != "0" else ()
    found = [regex.sub(r"\D", "", written)] if _GROUPED.fullmatch(written) else []
    at = max(written.rfind(separator) for separator in ",.")
    whole, separator, fraction = written[: max(at, 0)], written[at], written[at + 1 :]
    if at >= 0 and fraction.isdigit() and separator not in whole:
        if whole and not whole.isdigit() and not _GROUPED.fullmatch(whole):
            return tuple(found)
        whole = regex.sub(r"\D", "", whole).lstrip("0") or "0"
        fraction = fraction.rstrip("0")
        if fraction or not found:
            found.append(f"{whole}.{fraction}" if fraction else whole)
    return tuple(found)


def scaled(value: str, scale: str) -> str:
    """'2.5' and 'million' → '2500000'."""
    number = format(Decimal(value) * _SCALES[scale], "f")
    return number.rstrip("0").rstrip(".") if "." in number else number
