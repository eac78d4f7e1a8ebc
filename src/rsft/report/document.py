"""What a report is made of, whatever it is written as. Texts are plain: whoever writes them as HTML or Markdown makes
them inert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; a `warning` is one that should not be missed."""

    kind: ClassVar[str] = "note"
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under columns. The first cell names its row; columns of numbers are set to the right."""

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: frozenset[int] = frozenset({0})
    """The columns that hold words rather than numbers."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: the text of an SVG element that was drawn here and says the same in words, and what its lines are."""

    kind: ClassVar[str] = "plot"
    title: str
    svg: str
    legend: Sequence[tuple[str, str]] = ()
    """What its marks mean: s1, s2, ... for the colours in their order, line for a dashed line."""


@dataclass(frozen=True, slots=True)
class Plots:
    """Pictures side by side."""

    kind: ClassVar[str] = "plots"
    plots: Sequence[Plot]
    intro: str = ""
    """What they show: left out where they are."""


@dataclass(frozen=True, slots=True)
class Replies:
    """Replies as `rsft.reading.shown` has them, each with its distance from the line, in words."""

    kind: ClassVar[str] = "replies"
    title: str
    replies: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be read as it is."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    language: str = "yaml"


Block = Note | Table | Plots | Replies | Code


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands under it. `anchor` is its place in the page."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that says much: in large letters at the top."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A report."""

    title: str
    state: str
    story: Sequence[str]
    figures: Sequence[Figure]
    sections: Sequence[Section] = field(default=())
