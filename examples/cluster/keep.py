"""Keeps a copy of a run folder in a bucket while a command works on it, for machines that may vanish with their disks.

    python examples/cluster/keep.py runs/bot /kept/bot rsft run bot.yaml --set run=runs/bot

Where there is no such run folder but a copy of it, the copy is brought back first. Then the command is started; every
two minutes, and when it has ended, what has changed is copied. The exit code is the command's.

A run folder itself can't be in a bucket: its ledger is a database, which wants a real disk. A copy of it is one of a
moment: the ledger is read first and written last, so all that it names is there; what else is there is forgotten by
rsft when it goes on. Nothing is ever deleted from the copy. A file in a bucket has its new content when it is whole,
and the old one before; the copy relies on that.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

LEDGER = "ledger.sqlite"
SECONDS = 120.0

Seen = dict[Path, tuple[int, int]]
"""The files of a folder, by their paths in it: size, and when they were last changed."""


def files_of(folder: Path) -> Seen:
    """Those that a copy has, but for the ledger: no lock, and nothing that is being written."""
    found: Seen = {}
    for file in folder.rglob("*"):
        name = file.relative_to(folder)
        if name.name == "lock" or name.name.startswith(LEDGER) or ".part" in name.suffixes or not file.is_file():
            continue
        about = file.stat()
        found[name] = about.st_size, about.st_mtime_ns
    return found


def copy(run: Path, kept: Path, seen: Seen) -> bool:
    """Copy what is not as it was when `seen` was noted, and note it there. Whether that came to an end: not where a
    file went away meanwhile, which is no harm, for the next copy will be whole."""
    if not (run / "recipe.yaml").is_file():  # nothing has been done in it
        return False
    with tempfile.TemporaryDirectory() as beside:
        moment = Path(beside) / LEDGER
        source, target = (
            sqlite3.connect(f"{(run / LEDGER).absolute().as_uri()}?mode=ro", uri=True),
            sqlite3.connect(moment),
        )
        source.backup(target)
        source.close()
        target.close()
        kept.mkdir(parents=True, exist_ok=True)
        try:
            for name, about in files_of(run).items():
                if seen.get(name) != about:
                    (kept / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(run / name, kept / name)
                    seen[name] = about
        except FileNotFoundError:
            return False
        shutil.copyfile(moment, kept / LEDGER)
    return True


def bring_back(kept: Path, run: Path) -> Seen:
    """The copy as a run folder, which is there as a whole or not at all. Returns what is in it."""
    if run.exists() or not (kept / LEDGER).is_file():
        return {}
    aside = run.with_name(f"{run.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(kept, aside, copy_function=shutil.copyfile)
    aside.rename(run)
    return files_of(run)


def main(run: Path, kept: Path, command: list[str], seconds: float = SECONDS) -> int:
    seen = bring_back(kept, run)
    with subprocess.Popen(command) as process:
        while True:
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                try:
                    copy(run, kept, seen)
                except (OSError, sqlite3.Error) as error:
                    print(f"keep: not copied, and tried again: {error}", file=sys.stderr)
    copy(run, kept, seen)  # what goes wrong now is told, after all that could be done
    return process.returncode


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: python keep.py RUN KEPT COMMAND ...")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
