"""Moved lines come to what `rsft select` comes to, and nothing but a line can be moved."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from command import Command
from rsft.errors import RunError
from rsft.reselection import reselect
from rsft.store import RunFolder
from rsft.web.books import Candidates
from rsft.web.thresholds import effect, moved_rules

Browser = Callable[[Path], TestClient]
RULES = ["polite >= 1", "words >= 2", {"cap": 2}]
SCORERS = ["polite", "long", "words"]


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """The folder of runs, to be changed."""
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def book(runs: Path) -> Iterator[Candidates]:
    with RunFolder.open(runs / "bot", write=False) as folder:
        yield Candidates(folder, 2)


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ({}, RULES),
        ({"line.1": "3", "on.line.1": "1"}, ["polite >= 1", "words >= 3", {"cap": 2}]),
        ({"line.1": "2.0", "on.line.1": "1"}, RULES),
        ({"line.1": "3"}, ["polite >= 1", {"cap": 2}]),
        ({"new.long": "1"}, RULES),
        ({"new.long": "1", "on.new.long": "1"}, ["polite >= 1", "words >= 2", "long >= 1", {"cap": 2}]),
        ({"line.2": "1", "on.line.2": "1"}, RULES),
        ({"line.9": "1", "on.line.9": "1", "new.nobody": "1", "on.new.nobody": "1"}, RULES),
    ],
)
def test_only_lines_move(lines: dict[str, str], rules: list[Any]) -> None:
    assert moved_rules(RULES, SCORERS, lines) == rules


@pytest.mark.parametrize("value", ["certified", "nan", "inf", "", "1]", "x.py:Rule", "1 or 2"])
def test_a_line_stands_at_a_number(value: str) -> None:
    for name in ("line.1", "new.long"):
        with pytest.raises(RunError, match="stands at a number"):
            moved_rules(RULES, SCORERS, {name: value, f"on.{name}": "1"})


@pytest.mark.parametrize("least", [0, 3, 5, 6, 7, 99])
def test_the_numbers_are_those_of_select(least: int, book: Candidates, runs: Path) -> None:
    rules = ["polite >= 1", f"words >= {least}", {"cap": 3}]
    said = effect(book, runs / "bot", "runs/bot", rules)
    other = reselect(runs / "bot", [f"selection={json.dumps(rules)}"])["iterations"][1]
    for name in other.keys() - {"iteration", "closest"}:
        assert said[name] == other[name], name
    assert said["gains"] - said["losses"] == other["now"]["accepted"] - other["before"]["accepted"]
    for side, now in (("gained", True), ("lost", False)):
        for row in said[side]:
            assert (row["now"] == "accepted") == now != (row["before"] == "accepted")
    for scorer in said["scorers"]:
        assert len(scorer["bars"]) == 20
        assert scorer["low"] <= scorer["from"] <= scorer["to"] <= scorer["high"]


def test_the_command_that_the_page_shows_says_the_same(runs: Path, browser: Browser, cli: Command) -> None:
    lines = {"line.0": "1", "on.line.0": "1", "line.1": "6", "on.line.1": "1"}
    page = browser(runs).get("/thresholds/effect", params={"run": "bot", "iteration": "1", **lines}).text
    _, *words = shlex.split(html.unescape(re.findall(r"<pre>(rsft select .*?)</pre>", page)[0]))
    said = cli(*words, "--json").json["iterations"][0]
    cells = re.findall(
        r'<th scope="row">now</th><td class="n"><b>(\d+)</b> of (\d+)</td><td class="n">(\d+)</td>', page
    )
    assert cells == [(str(said["now"]["accepted"]), str(said["candidates"]), str(said["now"]["prompts"]))]
    assert "<html" not in page
    assert page.count("hx-swap-oob") == 3, "the histograms are drawn anew"


def test_the_page_begins_with_the_runs_own_rules(runs: Path, browser: Browser) -> None:
    page = browser(runs).get("/thresholds?run=bot&iteration=1").text
    assert re.search(r'name="line.1"[^>]* value="2.0"', page)
    assert re.search(r'name="on.line.1" value="1" checked', page)
    assert re.search(r'name="on.new.long" value="1" +aria', page)
    assert "Accepted now: 0" in page


def test_what_is_kept_is_what_select_keeps(copied: Path, browser: Browser) -> None:
    client = browser(copied)
    said = {"run": "bot", "iteration": "1", "line.1": "6", "on.line.1": "1", "line.0": "1", "on.line.0": "1"}
    kept = client.post("/thresholds/save", data={**said, "name": "longer"})
    assert "rsft train" in kept.text
    reselect(copied / "bot", ['selection=["polite >= 1", "words >= 6", {"cap": 2}]'], "by_hand")
    with RunFolder.open(copied / "bot", write=False) as folder:
        assert folder.selections()["longer"] == folder.selections()["by_hand"]
        assert folder.decisions("longer") == folder.decisions("by_hand") != folder.decisions("policy")
    for name in ("longer", "policy", "", "<b>"):
        refused = client.post("/thresholds/save", data={**said, "name": name}, headers={"HX-Request": "true"})
        assert refused.status_code == 400
        assert "can&#39;t be called" in refused.text
        assert "<b>" not in refused.text
    assert client.post("/thresholds/save", data={**said, "name": "x", "run": "../bot"}).status_code == 400
    assert client.get("/thresholds/save", params={**said, "name": "x"}).status_code == 405


def test_nothing_is_kept_while_somebody_else_writes(copied: Path, browser: Browser) -> None:
    with RunFolder.open(copied / "bot", write=True):
        said = browser(copied).post("/thresholds/save", data={"run": "bot", "iteration": "1", "name": "mine"})
    assert said.status_code == 400
    assert "in use by process" in said.text
