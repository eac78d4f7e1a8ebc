"""Who has worked on a run, and what came of it: a file beside the workers' logs, for whoever looks at the run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

_log = logging.getLogger("rsft")

ROLL = "workers.json"
# How often the file is written while workers are at it, and over how long a rate is taken.
_WRITE_SECONDS, _RATE_SECONDS = 2.0, 30.0


@dataclass(slots=True)
class Entry:
    """One worker: where it is, what it has drawn, and why it is gone if it is.

    `start` is the one of the run's starts, counted from 1, in which it worked; `seconds` are those of drawings in which
    it was there. Moments are Unix times.
    """

    worker: str
    host: str
    pid: int
    joined_at: float
    start: int = 1
    candidates: int = 0
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    """Of the last while, as long as a drawing goes on."""
    came_at: float | None = None
    """When its last candidate came."""
    gone: str | None = None
    gone_at: float | None = None
    let_go: bool = False
    """Whether it has left its place on the cluster to a training, and is to come back."""


@dataclass(slots=True)
class Told:
    """What a roll's file has."""

    start: int = 0
    """How often the run was begun or gone on with."""
    overtaken: int = 0
    workers: list[Entry] = field(default_factory=list)


_TOLD = TypeAdapter(Told)


@dataclass(slots=True)
class Roll:
    """The workers of one engine, in the order of their coming. Kept in a folder, and taken up again from there."""

    folder: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    earlier: list[Entry] = field(default_factory=list)
    """Those of earlier starts of the run."""
    overtaken: int = 0
    _start: int = 1
    _written_at: float = 0.0
    _counted: dict[str, float] = field(default_factory=dict)
    _window: dict[str, tuple[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        told = read_roll(self.folder / ROLL)
        self.earlier, self.overtaken, self._start = told.workers, told.overtaken, told.start + 1
        if self.earlier:
            self._put()  # they are not at work any more

    def joined(self, worker: str, host: str, pid: int) -> None:
        """A worker takes part in a drawing from now on. One that was let go may come back to another place."""
        entry = self.entries.setdefault(worker, Entry(worker, host, pid, time.time(), self._start))
        entry.host, entry.pid, entry.let_go = host, pid, False
        self._counted[worker] = time.monotonic()
        self._window[worker] = self._counted[worker], self.entries[worker].tokens

    def came(self, worker: str, candidates: int, tokens: int) -> None:
        entry = self.entries[worker]
        entry.candidates += candidates
        entry.tokens += tokens
        if candidates:
            entry.came_at = time.time()

    def left(self, worker: str, why: str) -> None:
        """Also of one that never came: its engine may not open there."""
        entry = self.entries.setdefault(worker, Entry(worker, "", 0, time.time(), self._start))
        self._count(entry, time.monotonic())
        entry.gone, entry.gone_at, entry.tokens_per_second = why, time.time(), 0.0
        _log.warning("%s%s is gone: %s", worker, f" on {entry.host}" if entry.host else "", why)
        self._written_at = 0.0

    def dismissed(self) -> None:
        """All that are there are let go for a training."""
        for entry in self.entries.values():
            entry.let_go = entry.gone is None
        self._put()

    def logged(self, worker: str, logs: Mapping[str, bytes]) -> None:
        """What a worker has written into its logs since the last time."""
        for name, further in logs.items():
            file = self.folder / worker / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as stream:
                stream.write(further)

    def rest(self, overtaken: int) -> None:
        """The drawing is over, in which so many shares were overtaken."""
        self.overtaken += overtaken
        now = time.monotonic()
        for entry in self.entries.values():
            self._count(entry, now)
            entry.tokens_per_second = 0.0
        self._counted.clear()
        self._window.clear()
        self._put()

    def write(self) -> None:
        """Write the file, if it was not written just now."""
        now = time.monotonic()
        if now - self._written_at < _WRITE_SECONDS:
            return
        self._written_at = now
        for entry in self.entries.values():
            self._count(entry, now)
            if entry.gone is not None or entry.worker not in self._window:
                continue
            since, tokens = self._window[entry.worker]
            if now > since:
                entry.tokens_per_second = round((entry.tokens - tokens) / (now - since), 1)
            if now - since > _RATE_SECONDS:
                self._window[entry.worker] = now, entry.tokens
        self._put()

    def _count(self, entry: Entry, now: float) -> None:
        """Count the seconds since one was last counted, if it takes part."""
        if entry.gone is None and (since := self._counted.get(entry.worker)) is not None:
            entry.seconds = round(entry.seconds + now - since, 3)
            self._counted[entry.worker] = now

    def _put(self) -> None:
        told = Told(self._start, self.overtaken, [*self.earlier, *self.entries.values()])
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f"{ROLL}.part"
        aside.write_bytes(_TOLD.dump_json(told, indent=1))
        os.replace(aside, self.folder / ROLL)  # it only tells: no crash makes it wrong for long


def read_roll(file: Path) -> Told:
    """What a roll tells; nothing where there is no such file, or where it is not one that a `Roll` has written: it only
    tells, and nothing depends on it."""
    try:
        return _TOLD.validate_json(file.read_bytes()) if not file.is_symlink() else Told()
    except (OSError, ValueError):  # pydantic's errors among these
        return Told()


def last_number(folder: Path) -> int:
    """The highest number in a name of a worker that a folder's roll knows, 0 for none: those who come later are called
    by further ones, so that each has logs of its own."""
    numbers = (entry.worker.rpartition("-")[2] for entry in read_roll(folder / ROLL).workers)
    return max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=0)
