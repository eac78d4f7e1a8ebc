"""Who has worked on a run, and what came of it: a file beside the workers' logs, for whoever looks at the run."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_log = logging.getLogger("rsft")

ROLL = "workers.json"
# How often the file is written while workers are at it, and over how long a rate is taken.
_WRITE_SECONDS, _RATE_SECONDS = 2.0, 30.0


@dataclass(slots=True)
class Entry:
    """One worker: where it is, what it has drawn, and why it is gone if it is."""

    worker: str
    host: str
    pid: int
    joined_at: float
    candidates: int = 0
    tokens: int = 0
    tokens_per_second: float = 0.0
    gone: str | None = None


@dataclass(slots=True)
class Roll:
    """The workers of one engine, in the order of their coming. Kept in a folder, and taken up again from there."""

    folder: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    overtaken: int = 0
    _written_at: float = 0.0
    _window: dict[str, tuple[float, int]] = field(default_factory=dict)

    def joined(self, worker: str, host: str, pid: int) -> None:
        if worker not in self.entries:
            self.entries[worker] = Entry(worker, host, pid, time.time())

    def came(self, worker: str, candidates: int, tokens: int) -> None:
        entry = self.entries[worker]
        entry.candidates += candidates
        entry.tokens += tokens

    def left(self, worker: str, why: str) -> None:
        """Also of one that never came: its engine may not open there."""
        entry = self.entries.setdefault(worker, Entry(worker, "", 0, time.time()))
        entry.gone, entry.tokens_per_second = why, 0.0
        _log.warning("%s%s is gone: %s", worker, f" on {entry.host}" if entry.host else "", why)
        self._written_at = 0.0

    def logged(self, worker: str, logs: Mapping[str, bytes]) -> None:
        """What a worker has written into its logs since the last time."""
        for name, further in logs.items():
            file = self.folder / worker / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as stream:
                stream.write(further)

    def write(self, *, at_once: bool = False) -> None:
        """Write the file, if it was not written just now."""
        now = time.monotonic()
        if not at_once and now - self._written_at < _WRITE_SECONDS:
            return
        self._written_at = now
        for entry in self.entries.values():
            since, tokens = self._window.setdefault(entry.worker, (now, entry.tokens))
            if now > since and entry.gone is None:
                entry.tokens_per_second = round((entry.tokens - tokens) / (now - since), 1)
            if now - since > _RATE_SECONDS:
                self._window[entry.worker] = now, entry.tokens
        said = {"overtaken": self.overtaken, "workers": [asdict(entry) for entry in self.entries.values()]}
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f"{ROLL}.part"
        aside.write_text(json.dumps(said, indent=1), encoding="utf-8")
        os.replace(aside, self.folder / ROLL)  # it only tells: no crash makes it wrong for long


def read_rolls(folder: Path) -> list[dict[str, Any]]:
    """The workers that a run has had, from all files below a folder; none where nobody wrote one."""
    found: list[dict[str, Any]] = []
    for file in sorted(folder.rglob(ROLL)):
        said: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found += said["workers"]
    return found
