"""The reference pages say what the program says, and leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from command_lines import group
from pydantic import BaseModel
from tools.reference import DOCS, pages
from tools.reference.types import models_in

from rsft import registry
from rsft.appraisal import described, rule_described
from rsft.config.load import shipped_recipes
from rsft.config.recipe import Recipe

PAGES = {file.name: text for file, text in pages().items()}


@pytest.mark.parametrize("file", pages(), ids=lambda file: file.name)
def test_they_are_written_anew(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == PAGES[file.name], "run python -m tools.reference"


def test_no_other_is_left_over() -> None:
    assert set((DOCS / "reference").iterdir()) <= pages().keys()


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGES[page], flags=re.M | re.S)
    assert found is not None, f"{page} has no section {heading}"
    return found[1]


@pytest.mark.parametrize("name", group().commands)
def test_every_command_is_there_with_every_option(name: str) -> None:
    said = section("commands.md", f"rsft {name}")
    for one in group().commands[name].params:
        (line,) = [line for line in said.splitlines() if line.startswith("- ") and _names(line) >= _shown(one)]
        assert line.partition(": ")[2], f"{line} says nothing"


def test_the_options_of_all_commands_are_there() -> None:
    for one in group().params:
        assert any(_names(line) >= _shown(one) for line in PAGES["commands.md"].splitlines())


def _names(line: str) -> set[str]:
    """What a line is about: the first word of each piece of code before it goes on."""
    return {code.split()[0] for code in re.findall(r"`([^`]+)`", re.split(r" \(|: ", line)[0])}


def _shown(one: Any) -> set[str]:
    return {one.metavar} if one.param_type_name == "argument" else {*one.opts}


def test_every_key_of_a_recipe_is_there() -> None:
    for path, model in sections("", Recipe):
        said = section("recipe.md", path or "All sections")
        for key, field in model.model_fields.items():
            found = re.search(rf"^- \[?`{field.alias or key}`\S*( \(.*?\))?: \S", said, flags=re.M)
            assert found, f"{path}.{key} has no meaning: give its field a description"


def sections(path: str, model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """The sections of a recipe with their models, the whole of it first."""
    inner = [
        one
        for key, field in model.model_fields.items()
        for kind in models_in(field.annotation)
        for one in sections(f"{path}.{key}".strip("."), kind)
    ]
    return [(path, model), *inner]


@pytest.mark.parametrize("name", [*registry.ENGINES, *registry.TRAINERS])
def test_every_engine_and_trainer_is_there(name: str) -> None:
    assert any(section("recipe.md", f"{kind}: {name}") for kind, table in KINDS if name in table)


KINDS = (("engine", registry.ENGINES), ("training", registry.TRAINERS))


@pytest.mark.parametrize("name", registry.SCORERS)
def test_every_scorer_is_there_with_every_option(name: str) -> None:
    _is_explained(section("scorers.md", name), described(name))


@pytest.mark.parametrize("name", registry.RULES)
def test_every_rule_is_there_with_every_option(name: str) -> None:
    _is_explained(section("rules.md", name), rule_described(name))


def _is_explained(said: str, told: dict[str, Any]) -> None:
    assert told["example"] in said
    for option in told["options"]:
        found = re.search(rf"^- `{option['name']}` \(.+\): \S", said, flags=re.M)
        assert found, f"{told['name']}: {option['name']} has no meaning: give its field a description"


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_there(name: str) -> None:
    assert "```yaml\n" in section("recipes.md", name)
    assert (DOCS.parent / f"src/rsft/recipes/{name}.yaml").read_text(encoding="utf-8").startswith("# ")
