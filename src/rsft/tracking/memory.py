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
    """`tracking/NAME.json` of a run: a made-up id, and how many rows each told stage had. Written whole or not at all;
    what is told counts as told only once it is written here."""

    def __init__(self, run: Path, tracker: str) -> None:
        self._file = run / FOLDER / f"{tracker}.json"
        said = json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else {}
        self.is_new = not said
        self.id: str = said.get("id") or secrets.token_hex(8)
        self.told: dict[str, int] = dict(said.get("told", {}))
        if self.is_new:
            self._write()

    def forget(self) -> None:
        """Everything is to be told again."""
        self.told = {}

    def numbered(self, stages: Sequence[Committed]) -> list[Row]:
        """The rows of stages that are told next."""
        first = sum(self.told.values())
        places = [(stage.when, place) for stage in stages for place in stage.places]
        return [
            Row(number, place.axis, place.at, place.values, when) for number, (when, place) in enumerate(places, first)
        ]

    def add(self, stages: Sequence[Committed]) -> None:
        self.told |= {stage.key: len(stage.places) for stage in stages}
        self._write()

    def _write(self) -> None:
        text = json.dumps({"id": self.id, "told": self.told}, indent=1) + "\n"
        files.put(self._file, lambda aside: _written(aside, text))


def _written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
