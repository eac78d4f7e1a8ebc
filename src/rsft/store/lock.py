"""One writer at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from rsft.errors import RunError

_AGAIN_SECONDS, _PATIENCE_SECONDS = 0.002, 5.0


def take(path: Path) -> IO[str]:
    """Lock the run folder for this process. The kernel frees the lock when the process ends, however it ends.

    Raises RunError with the process id of whoever holds it, or where the disk refuses.
    """
    try:
        stream = path.open("a+", encoding="ascii")
    except OSError as error:
        raise RunError(f"The run folder {path.parent} can't be written to: {error.strerror or error}.") from error
    began = time.monotonic()
    while not _locked(stream, fcntl.LOCK_EX):
        # Who only looks (`holder`) shares the lock, for a moment; who writes shares it with nobody.
        if not _locked(stream, fcntl.LOCK_SH) or time.monotonic() - began > _PATIENCE_SECONDS:
            pid = _written(stream)
            stream.close()
            raise RunError(
                f"The run folder {path.parent} is in use by process {pid or '(unknown)'}. "
                f"Wait for it to end (rsft status {path.parent}), or stop it and go on with rsft resume."
            )
        fcntl.flock(stream, fcntl.LOCK_UN)
        time.sleep(_AGAIN_SECONDS)
    stream.seek(0)
    stream.truncate()
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def holder(path: Path) -> int | None:
    """The process that holds the lock now, if any. No writer is ever refused because somebody looks."""
    if not path.is_file():
        return None
    with path.open(encoding="ascii") as stream:
        return None if _locked(stream, fcntl.LOCK_SH) else _written(stream)


def _locked(stream: IO[str], kind: int) -> bool:
    """Whether a lock of this kind could be had at once; if so it is held."""
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _written(stream: IO[str]) -> int | None:
    stream.seek(0)
    text = stream.read().strip()
    return int(text) if text.isdigit() else None
