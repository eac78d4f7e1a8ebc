"""Every block of code of every document can be used as it stands."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
import yaml
from command_lines import PROGRAMS, commands_in, lines_in, mentioned, mistake
from documents import DOCUMENTS, PAGES, ROOT, Block, blocks, name_of, of_type
from fragments import is_whole, over_the_demo, provide, variables

from rsft.config import load_recipe
from rsft.setup import check
from rsft.tracking import track

LANGUAGES = ("sh", "yaml", "python", "json", "text")


@pytest.fixture(autouse=True)
def _at_a_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the examples in it, and all that a tracker wants."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-shop")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setattr(track, "_is_installed", lambda name: True)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_fence_names_its_language(page: Path) -> None:
    assert {token.info.strip() for token in of_type(page, "fence")} <= set(LANGUAGES)


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_command_lines_could_be_typed(block: Block) -> None:
    for line in lines_in(block.text):
        for program, words in commands_in(line):
            assert (wrong := mistake(program, words)) is None, f"{line}\n{wrong}"


@pytest.mark.parametrize("block", blocks(None, ""), ids=str)
def test_command_lines_without_a_fence_could_be_typed(block: Block) -> None:
    """They may stand beside other text."""
    for line in lines_in(block.text):
        if line.split()[0].rpartition("/")[2] not in PROGRAMS:
            continue
        for program, words in commands_in(line):
            assert (wrong := mistake(program, words)) is None, f"{line}\n{wrong}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_in_sentences_are_there(document: Path) -> None:
    for token in of_type(document, "code_inline"):
        if token.content.startswith("rsft ") and "[OPTIONS]" not in token.content:
            for _, words in commands_in(token.content):
                assert (wrong := mentioned(words)) is None, f"{token.content}\n{wrong}"


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_what_is_shown_of_recipes_can_stand_in_one(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = yaml.safe_load(block.text)
    recipe = shown if is_whole(shown) else over_the_demo(shown)
    for name in variables(recipe):
        monkeypatch.setenv(name, "sk-of-the-shop")
    provide(recipe, python_of(block.document))
    Path("shown.yaml").write_text(yaml.safe_dump(recipe))
    check(load_recipe("shown.yaml"))


def test_a_file_of_the_repository_that_is_named_is_there() -> None:
    recipe = over_the_demo({"scorers": {"polite": "examples/custom_scorr.py:greets_by_name"}})
    with pytest.raises(AssertionError, match=r"names examples/custom_scorr\.py, which is not in the repository"):
        provide(recipe, "def greets_by_name(replies): ...")
    assert not (ROOT / "examples/custom_scorr.py").exists()


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if blocks("python", among=[one])], ids=name_of)
def test_python_runs(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(python_of(document), name_of(document), "exec"), vars(module))


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_parses(block: Block) -> None:
    """One document, or one a line."""
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        for line in block.text.splitlines():
            json.loads(line)


def python_of(document: Path) -> str:
    """A document's Python from top to bottom, each line where it stands there."""
    source = ""
    for block in blocks("python", among=[document]):
        source += "\n" * (block.line - 1 - source.count("\n")) + block.text
    return source
