"""What is installed is known to the last version, and nothing names where it comes from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


def test_constraints_are_exact_and_name_no_host() -> None:
    assert "torch==2.13.0" in LINES
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in LINES)
    tracked = [*ROOT.glob("*"), *ROOT.rglob("src/**/*.yaml"), *ROOT.rglob(".ci/*")]
    for file in tracked:
        if file.is_file() and file.suffix in ("", ".txt", ".toml", ".md", ".yaml", ".yml"):
            assert "index-url" not in file.read_text(encoding="utf-8"), file


def test_the_dependencies_are_all_constrained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    del extras["trackio"]  # wants an older Pillow than matplotlib's newest is pinned with
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in LINES}
    for requirement in wanted:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name[0].lower().replace("_", "-") in pinned, requirement
