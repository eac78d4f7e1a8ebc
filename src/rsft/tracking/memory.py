"""What a run folder remembers of a tracker: which run there is its own, and what was told."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from rsft.store import files
from rsft.tracking.base import Row
from rsft.tracking.numbers import Committed

FOLDER = "tracking"
"""The folder of a run where trackers have what they keep."""


class Memory:
    """`tracking/NAME.json` of a run: a made-up id, the stages that are to be told with how many rows each has, in an
    order that stays, and how many of them were told. Written whole or not at all: before a stage is told, so that its
    rows have their numbers for good, and after it."""

    def __init__(self, run: Path, tracker: str) -> None:
        self._file = run / FOLDER / f"{tracker}.json"
        said = json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else {}
        self.id: str = said.get("id") or secrets.token_hex(8)
        self._rows: dict[str, int] = dict(said.get("rows", {}))
        self._told = int(said.get("told", 0))

    def forget(self) -> None:
        """Everything is to be told again, in the same order."""
        self._told = 0

    @property
    def told(self) -> frozenset[str]:
        return frozenset(list(self._rows)[: self._told])

    def owed(self, found: Sequence[Committed]) -> list[Row]:
        """The rows that are told next, of what was found. A stage that is not there any more has none."""
        stages = {stage.key: stage for stage in found}
        if new := {key: len(stage.places) for key, stage in stages.items() if key not in self._rows}:
            self._rows |= new
            self._write()
        rows: list[Row] = []
        number = 0
        for key, count in self._rows.items():
            if key in stages and key not in self.told:
                places = enumerate(stages[key].places, number)
                rows += [Row(n, place.axis, place.at, place.values, stages[key].when) for n, place in places]
            number += count
        return rows

    def add(self) -> None:
        """All that was owed is told."""
        self._told = len(self._rows)
        self._write()

    def _write(self) -> None:
        text = json.dumps({"id": self.id, "told": self._told, "rows": self._rows}, indent=1) + "\n"
        files.put(self._file, lambda aside: _written(aside, text))


def _written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
