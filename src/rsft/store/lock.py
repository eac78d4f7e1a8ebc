"""One writer at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from rsft.errors import RunError


def take(path: Path) -> IO[str]:
    """Lock the run folder for this process. The kernel frees the lock when the process ends, however it ends.

    Raises RunError with the process id of whoever holds it.
    """
    stream = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = _written(stream)
        stream.close()
        raise RunError(
            f"The run folder {path.parent} is in use by process {pid or '(unknown)'}. "
            f"Wait for it to end (rsft status {path.parent}), or stop it and go on with rsft resume."
        ) from None
    stream.seek(0)
    stream.truncate()
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def holder(path: Path) -> int | None:
    """The process that holds the lock now, if any."""
    if not path.is_file():
        return None
    with path.open(encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _written(stream)
    return None


def _written(stream: IO[str]) -> int | None:
    stream.seek(0)
    text = stream.read().strip()
    return int(text) if text.isdigit() else None
