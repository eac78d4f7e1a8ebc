"""Files behind a URL that fsspec knows. There is no renaming there; but what is uploaded appears whole, or is of no
matter, since the ledger does not name it before."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rsft.errors import RunError
from rsft.store import files

_Said = TypeVar("_Said")

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.25
"""Each wait is twice as long as the one before: eight seconds in all, beside what the storage's library waits."""
_CHUNK_BYTES = 8 * 1024 * 1024
# These mean the same however often they are said.
_FOR_GOOD = (PermissionError, NotADirectoryError, IsADirectoryError, NotImplementedError, ImportError)
# The extra of rsft that brings what a scheme needs.
_EXTRAS = {"s3": "s3", "s3a": "s3"}


@dataclass(frozen=True, slots=True)
class Remote:
    """What lies below a URL. Whoever it is sent to needs the same environment variables."""

    url: str
    looks_at_once: int = 8
    pre_buffers: bool = True
    attempts: int = _ATTEMPTS
    """So often a thing is asked for that fails in a way that may pass."""

    def named(self, name: str) -> str:
        return f"{self.url}/{name}"

    def put(self, name: str, write: Callable[[Path], None], *, before: Callable[[], None]) -> str:
        with tempfile.TemporaryDirectory(prefix="rsft-") as folder:
            aside = Path(folder) / "aside"
            try:
                write(aside)
                before()
                checksum = files.sha256(aside)
            except OSError as error:
                raise _not_written(self.named(name), error) from error
            try:
                self._ask("written", name, lambda system, path: system.put_file(str(aside), path))
            except FileNotFoundError as error:  # no such bucket
                raise _not_written(self.named(name), error) from error
        return checksum

    def source(self, name: str, *, small: bool) -> Any:
        import pyarrow as pa

        if small:  # one question instead of four or five
            return pa.BufferReader(self._bytes(name))
        return pa.PythonFile(_Ranges(self, name), mode="r")

    def text(self, name: str) -> str:
        return self._bytes(name).decode()

    def is_as_written(self, name: str, sha256: str) -> bool:
        found = hashlib.sha256()
        try:
            size = self.size(name)
            for start in range(0, size, _CHUNK_BYTES):
                found.update(self.range(name, start, min(size, start + _CHUNK_BYTES)))
        except FileNotFoundError:
            return False
        return found.hexdigest() == sha256

    def names(self, folder: str) -> list[str]:
        def found(system: Any, path: str) -> list[str]:
            system.invalidate_cache()  # others write there
            # Not by find: that takes what fails for what is not there.
            return sorted(one["name"] for one in system.ls(path, detail=True) if one["type"] == "file")

        try:
            paths = self._ask("listed", folder, found)
        except FileNotFoundError:
            return []
        return ["/".join(filter(None, (folder, path.rpartition("/")[2]))) for path in paths]

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask("removed", name, lambda system, path: system.rm_file(path))

    def move_out(self, name: str, to: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.size(name)
            files.make_folder(to.parent)
            self._ask("read", name, lambda system, path: system.get_file(path, str(to)))
            self.remove(name)

    def size(self, name: str) -> int:
        return int(self._ask("read", name, lambda system, path: system.size(path)))

    def range(self, name: str, start: int, end: int) -> bytes:
        """Some bytes of a file, and no others are fetched."""
        if start >= end:
            return b""
        found: bytes = self._ask("read", name, lambda system, path: system.cat_file(path, start=start, end=end))
        return found

    def _bytes(self, name: str) -> bytes:
        found: bytes = self._ask("read", name, lambda system, path: system.cat_file(path))
        return found

    def _ask(self, done: str, name: str, ask: Callable[[Any, str], _Said]) -> _Said:
        """Ask the storage about a file, again and again if it fails in a way that may pass. Raises FileNotFoundError
        for what is not there, and RunError for what can't be `done`."""
        import fsspec

        system, root = fsspec.url_to_fs(self.url)  # one for each process: fsspec keeps it
        path = "/".join(filter(None, (root, files.relative_name(self.url, name))))
        for wait in _waits(self.attempts):
            try:
                return ask(system, path)
            except FileNotFoundError:
                raise
            except Exception as error:  # each library has errors of its own for a network that fails
                if wait is None or isinstance(error, _FOR_GOOD):
                    raise _not_done(done, self.named(name), error) from error
                time.sleep(wait)
        raise AssertionError("the last wait is none")


class _Ranges(io.RawIOBase):
    """A file that is read as it is asked for, no byte beyond that."""

    def __init__(self, place: Remote, name: str) -> None:
        self._place, self._name = place, name
        self._size, self._at = place.size(name), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size - self._at if size is None or size < 0 else size
        found = self._place.range(self._name, self._at, min(self._size, self._at + wanted))
        self._at += len(found)
        return found


def check_library(scheme: str) -> str | None:
    """What is missing here for URLs of a scheme; None if nothing is."""
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        return f"no storage is known whose URLs begin with {scheme}:// (there are s3://, gs://, abfs://, file://, ...)"
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        advice = f"pip install 'rsft[{extra}]'" if extra else str(error)
        return f"the library for {scheme}:// is not installed: {advice}"
    return None


def _waits(attempts: int) -> Iterator[float | None]:
    """How long to wait after each attempt that failed; None after the last."""
    for attempt in range(attempts - 1):
        yield _FIRST_WAIT_SECONDS * 2**attempt
    yield None


def _not_done(done: str, named: str, error: Exception) -> RunError:
    return RunError(
        f"{named} can't be {done}: {_told(error)}. Nothing that was saved before is lost: mend this (is the store "
        "reached from here, with the right keys in the environment?) and go on with rsft resume."
    )


def _not_written(named: str, error: OSError) -> RunError:
    return _not_done("written", named, error)


def _told(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().rstrip(".") or type(error).__name__
