"""A FAKE of Trackio's client: the calls that rsft makes, by the names and meanings that Trackio 0.43 gives them.

It stands in where Trackio is not installed (it wants an older Pillow than the rest of the tests). It keeps what is
logged in `FAKE_TRACKIO`, a file of JSON lines: at `finish`, as the real one may.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FAKE = True


class Run:
    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        self._of = {"project": project, "run": name}
        self._config = config
        self._waiting: list[dict[str, Any]] = []
        steps = [row["step"] for row in rows() if row["project"] == project and row["run"] == name]
        self._next_step = max(steps, default=-1) + 1

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        step = self._next_step if step is None else step
        self._waiting.append({**self._of, "step": step, "metrics": metrics, "config": self._config})
        self._next_step = max(self._next_step, step + 1)

    def finish(self) -> None:
        print("* Run finished.")
        with _file().open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in self._waiting)
        self._waiting = []


def init(
    project: str,
    name: str | None = None,
    *,
    config: dict[str, Any] | None = None,
    resume: str = "never",
    embed: bool = True,
    auto_log_gpu: bool | None = None,
    auto_log_cpu: bool | None = None,
) -> Run:
    assert resume == "allow", "the fake knows no other way"
    print(f"* Trackio project initialized: {project}")
    return Run(project, str(name), dict(config or {}))


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in _file().read_text(encoding="utf-8").splitlines()] if _file().is_file() else []


def _file() -> Path:
    return Path(os.environ["FAKE_TRACKIO"])
