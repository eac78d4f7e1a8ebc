"""Folders of a process's own on its machine's disk, of which none outlives its process for long.

A process that is killed removes nothing. So each holds a lock in its folder, which the kernel frees when it ends,
however that is, and whoever begins next on the machine removes the folders of which nobody holds the lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

_LOCK = "lock"
_homes: list[Home] = []


class Home:
    """A folder that is this process's own, until it is removed or the process ends."""

    def __init__(self, beside: Path, prefix: str) -> None:
        self.path, self._lock = _begun(beside, prefix)
        _homes.append(self)

    def remove(self) -> None:
        """It is not needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
        with suppress(ValueError):  # it was removed before
            _homes.remove(self)


def own_home(prefix: str, beside: Path | None = None) -> Home:
    """A new folder whose name begins so, in the folder for what is temporary, or in another one. Those there whose
    names begin so and whose processes are dead are removed; never another user's."""
    beside = Path(tempfile.gettempdir()) if beside is None else beside
    beside.mkdir(parents=True, exist_ok=True)
    for other in beside.glob(f"{prefix}*"):
        _remove_if_left(other)
    return Home(beside, prefix)


def remove_all() -> None:
    """This process ends in a moment: remove what is its own."""
    for home in list(_homes):
        home.remove()


def _begun(beside: Path, prefix: str) -> tuple[Path, IO[str]]:
    """A folder, and its lock, which is held."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
        # Somebody may take it for one that was left, before it is locked.
        with suppress(FileNotFoundError), ExitStack() as unless_held:
            lock = unless_held.enter_context((path / _LOCK).open("a", encoding="ascii"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(path / _LOCK)):
                unless_held.pop_all()
                return path, lock


def _remove_if_left(folder: Path) -> None:
    """Remove a folder that is this user's, and that no living process holds."""
    with suppress(OSError):  # others remove it as well, or it is no such folder
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            return
        with (folder / _LOCK).open("a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
