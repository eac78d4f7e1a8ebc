"""Moved lines come to what `rsft select` comes to, and nothing but a line can be moved."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from web_runs import write_recipe

from command import Command
from questions import write_questions
from rsft import parts
from rsft.calibrating import calibrate
from rsft.errors import RunError
from rsft.labelling import Frame, Labelling
from rsft.loop import run
from rsft.reselection import reselect
from rsft.saved import saved_recipe
from rsft.selection import parse_selection
from rsft.store import RunFolder
from rsft.web import books
from rsft.web.books import Candidates
from rsft.web.thresholds import at_certified, effect, lines_of, moved_rules

Browser = Callable[[Path], TestClient]
RULES = ["polite >= 1", "words >= 2", {"cap": 2}]
SCORERS = ["polite", "long", "words"]


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """The folder of runs, to be changed."""
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module", params=["held", "in parts"])
def book(runs: Path, request: pytest.FixtureRequest) -> Iterator[Candidates]:
    """Held as a whole, or as one that is too large for that."""
    with RunFolder.open(runs / "bot", write=False) as folder:
        with pytest.MonkeyPatch.context() as patched:
            if request.param == "in parts":
                patched.setattr(books, "HELD", 0)
                patched.setattr(parts, "PART", 13)
            book = Candidates(folder, 2)
        yield book


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
    rows = dict(re.findall(r'<th scope="row">([\w ]+?)(?: <span.*?</span>)?</th>(.*?)</tr>', page))
    cells = {name: re.sub("<.*?>", " ", row).split() for name, row in rows.items()}
    for name, key in (("Accepted", "accepted"), ("Prompts with one", "prompts")):
        assert cells[name] == [str(said["before"][key]), str(said["now"][key])]
    sides = (said["before"], said["now"], said["whole"])
    assert cells["Mean words"] == [f"{side['words']:.1f}" for side in sides]
    assert " ".join(cells["Different ones"]) == " ".join(
        f"{side['different']:.0f} of {side['different_of']}" for side in sides
    )
    assert cells["Mean words"][1] > cells["Mean words"][2], "a line on words selects for length"
    assert said["length_correlations"]["words"] > 0.99
    assert "<html" not in page
    assert page.count("hx-swap-oob") == 3, "the histograms are drawn anew"


def test_a_line_counts_also_where_it_stands_as_in_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.chdir(tmp_path)
    run(write_recipe("selection=[words >= 2]", "loop.schedule.selection=[[words >= 2],[words >= 4]]"))
    page = browser(tmp_path / "runs").get("/thresholds/effect?run=bot&iteration=2&line.0=2&on.line.0=1").text
    assert '<span class="code">words &gt;= 2</span>' in page
    assert "Accepted now: 0" not in page


def test_with_a_certified_rule_lines_move_and_nothing_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.chdir(tmp_path)
    rule = "{certified: {score: words, by: 'words >= 3', labels: 20, max_error: 0.5, confidence: 0.6}}"
    recipe = write_recipe("loop.iterations=1", f"selection=[{rule}]")
    write_questions(train=80, heldout=6)
    run(recipe)
    folder = Path(recipe.run)
    with RunFolder.open(folder, write=False) as before:
        labels = before.labels()
    said = browser(folder.parent).get("/thresholds?run=bot&iteration=1&new.polite=1&on.new.polite=1")
    assert said.status_code == 200
    with RunFolder.open(folder, write=False) as after:
        assert after.labels() == labels != []


def test_the_page_begins_with_the_runs_own_rules(runs: Path, browser: Browser) -> None:
    page = browser(runs).get("/thresholds?run=bot&iteration=1").text
    assert re.search(r'name="line.1"[^>]* value="2.0"', page)
    assert re.search(r'name="on.line.1" value="1" checked', page)
    assert re.search(r'name="on.new.long" value="1" +aria', page)
    assert "Accepted now: 0" in page


@given(st.lists(st.floats(0, 8, width=16), min_size=2, max_size=6), st.sampled_from([">=", ">"]))
def test_raising_a_line_never_accepts_more(book: Candidates, runs: Path, lines: list[float], sign: str) -> None:
    """Where rules judge each candidate by itself."""
    accepted = [
        effect(book, runs / "bot", "bot", ["polite >= 1", f"words {sign} {line}"])["now"]["accepted"]
        for line in sorted(lines)
    ]
    assert accepted == sorted(accepted, reverse=True)


def test_a_line_that_an_address_moves_stands_there(runs: Path, browser: Browser) -> None:
    page = browser(runs).get("/thresholds?run=bot&iteration=1&line.1=3&on.line.1=1&new.long=0.5&on.new.long=1").text
    assert re.search(r'name="line.1"[^>]* value="3.0"', page)
    assert re.search(r'name="on.new.long" value="1" checked', page)
    assert re.search(r'name="on.line.0" value="1" checked', page), "it is as in the recipe"


def test_without_labels_no_precision_is_made_up(runs: Path, browser: Browser) -> None:
    page = browser(runs).get("/thresholds?run=bot&iteration=1").text
    assert "Nobody has labelled" in page
    assert "/label?run=bot&amp;iteration=1" in page
    assert "confidence" not in page


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of which 120 replies, of as many prompts, are labelled: good is what has at least five words."""
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe("loop.iterations=1", "selection=[words >= 2]")
    write_questions(train=120, heldout=6)
    run(recipe)
    label(Path(recipe.run), 120)
    return Path(recipe.run)


