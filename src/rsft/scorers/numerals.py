"""Numbers as people write them, and the values they stand for."""

from __future__ import annotations

from decimal import Decimal

import regex

_UNITS = dict(zip("zero one two three four five six seven eight nine".split(), range(10), strict=True))
_TEENS = dict(
    zip(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(),
        range(10, 20),
        strict=True,
    )
)
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))
SCALES = {
    **{"hundred": 100, "thousand": 1_000, "k": 1_000, "million": 10**6, "mn": 10**6, "m": 10**6},
    **{"billion": 10**9, "bn": 10**9, "百": 100, "千": 1_000, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8},
}
_HAN = {char: value for value, chars in enumerate(("〇零", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九")) for char in chars}

_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(list(_UNITS)[1:])}))?|{'|'.join(_TEENS)}|{'|'.join(_UNITS)})"
# At most six steps ("two hundred thousand and four"), so that no text can make a number of endless size.
SPELLED = rf"{_SMALL}(?:[ -](?:hundred|thousand|million|billion)(?:[ -](?:and )?{_SMALL}(?![\p{{L}}]))?){{0,6}}"
"""A number in English words, as a pattern over normalised text."""

HAN = r"[〇零一二两兩三四五六七八九十百]{1,5}"
"""A number in Chinese characters."""

# Longer runs of digits are no amounts; they are compared as they stand.
_MOST_DIGITS = 30
_GROUPED = regex.compile(r"\d{1,3}(?:([,.'])\d{3})(?:\1\d{3})*|\d{1,2}(?:,\d{2})*,\d{3}")


def spelled_value(words: str) -> str:
    """'twenty-four' → '24', 'two hundred and five' → '205'."""
    total = current = 0
    for word in regex.split(r"[ -]", words):
        if word in SCALES and SCALES[word] > 100:
            total, current = total + max(current, 1) * SCALES[word], 0
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word != "and":
            current += _UNITS.get(word, 0) + _TEENS.get(word, 0) + _TENS.get(word, 0)
    return str(total + current)


def han_value(characters: str) -> str:
    """'十二' → '12', '二十' → '20', '百五' → '105', '二〇二六' → '2026'."""
    if not set(characters) & set("十百"):
        return str(int("".join(str(_HAN[char]) for char in characters)))
    total = current = 0
    for char in characters:
        if char in "十百":
            total += max(current, 1) * (10 if char == "十" else 100)
            current = 0
        else:
            current = _HAN[char]
    return str(total + current)


def values(written: str) -> tuple[str, ...]:
    """The plain decimals that digits with separators may stand for; empty if they are no single number.

    '1,299.50' is 1299.5, and so are '1.299,50' and '1'299.50'. '1.299' is 1299 to some and 1.299 to others: it has
    both values. A whole number with leading zeros is a code and has none.
    """
    if len(written) > _MOST_DIGITS or ":" in written:
        return ()
    if written.isdigit():
        return () if len(written) > 1 and written[0] == "0" else (written,)
    found = []
    if _GROUPED.fullmatch(written) and not written.startswith("0"):
        found.append(regex.sub(r"\D", "", written))
    whole, separator, fraction = _split_last(written)
    whole_plain = regex.sub(r"\D", "", whole) or "0"
    grouped = _GROUPED.fullmatch(whole) and separator not in whole
    if separator != "'" and (whole.isdigit() or not whole or grouped):
        fraction = fraction.rstrip("0")
        whole_plain = whole_plain.lstrip("0") or "0"
        found.append(f"{whole_plain}.{fraction}" if fraction else whole_plain)
    return tuple(found)


def scaled(value: str, scale: str) -> str:
    """'2.5' and 'million' → '2500000'."""
    number = format(Decimal(value) * SCALES[scale], "f")
    return (number.rstrip("0").rstrip(".") if "." in number else number) or "0"


def _split_last(written: str) -> tuple[str, str, str]:
    at = max(written.rfind(separator) for separator in ",.'")
    return written[:at], written[at], written[at + 1 :]
