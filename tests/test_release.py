"""A release says one thing: its version, its files and what they name agree."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from command import Command
from rsft.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# What the Citation File Format 1.2.0 has: keys of a file, and of an author that is an organisation ("entity").
KEYS = """abstract authors cff-version commit contact date-released doi identifiers keywords license license-url
message preferred-citation references repository repository-artifact repository-code title type url version""".split()  # noqa: SIM905
ENTITY = """address alias city country date-end date-start email fax location name orcid post-code region tel
website""".split()  # noqa: SIM905


def test_one_version_everywhere(cli: Command) -> None:
    assert str(Version(__version__)) == __version__
    assert PROJECT["project"]["dynamic"] == ["version"], "the build reads it from the package"
    assert (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text().count(f'"{__version__}"') == 1
    assert CITATION["version"] == __version__
    assert cli("--version").out == f"rsft {__version__}\n"


def test_the_changelog_begins_with_this_version_and_says_something() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    versions = [Version(heading.split()[0]) for heading in headings]
    assert versions[0] == Version(__version__)
    assert versions == sorted(set(versions), reverse=True)
    for heading in headings:
        assert re.fullmatch(r"\S+ \((not released yet|\d{4}-\d\d-\d\d)\)", heading), heading
    newest = text.split("\n## ")[1]
    assert newest.count("\n- ") > 3


def test_the_citation_file_is_valid() -> None:
    assert CITATION.keys() <= set(KEYS)
    assert CITATION["cff-version"] == "1.2.0"
    for key in ("message", "title", "abstract", "version", "license"):
        assert isinstance(CITATION[key], str), f"{key} is a text (a version like 1.0 needs quotes)"
        assert CITATION[key].strip()
    assert CITATION["type"] in ("software", "dataset")
    assert CITATION["authors"]
    for author in CITATION["authors"]:
        assert author.keys() <= set(ENTITY)
        assert author["name"]
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"]) > 0
    released = re.search(r"^## \S+ \((\d{4}-\d\d-\d\d)\)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert str(CITATION.get("date-released")) == (released[1] if released else "None")


def test_the_citation_file_says_what_the_project_says() -> None:
    said = PROJECT["project"]
    assert CITATION["license"] == said["license"]
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in said["authors"]]
    assert CITATION["keywords"] == said["keywords"]


def test_the_guide_for_contributors_is_one_page_and_names_what_is_there() -> None:
    assert len(CONTRIBUTING.splitlines()) <= 65
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^    make ([\w-]+)", CONTRIBUTING, re.M)
    assert {"check", "test", "dist", "release-check"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
        assert target in makefile.partition(".PHONY:")[2].splitlines()[0].split()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", CONTRIBUTING):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"`((?:tests|src|examples)/[\w/.]+)`|pytest (tests/\w+)", CONTRIBUTING):
        assert (ROOT / (path[0] or path[1])).exists(), path
    assert (ROOT / "tests/scorers/test_scorer_contract.py").is_file()
    ten = re.search(r"^## Style, in ten lines\n\n(.*?)\n\n##", CONTRIBUTING, re.M | re.S)
    assert ten is not None
    assert len(ten[1].splitlines()) == 10
    longest = PROJECT["tool"]["ruff"]["line-length"]
    assert f"at most {longest} characters" in CONTRIBUTING
    assert Version("3.11") in [Version(PROJECT["project"]["requires-python"].removeprefix(">="))]
    assert "Python 3.11 or newer" in CONTRIBUTING


@pytest.mark.parametrize("floor", re.findall(r"`(\w+)`", CONTRIBUTING.partition("## Floors")[2].partition("##")[0]))
def test_the_floors_that_the_guide_names_are_floors(floor: str) -> None:
    assert re.search(rf"\brsft\.{floor}\b", (ROOT / ".importlinter").read_text(encoding="utf-8"))


def test_the_guide_names_the_floors_from_above() -> None:
    layers = (ROOT / ".importlinter").read_text(encoding="utf-8").partition("layers =")[2].partition("[")[0]
    floor = {name: place for place, line in enumerate(layers.split("\n")) for name in re.findall(r"rsft\.(\w+)", line)}
    named = re.findall(r"`(\w+)`", CONTRIBUTING.partition("## Floors")[2].partition("##")[0])
    groups = (["cli", "web"], ["loop", "stages"], ["engines"], ["selection", "budget"], ["config", "types"])
    assert {name for group in groups for name in group} <= set(named)
    for above, below in pairwise(groups):
        assert max(floor[name] for name in above) < min(floor[name] for name in below)
