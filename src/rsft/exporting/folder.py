"""The folder of an export: it appears whole or not at all, and never takes the place of anything else."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rsft.errors import RunError

MARK = "export.json"
"""What an export holds, as it says itself. A folder with this file is one."""


def check_free(folder: Path, run: Path, *, force: bool) -> None:
    """Raise RunError where the export can't go there: into a run, or where something else is already."""
    here = folder.resolve()
    within = next((one for one in (here, *here.parents) if (one / "ledger.sqlite").is_file()), None)
    if within is not None or run.resolve().is_relative_to(here):
        raise RunError(f"An export never goes into a run folder: choose another place than {folder} (--to).")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MARK).is_file():
        raise RunError(f"{folder} is there already, and is no export: nothing of it is touched. Choose another (--to).")
    if not force:
        raise RunError(f"{folder} holds an export already. Choose another place (--to), or replace it (--force).")


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """A folder to write in, beside the real one, whose name it gets at the end; an error leaves nothing behind."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise RunError(f"{folder} can't be made: {error.strerror or error}.") from error
    try:
        whole = aside / folder.name
        whole.mkdir()
        yield whole
        if folder.exists():
            os.rename(folder, aside / "before")
        os.rename(whole, folder)
    except OSError as error:
        raise RunError(f"{folder} can't be written: {error.strerror or error}.") from error
    finally:
        # What was there before, where the new one did not come to its place.
        if (aside / "before").exists() and not folder.exists():
            os.rename(aside / "before", folder)
        shutil.rmtree(aside, ignore_errors=True)
