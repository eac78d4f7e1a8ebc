"""The logs of those who work on a run on a cluster: their last lines, read from below the run's folder of logs only."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rsft.errors import RunError
from rsft.participants import LOGS
from rsft.wording import printable

LINES = 200
"""So many of a log are shown."""
# How much of a log's end is read for them, how long a line may be, and how many logs of a worker are shown.
_BYTES, _LINE, _LOGS = 2**18, 2000, 20


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a log. `name` is told from the worker's folder on; control characters in `text` are spelled out."""

    name: str
    size: int
    text: str
    whole: bool
    """Whether this is all of it."""


def logs_of(run: Path, worker: str) -> list[Log]:
    """What a worker has logged, its own words first. Raises RunError for a name that leads elsewhere: through `..`, a
    link, or from the root. A log that is a link is passed over."""
    parts = PurePosixPath(worker).parts
    root = run.resolve() / LOGS
    straight = worker and not worker.startswith("/") and ".." not in parts and "\\" not in worker
    if not straight or "\0" in worker or not _leads_straight(folder := root.joinpath(*parts)):
        raise RunError(f"{worker!r} is no worker of this run. Its overview has those that there are.")
    files = sorted(folder.rglob("*.log"), key=lambda file: (file.name != "worker.log", file.as_posix()))
    read = (_end(file, file.relative_to(folder).as_posix()) for file in files if _leads_straight(file))
    return [log for log in read if log is not None][:_LOGS]


def _leads_straight(path: Path) -> bool:
    """Whether no link is on the way; something need not be there."""
    try:
        path.exists()  # of a name longer than one can be, this tells
        return path.resolve() == path
    except (OSError, RuntimeError):  # RuntimeError: a link to itself
        return False


def _end(file: Path, name: str) -> Log | None:
    """None for what is no file that can be read."""
    try:
        # A link, and a pipe that nobody writes into, are refused even if they came just now.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    said = os.fstat(descriptor)
    if not stat.S_ISREG(said.st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as stream:
        skipped = max(0, said.st_size - _BYTES)
        stream.seek(skipped)
        lines = stream.read(_BYTES).decode("utf-8", "replace").removesuffix("\n").split("\n")
    last = lines[1:] if skipped and len(lines) > 1 else lines  # the first one may have lost its beginning
    text = "\n".join(_shown(line) for line in last[-LINES:])
    return Log(name, said.st_size, text, whole=not skipped and len(lines) <= LINES)


def _shown(line: str) -> str:
    """A line as a terminal leaves it: of one that was written over, what was written last."""
    line = line.rstrip("\r").rpartition("\r")[2].expandtabs(4)
    return printable(line if len(line) <= _LINE else f"{line[:_LINE]}…")
