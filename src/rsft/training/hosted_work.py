"""What was done of one training at a host: so much that a run which was ended at any point pays for no second one."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.store import files

ABOUT = "hosted.json"
"""The file that says what a trained folder is about."""

_log = logging.getLogger("rsft")


class HostedWork:
    """A training's folder while it goes on, beside the one that it comes to in the end.

    `rows.jsonl` holds the rows as they are sent, `job.json` what is done: `identity` (of rows, settings and start),
    then `file` (the rows' name at the host), then `job`, then `result`. Each is written down before the next is done.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        """Keep what an interrupted training left behind, if it was this very one."""
        self.folder = folder
        self.path = _path(folder)
        self.done = _read(self.path / "job.json")
        if self.done.get("identity") != identity:
            if "job" in self.done and "result" not in self.done:
                _log.warning(
                    "The training of other rows was begun in %s: its job %s goes on at the host, unless you cancel it "
                    "there.",
                    folder,
                    self.done["job"],
                )
            shutil.rmtree(self.path, ignore_errors=True)
            self.done = {"identity": identity}

    @classmethod
    def finished(cls, folder: Path, identity: str) -> dict[str, Any] | None:
        """What a folder is about that holds this very training, done; None for any other."""
        about = _read(folder / ABOUT)
        if about.get("identity") != identity:
            return None
        shutil.rmtree(_path(folder), ignore_errors=True)
        return about

    @property
    def rows(self) -> Path:
        return self.path / "rows.jsonl"

    def keep_rows(self, rows: str) -> None:
        """Write down what is going to be sent: somebody may have to look for what is wrong with it."""
        self._put(self.rows.name, rows)

    def note(self, **done: Any) -> None:
        """Something more is done."""
        self.done |= done
        self._put("job.json", json.dumps(self.done, indent=2))
        failpoints.reached(f"hosted.{next(reversed(done))}_noted")

    def forget_job(self) -> None:
        """The job came to nothing: the next one begins anew."""
        self.done = {"identity": self.done["identity"]}
        self._put("job.json", json.dumps(self.done, indent=2))

    def finish(self, rows: str, about: dict[str, Any]) -> None:
        """Make the folder, whole, and leave nothing else."""
        self._put("done/rows.jsonl", rows)
        self._put(f"done/{ABOUT}", json.dumps(about, ensure_ascii=False, indent=2) + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.rename(self.path / "done", self.folder)
        failpoints.reached("hosted.kept")
        shutil.rmtree(self.path)

    def _put(self, name: str, text: str) -> None:
        files.put(self.path / name, lambda aside: _written(aside, text))


def _path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".work")


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none, or none that can be read."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _written(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
