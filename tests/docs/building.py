"""The site, built as `make docs` builds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from documents import DOCS, ROOT


class Built(NamedTuple):
    """A built site: its folder, how the builder ended, and what it said."""

    folder: Path
    code: int
    said: str


def build(folder: Path) -> Built:
    """Build it in an empty folder, from a copy of what it is built from."""
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(DOCS, folder / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Built(folder / "site", done.returncode, done.stdout + done.stderr)