def label(run: Path, count: int) -> None:
    with RunFolder.open(run, write=True) as folder:
        labelling = Labelling(folder, Frame(folder, saved_recipe(run), "words", 1), "ann", "calibration")
        labelling.say_by_rules(parse_selection(["words >= 4"]), count)


def test_precision_is_what_calibrate_says(labelled: Path) -> None:
    said = calibrate(labelled, "words", iteration=1)
    found = said["certificate"]
    with RunFolder.open(labelled, write=False) as folder:
        book = Candidates(folder, 1)
        own = effect(book, labelled, "bot", ["words >= 2"])
        precision = own["precision"]
        assert (precision["scorer"], precision["labels"]) == ("words", said["labels"])
        assert precision["certified"] == found["threshold"]
        place = at_certified(precision, lines_of(["words >= 2"], own["scorers"], {}))
        assert place is not None
        moved = moved_rules(["words >= 2"], SCORERS, dict(parse_qsl(place)))
        there = effect(book, labelled, "bot", moved)["precision"]
        assert (there["labelled"], there["bad"]) == (found["labelled"], found["bad"])
        assert there["alone"] == pytest.approx(found["precision"])
        assert 0 < there["anywhere"] < there["alone"] < there["share"] + 1e-9
        assert there["spoken_for"] == 1.0
        other = effect(book, labelled, "bot", ["words <= 5"])["precision"]
        assert other["anywhere"] is None, "what is accepted is not what is over a line"
        none = effect(book, labelled, "bot", ["words >= 99"])["precision"]
        assert (none["labelled"], none["share"], none["alone"], none["anywhere"]) == (0, None, 0.0, 0.0)
        chosen = effect(book, labelled, "bot", ["words >= certified"])["precision"]
        assert chosen["alone"] is None, "a rule that goes by labels has looked at them"
        assert chosen["anywhere"] == there["anywhere"]


def test_new_labels_count_at_once(labelled: Path, browser: Browser) -> None:
    client = browser(labelled.parent)
    address = "/thresholds/effect?run=bot&iteration=1&line.0=4&on.line.0=1"
    said = re.findall(r"accept (\d+) labelled replies", client.get(address).text)
    with RunFolder.open(labelled, write=True) as folder:
        labels = folder.labels(iteration=1)
        last = max(at for at, one in enumerate(labels) if one.word == "good")
        folder.add_labels([replace(one, word="undone", loss=None) for one in labels[last:]])
    page = client.get(address).text
    assert re.findall(r"accept (\d+) labelled replies", page) == [str(int(said[0]) - 1)]
    assert "wherever you put the line" in page
    assert "only if these lines were fixed before" in page
    assert "rsft calibrate" in page


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
