"""Folders of processes' own: none is left for long by who was killed, and none is taken from the living."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from rsft.cluster import luggage, orphans
from rsft.machines import homes
from rsft.machines.homes import own_home

BEGINS = """
import sys
from rsft.machines.homes import own_home
home = own_home("rsft-test-")
(home.path / "worker.log").write_text("said")
print(home.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for what is temporary, for this process and those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    luggage._place.cache_clear()
    yield tmp_path
    luggage._place.cache_clear()


@contextmanager
def other() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process, with a folder of its own."""
    words = [sys.executable, "-c", BEGINS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_who_was_killed_leaves_a_folder_that_the_next_one_removes() -> None:
    with other() as (dying, its), other() as (_, another):
        mine = own_home("rsft-test-")
        assert (its / "worker.log").is_file()
        dying.kill()
        dying.wait()
        assert its.is_dir(), "it was killed"
        further = own_home("rsft-test-")
        assert not its.exists()
        assert (another / "worker.log").is_file(), "its process lives"
        assert mine.path.is_dir(), "so does this one"
        mine.remove()
        further.remove()
        assert not mine.path.exists()


def test_only_folders_of_this_user_with_such_names_are_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = place / "elsewhere"
    for kept in (elsewhere, place / "rsft-other-1", place / "rsft-test-theirs"):
        kept.mkdir()
        (kept / "worker.log").touch()
    (place / "rsft-test-link").symlink_to(elsewhere)
    (place / "rsft-test-file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(homes.os, "getuid", lambda: os.stat(place).st_uid + 1)
        own_home("rsft-test-").remove()
    assert len(list(place.rglob("worker.log"))) == 3
    own_home("rsft-test-").remove()
    assert not (place / "rsft-test-theirs").exists(), "there it is one's own"
    assert len(list(place.rglob("worker.log"))) == 2
    assert (place / "rsft-test-file").is_file()


def test_a_folder_that_another_one_took_before_it_was_locked_is_made_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = homes.fcntl.flock, []

    def late(stream: object, kind: int) -> None:
        if not taken:
            taken.append(next(place.iterdir()))
            homes.shutil.rmtree(taken[0])
        lock(stream, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(homes.fcntl, "flock", late)
    home = own_home("rsft-test-")
    assert home.path.is_dir()
    assert home.path != taken[0]
    home.remove()


def test_who_ends_by_himself_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = SimpleNamespace(start=lambda: None)
    monkeypatch.setattr(orphans.threading, "Timer", lambda *_: ends)
    home = own_home("rsft-test-")
    orphans.end_soon()
    assert not home.path.exists()


def test_the_files_of_ones_own_plug_ins_are_in_such_a_folder(place: Path) -> None:
    there = luggage._place()
    assert there.parent == place
    assert (there / "lock").is_file()
    homes.remove_all()
    assert not there.exists()
