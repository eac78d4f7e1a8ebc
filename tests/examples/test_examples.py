"""The examples are all listed, and short."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parents[2] / "examples"
FILES = {
    file.relative_to(FOLDER).as_posix()
    for file in FOLDER.rglob("*")
    if file.is_file() and file.name != "README.md" and "__pycache__" not in file.parts
}


def test_the_list_has_one_line_for_each_example() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.+?)\]\((.+?)\) \| .+\. \|$", text, re.M)
    assert all(name == link for name, link in rows)
    assert sorted(name for name, _ in rows) == sorted(FILES)


def test_each_example_can_be_read_at_a_sitting() -> None:
    for name in FILES:
        if name.endswith(".py"):
            assert len((FOLDER / name).read_text(encoding="utf-8").splitlines()) <= 165, name
    cells = nbformat.read(FOLDER / "tour.ipynb", as_version=4).cells
    assert sum(len(cell.source.splitlines()) for cell in cells) <= 160
