"""What the parts of this package hand on: rows with their places, and the problems of rows that are no prompts."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from rsft.errors import PromptError

_REPORTED = 5
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 70
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 4
_repr.maxlevel = 3


class BadRow(Exception):
    """A row is not a prompt. The text says what was found and what was expected; the place is added by the caller."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row comes from: a line of a text file, or a row of a table or list. Both count from 1; 0 is the whole."""

    source: str
    number: int = 0
    unit: Literal["line", "row"] = "line"

    def __str__(self) -> str:
        return printable(self.source) + (f", {self.unit} {self.number}" if self.number else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as its file holds it."""

    place: Place
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the row (or the file) at a place can't be used."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class Unreadable(Exception):
    """The rest of a source can't be read."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(place, text)


@dataclass(slots=True)
class Problems:
    """Collects problems, so that one message can show several mistakes. Keeps the text of the first few only."""

    first: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, place: Place, text: str) -> None:
        self.count += 1
        if self.count <= _REPORTED:
            self.first.append(Problem(place, text))

    def raise_any(self) -> None:
        """Raise PromptError if there is a problem."""
        if self.count == 1:
            raise PromptError(str(self.first[0]))
        if self.count:
            lines = [f"  - {problem}" for problem in self.first]
            if self.count > len(lines):
                lines.append(f"  ... and {self.count - len(lines)} more")
            raise PromptError(f"There are {self.count} mistakes in the prompts:\n" + "\n".join(lines))


def bad(name: str, found: Any, expected: str) -> BadRow:
    """A BadRow that names the field, what it holds, and what was expected."""
    return BadRow(f"field {quoted([name])} holds {shown(found)}; expected {expected}")


def shown(value: Any) -> str:
    """A short repr of a value from a file. Control characters are escaped, so that it is safe to print."""
    return printable(_repr.repr(value))


def quoted(names: Iterable[str], most: int = 12) -> str:
    """Names in quotes, safe to print, the first `most` of them."""
    named = list(names)
    return ", ".join(shown(name) for name in named[:most]) + (", ..." if len(named) > most else "")


def printable(text: str) -> str:
    """The text with everything escaped that is not printable, such as terminal escapes and direction marks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
