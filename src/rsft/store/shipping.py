"""A folder on its way to another machine: its files named, measured and hashed, cut into parts, and there whole or not
at all. What carries the parts is no business of this module.

    manifest = manifest_of(folder)                        # here
    for part in parts(folder, manifest): ...              # here: bytes, in order
    unpack(manifest, received, target)                    # there
    folder = fetched(cache, policy, manifest, receive)    # there, once for all processes of a machine
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rsft.errors import RunError, StoreError
from rsft.store.files import TEMPORARY, sha256

PART_BYTES = 16 * 2**20
"""The most bytes of a part: a few of them fit into the smallest object store."""

KEPT = 4
"""So many policies stay in a machine's cache."""

# What stands aside for so long was left by a process that was killed.
_LEFT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class File:
    """A file of a folder: its name there (with '/'), its bytes and their SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a folder, by name."""

    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """A hash (16 hex digits) of all names and contents."""
        said = "\n".join(f"{file.sha256} {file.size} {file.name}" for file in self.files)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)


def manifest_of(folder: Path, only: Sequence[str] | None = None) -> Manifest:
    """What a folder holds, or of it `only` these files and folders, as far as they are there.

    Raises FileNotFoundError if a file goes meanwhile.
    """
    tops = [folder / name for name in only] if only is not None else [folder]
    found = {file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file()}
    named = sorted((file.relative_to(folder).as_posix(), file) for file in found)
    return Manifest(tuple(File(name, file.stat().st_size, sha256(file)) for name, file in named))


def parts(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    """The bytes of these files, one after another."""
    for file in manifest.files:
        with (folder / file.name).open("rb") as stream:
            while part := stream.read(PART_BYTES):
                yield part


def unpack(manifest: Manifest, received: Iterable[bytes], target: Path) -> None:
    """Put a folder there. See `Unpacking`."""
    with Unpacking(manifest, target) as unpacking:
        for part in received:
            unpacking.add(part)
        unpacking.finish()


class Unpacking:
    """A folder that is being received. It gets its name when all of it is there as it was sent; until then, and if not,
    it stands aside. A folder that got the name meanwhile stays.

    Raises StoreError for a name that leads out of the folder and for bytes that are not those that were sent, RunError
    where the disk refuses.
    """

    def __init__(self, manifest: Manifest, target: Path) -> None:
        _refuse_outside([file.name for file in manifest.files])
        self.target = target
        self._aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}{TEMPORARY}")
        self._owed = iter(manifest.files)
        self._file: File | None = None
        self._stream: IO[bytes] | None = None
        self._left = 0
        self._hash = hashlib.sha256()
        with _disk(target):
            self._aside.mkdir(parents=True)
        self._next()

    def __enter__(self) -> Unpacking:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def add(self, part: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(part)
        while rest:
            if self._stream is None:
                raise StoreError(f"More came of the folder {self.target} than was announced.")
            taken = rest[: self._left]
            with _disk(self.target):
                self._stream.write(taken)
            self._hash.update(taken)
            self._left -= len(taken)
            rest = rest[len(taken) :]
            if not self._left:
                self._next()

    def finish(self) -> None:
        """Give the folder its name."""
        if self._file is not None:
            raise StoreError(f"The file {self._file.name} of the folder {self.target} did not come whole.")
        with _disk(self.target):
            try:
                os.rename(self._aside, self.target)
            except OSError:
                if not self.target.is_dir():
                    raise

    def close(self) -> None:
        """Remove what came, unless it has its name."""
        if self._stream is not None:
            self._stream.close()
        shutil.rmtree(self._aside, ignore_errors=True)

    def _next(self) -> None:
        """Check the file that came, and open the next that has bytes."""
        while True:
            if self._stream is not None and self._file is not None:
                with _disk(self.target):
                    self._stream.flush()
                    os.fsync(self._stream.fileno())
                    self._stream.close()
                if self._hash.hexdigest() != self._file.sha256:
                    raise StoreError(f"The file {self._file.name} of the folder {self.target} came damaged.")
            self._file, self._stream = next(self._owed, None), None
            if self._file is None:
                return
            path = self._aside / self._file.name
            with _disk(self.target):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = path.open("xb")
            self._left, self._hash = self._file.size, hashlib.sha256()
            if self._left:
                return


def place(cache: Path, policy: str, manifest: Manifest) -> Path:
    """Where a cache keeps a policy's files: by the policy's hash, and that of what is sent of it. Raises StoreError for
    what is no hash."""
    if not re.fullmatch(r"[0-9a-f]{1,64}", policy):
        raise StoreError(f"'{policy}' is no hash of a policy.")
    return cache / f"{policy}-{manifest.digest}"


def is_there(folder: Path, manifest: Manifest) -> bool:
    """Whether all files are, with their sizes. (Their bytes were checked when they came.)"""
    return folder.is_dir() and all(
        (file := folder / one.name).is_file() and file.stat().st_size == one.size for one in manifest.files
    )


def fetched(
    cache: Path, policy: str, manifest: Manifest, receive: Callable[[], Iterable[bytes]], *, keep: int = KEPT
) -> Path:
    """The folder with a policy's files on this machine. Of several processes that ask, one receives them.

    Of those that came before, the `keep` - 1 that were asked for last stay.
    """
    target = place(cache, policy, manifest)
    with _disk(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("a", encoding="ascii")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_there(target, manifest):
            shutil.rmtree(target, ignore_errors=True)
            unpack(manifest, receive(), target)
        os.utime(target)
        sweep(cache, keep)
    return target


def sweep(cache: Path, keep: int = KEPT) -> None:
    """Remove what was not asked for lately, but `keep` folders, and what a killed process left behind."""
    folders = [entry for entry in cache.iterdir() if entry.is_dir()]
    whole = sorted((entry for entry in folders if entry.suffix != TEMPORARY), key=_age)
    left = [entry for entry in folders if entry.suffix == TEMPORARY and _age(entry) > _LEFT_SECONDS]
    for entry in [*whole[keep:], *left]:
        shutil.rmtree(entry, ignore_errors=True)


def _age(folder: Path) -> float:
    """In seconds; what another process has removed is as old as can be."""
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _refuse_outside(names: Sequence[str]) -> None:
    """Raise StoreError for names that are none of files inside a folder, each its own."""
    for name in names:
        pieces = PurePosixPath(name).parts
        if not pieces or name.startswith("/") or ".." in pieces or "\0" in name or "\\" in name:
            raise StoreError(f"A folder was sent with a file outside of it: {name!r}")
    if len({PurePosixPath(name) for name in names}) != len(names):
        raise StoreError("A folder was sent with a file that is there twice.")


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    """Has it told in plain words where the disk refuses."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"The folder {target} can't be written: {error.strerror or error}. Free some space there, say."
        ) from error
