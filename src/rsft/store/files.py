"""Files that appear whole or not at all, and survive a crash once they have appeared."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from rsft.errors import RunError, StoreError

TEMPORARY = ".part"


def put(path: Path, write: Callable[[Path], None], *, before_rename: Callable[[], None] = lambda: None) -> None:
    """Write a file aside, flush it to the disk, and give it its name. Raises RunError where the disk refuses."""
    aside = path.with_name(path.name + TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        _flush(aside)
        before_rename()
        os.replace(aside, path)
        _flush(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # it may lie where nothing can be reached
            aside.unlink()
        raise RunError(
            f"{path} can't be written: {error.strerror or error}. Nothing that was saved before is lost: "
            "mend this (free some space, say) and go on with rsft resume."
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises RunError where the disk refuses."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"The folder {path} can't be made: {error.strerror or error}.") from error


def move(path: Path, to: Path) -> None:
    """Move a file or folder, if it is there, also to another disk. The folder that it goes into is made."""
    if path.exists():
        make_folder(to.parent)
        shutil.move(path, to)


def size(path: Path) -> int:
    """The bytes of a file, or of all that a folder holds. What goes meanwhile counts as nothing."""
    total = 0
    below = (Path(parent, name) for parent, _, names in os.walk(path) for name in names)
    for file in below if path.is_dir() else [path]:
        with contextlib.suppress(FileNotFoundError):
            total += 0 if file.is_dir() else file.stat().st_size
    return total


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_as_written(path: Path, checksum: str) -> bool:
    return path.is_file() and sha256(path) == checksum


def inside(root: Path, relative: str) -> Path:
    """The path of a file that the ledger names, which must lie in the run folder. Raises StoreError."""
    path = root / relative_name(root, relative)
    if not path.resolve().is_relative_to(root.resolve()):
        raise StoreError(f"The ledger of {root} names a link that leads out of it: {relative!r}")
    return path


def relative_name(root: Path | str, name: str) -> str:
    """A name below a root, if it is one. Raises StoreError for what leads out of it."""
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise StoreError(f"The ledger of {root} names a file outside of it: {name!r}")
    return name


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
