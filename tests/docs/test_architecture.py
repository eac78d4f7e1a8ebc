"""docs/architecture.md names every room of the house."""

from __future__ import annotations

import re

from documents import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text(encoding="utf-8")

NO_CODE = {"data", "recipes", "py.typed", "__init__.py", "__main__.py", "__pycache__"}


def test_every_module_stands_on_a_floor_and_every_floor_holds_modules() -> None:
    rows = re.findall(r"^\| [^|]+ \| ((?:`\w+`[^|]*)) \|", PAGE.split("## The floors")[1], flags=re.M)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    there = {path.name.removesuffix(".py") for path in (ROOT / "src/rsft").iterdir() if path.name not in NO_CODE}
    assert sorted(named) == sorted(there)


def test_the_lines_of_the_loop_are_those_of_the_loop() -> None:
    (block,) = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.M | re.S)
    loop = (ROOT / "src/rsft/loop.py").read_text(encoding="utf-8")
    for line in block.splitlines():
        assert line in loop, line


def test_the_folders_of_tests_that_it_names_are_there() -> None:
    for folder in re.findall(r"`(tests/\w+)`", PAGE):
        assert (ROOT / folder).is_dir(), folder
