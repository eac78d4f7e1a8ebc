"""The runs below one folder, by names that come from a browser."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from rsft.errors import RunError

_FILES = ("recipe.yaml", "ledger.sqlite", "summary.json")
HERE = "."
"""The name of the run that the folder itself is."""


def run_at(folder: Path, name: str) -> Path:
    """The run of this name, which lies below the folder. Raises RunError for a name that leads elsewhere: through `..`,
    a link, or from the root; and for what is no run."""
    parts = PurePosixPath(name).parts
    straight = name == HERE or (name and not name.startswith("/") and ".." not in parts and "\\" not in name)
    if not straight or "\0" in name:
        raise RunError(f"{name!r} is no run below {folder}. The list of runs has the names that there are.")
    root = folder.resolve()
    run = root.joinpath(*parts)
    try:
        leads_elsewhere = run.resolve() != run or any((run / file).is_symlink() for file in _FILES)
        there = all((run / file).is_file() for file in _FILES[:2])
    except OSError:  # longer than a name can be
        leads_elsewhere = there = False
    if leads_elsewhere:
        raise RunError(f"{name!r} is a link, or leads through one. Runs are read from below {folder} only.")
    if not there:
        raise RunError(f"There is no run {name!r} below {folder}. The list of runs has the names that there are.")
    return run


def name_of(folder: Path, run: Path) -> str:
    """The name of a run that is in a folder, or below it, as `run_at` knows it."""
    return run.relative_to(folder).as_posix()
