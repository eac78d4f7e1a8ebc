"""Where segments lie: in a folder, or behind a URL of shared storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from rsft.errors import RecipeError, RunError
from rsft.store import files
from rsft.store.remote import Remote, check_library


class Place(Protocol):
    """Files by their names, `folder/file` or `file`. A place can be sent to another process, and works there as well.

    What can't be read or written raises RunError; a file that is not there FileNotFoundError, if it is to be read; a
    name that leads out of the place StoreError.
    """

    @property
    def looks_at_once(self) -> int:
        """As many files are best looked at together."""

    @property
    def pre_buffers(self) -> bool:
        """Whether what lies close together is best read in one piece."""

    def named(self, name: str) -> str:
        """What a file is called in messages."""

    def put(self, name: str, write: Callable[[Path], None], *, before: Callable[[], None]) -> str:
        """Have a file written aside (a path is given) and give it its name: it is there whole and for good, or not at
        all. `before` is called before it gets its name. Returns its SHA-256."""

    def source(self, name: str, *, small: bool) -> Any:
        """What pyarrow reads a file from, as far as it needs. A small one may be fetched whole."""

    def text(self, name: str) -> str:
        """All that a small file says."""

    def is_as_written(self, name: str, sha256: str) -> bool:
        """Whether a file is there and has this checksum."""

    def names(self, folder: str) -> list[str]:
        """The files in a folder of the place, what was cut off while it was written among them."""

    def remove(self, name: str) -> None:
        """Have a file be gone."""

    def move_out(self, name: str, to: Path) -> None:
        """Take a file, if it is there, out of the place to a path on this machine, whose folder is made."""


@dataclass(frozen=True, slots=True)
class Local:
    """A folder of this machine, or of a disk that machines share."""

    folder: Path
    looks_at_once: int = 1
    pre_buffers: bool = False

    def named(self, name: str) -> str:
        return str(self.folder / name)

    def put(self, name: str, write: Callable[[Path], None], *, before: Callable[[], None]) -> str:
        path = self._path(name)
        files.put(path, write, before_rename=before)
        return files.sha256(path)

    def source(self, name: str, *, small: bool) -> Any:
        return self._path(name)

    def text(self, name: str) -> str:
        path = self._path(name)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RunError(f"{path} can't be read: {error.strerror or error}.") from error

    def is_as_written(self, name: str, sha256: str) -> bool:
        return files.is_as_written(self._path(name), sha256)

    def names(self, folder: str) -> list[str]:
        found = (path for path in (self.folder / folder).glob("*") if not path.is_dir())
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def remove(self, name: str) -> None:
        # A link is removed, not looked behind.
        (self.folder / name).unlink(missing_ok=True)

    def move_out(self, name: str, to: Path) -> None:
        files.move(self._path(name), to)

    def _path(self, name: str) -> Path:
        return files.inside(self.folder, name)


def place_at(url: str, run: str) -> Place:
    """The place of one run at a URL of many."""
    if urlsplit(url).scheme == "file":
        return Local(Path(unquote(urlsplit(url).path)) / run)
    return Remote(f"{url}/{run}")


def check_url(url: str) -> None:
    """Raise RecipeError where nothing here can read and write at such a URL. Nobody is asked."""
    scheme = urlsplit(url).scheme
    if scheme != "file" and (problem := check_library(scheme)):
        raise RecipeError(f"The recipe keeps segments at {url}, and {problem}.")
