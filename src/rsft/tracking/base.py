"""What a tracker is told, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

Axis = Literal["iteration", "train_step"]
"""What a row's place counts: iterations (0 is the base), or an arm's optimizer steps from the first iteration on."""


@dataclass(frozen=True, slots=True)
class Row:
    """Numbers of one place on an axis.

    `number` counts the rows that a tracker is told of a run, from 0: the same row has the same number, whenever it is
    told. `when` is the time at which the stage that it is of was done.
    """

    number: int
    axis: Axis
    at: int
    values: Mapping[str, float]
    when: datetime


@dataclass(frozen=True, slots=True)
class About:
    """The run that is told of. `id` is made up once for a run and a tracker, and kept in the run folder; `config` is
    the recipe, in plain values."""

    id: str
    name: str
    run: Path
    config: Mapping[str, Any]


class Tracker(Protocol):
    """Tells one run to a library's client.

    All methods are called from one thread, which is no run's: they may take their time, and raise what they like.
    """

    begins_anew: ClassVar[bool]
    """Whether all rows are to be told again to a tracker that was opened anew: it knows itself what it has, or holds
    them instead of those of the sitting before. What another one was told it is not told again."""

    @classmethod
    def problem(cls) -> str | None:
        """What hinders it here, and what to do about that, in one sentence; None where nothing does. The library is
        installed, and is not imported by this."""
        ...

    @classmethod
    def open(cls, options: Any, about: About) -> Self:
        """Begin to tell of the run, or go on with it."""
        ...

    def tell(self, rows: Sequence[Row]) -> None:
        """Have the library take the rows, in the order of their numbers. A row that may have been told before, just
        before a crash, may come again: it must not count twice."""
        ...

    def close(self, finished: bool) -> None:
        """Nothing more is told in this sitting, because the run is finished or because it was interrupted."""
        ...
