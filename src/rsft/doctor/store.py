"""The shared storage where a recipe keeps its segments: tried with a small one, which does not stay."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rsft.doctor.check import Check
from rsft.store import rows
from rsft.store.places import Local, Place, place_at
from rsft.store.remote import Remote, check_library
from rsft.store.writing import Order, written
from rsft.types import Candidate, CandidateKey

# How long a store may take for one small segment. Its library may wait for minutes.
_SECONDS = 60.0
_NAME = "candidates/trial.parquet"
# Environment variables whose names hold one of these hold what nobody may read.
_SECRET = re.compile("KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION", re.IGNORECASE)
_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class Left:
    """A segment that another machine has left in the store."""

    url: str
    run: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of writing, reading, listing and removing a small segment. `problem` is what failed, if something did,
    with what to do about it."""

    seconds: float
    problem: str = ""
    advice: str = ""
    is_new: str = ""
    """The folder of this machine that was not there before, and was made."""
    sees: bool | None = None
    """Whether what another machine had left was there; None where none had."""

    def check(self, name: str) -> Check:
        """What it says of the machine of this name."""
        if self.problem:
            return Check("store", name, "problem", self.problem, self.advice)
        found = f"a segment was written, read, listed and removed in {self.seconds:.2f} s"
        if self.sees is False:
            found += "; it does not see what this machine writes there"
            return Check("store", name, "note", found, "Is the disk mounted there? Its segments are written from here.")
        if self.is_new:
            found += f"; {self.is_new} was not there, and would be made"
            return Check("store", name, "note", found, "If a disk that machines share belongs there, mount it first.")
        return Check("store", name, "ok", found)


def store(url: str) -> Iterator[Check]:
    """Try the store at a URL from this machine."""
    yield trial(url).check(url)


def trial(url: str, left: Left | None = None) -> Trial:
    """Try the store from whatever machine this is. Says nothing of what its environment holds, and never raises."""
    began = time.monotonic()
    said: list[Trial] = []
    aside = threading.Thread(target=lambda: said.append(_trial(url, left)), name="tries the store", daemon=True)
    aside.start()
    aside.join(_SECONDS)
    seconds = time.monotonic() - began
    if not said:
        return Trial(seconds, f"it has not answered in {seconds:.0f} s", _OUT_OF_REACH)
    return replace(said[0], seconds=seconds)


@contextmanager
def left_in(url: str | None) -> Iterator[Left | None]:
    """A segment in the store, for as long as others look for it; None where that can't be."""
    if url is None or check_library_of(url):
        yield None
        return
    run = _some_run()
    place = _place(url, run)
    with _leaving_no_folder(place):
        try:
            left = Left(url, run, written(_order(place)).sha256)
        except Exception:  # `trial` says why
            yield None
            return
        try:
            yield left
        finally:
            with contextlib.suppress(Exception):
                place.remove(_NAME)


def check_library_of(url: str) -> str | None:
    """What is missing here to use such a URL; None if nothing is."""
    scheme = urlsplit(url).scheme
    return None if scheme == "file" else check_library(scheme)


def _trial(url: str, left: Left | None) -> Trial:
    if missing := check_library_of(url):
        return Trial(0.0, missing, "On every machine that works for the run; or mend store.segments.")
    place = _place(url, _some_run())
    with _leaving_no_folder(place) as made:
        problem, advice = _tried(place)
        sees = None
        if left is not None and not problem:
            with contextlib.suppress(Exception):
                sees = _place(left.url, left.run).is_as_written(_NAME, left.sha256)
    if sees is False and isinstance(place, Remote):  # what it writes there would be lost
        problem = "what the run's machine writes there is not there: it is another store"
        advice = "Give all machines the same environment (AWS_ENDPOINT_URL, say) before Ray is started."
    return Trial(0.0, problem, advice, is_new=made, sees=sees)


def _tried(place: Place) -> tuple[str, str]:
    """What failed and what to do about it; empty if nothing did."""
    sha256 = ""

    def write() -> bool:
        nonlocal sha256
        sha256 = written(_order(place)).sha256
        return True

    def remove() -> bool:
        place.remove(_NAME)
        return not place.is_as_written(_NAME, sha256)

    steps: dict[str, Callable[[], bool]] = {
        "written": write,
        "read": lambda: place.is_as_written(_NAME, sha256),
        "listed": lambda: _NAME in place.names("candidates"),
        "removed": remove,
    }
    for step, do in steps.items():
        try:
            if do():
                continue
            problem, advice = f"a segment was {step}, and it did not come to that", "Is it one store, as others see it?"
        except Exception as error:  # each library has errors of its own
            cause = error.__cause__ or error
            problem, advice = f"a segment can't be {step}: {_told(cause)}", _advice(cause, place)
        if step == "removed":
            problem += f"; {place.named(_NAME)} stays there"
        elif step != "written":
            with contextlib.suppress(Exception):
                place.remove(_NAME)
        return problem, advice
    return "", ""


def _some_run() -> str:
    return f"rsft-doctor-{secrets.token_hex(6)}"


def _place(url: str, run: str) -> Place:
    place = place_at(url, run)
    return replace(place, attempts=1) if isinstance(place, Remote) else place


def _order(place: Place) -> Order:
    """The order for a segment of one candidate."""
    candidate = Candidate(CandidateKey(0, "trial", 0, "rsft doctor"), "A trial.", (1, 2, 3), "stop", None, None)
    return Order(place, _NAME, "candidates", "trial", [rows.candidates_table([candidate])], 1, "trial")


@contextmanager
def _leaving_no_folder(place: Place) -> Iterator[str]:
    """Remove the folders of this machine that are made meanwhile, if they are empty. Gives the highest that is not
    there of those that are no trial's."""
    if not isinstance(place, Local):
        yield ""
        return
    leaf = place.folder / Path(_NAME).parent
    new = [folder for folder in (leaf, *leaf.parents) if not folder.exists()]
    above = [folder for folder in new if folder not in (leaf, place.folder)]
    try:
        yield str(above[-1]) if above else ""
    finally:
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()


_OUT_OF_REACH = (
    "See whether it is reached from here (proxy, firewall, region); a server of your own is named by AWS_ENDPOINT_URL, "
    "or what its library reads."
)


def _advice(cause: BaseException, place: Place) -> str:
    """What to do about an error of a disk, or of a storage's library, of which each has its own."""
    kind, said = type(cause).__name__, str(cause).lower()
    if isinstance(place, Local):
        return "Let this user write there, and see that the disk is mounted, and has room."
    if "credential" in kind.lower() or "credential" in said:
        return (
            "Set the keys that its library reads (s3://: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or give the "
            "machine a role."
        )
    if isinstance(cause, FileNotFoundError):
        return "Make the bucket, or mend store.segments; AWS_ENDPOINT_URL may name another store than you think."
    if isinstance(cause, PermissionError):
        return (
            "The keys in the environment must be right, and allow to write, read, list and remove (s3://: PutObject, "
            "GetObject, ListBucket, DeleteObject)."
        )
    if isinstance(cause, (ConnectionError, TimeoutError)) or "connect" in kind.lower() or "endpoint" in said:
        return _OUT_OF_REACH
    return "See store.segments, and what the environment says of the store: its keys, its address, its region."


def _told(cause: Any) -> str:
    """An error in one line, without anything that only the environment may hold."""
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    said = " ".join(said.split()).rstrip(".") or type(cause).__name__
    hidden = [value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST_SECRET]
    for value in sorted(hidden, key=len, reverse=True):
        said = said.replace(value, "***")
    return re.sub(r"//[^/@\s]+@", "//***@", said)
