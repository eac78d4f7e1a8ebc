"""What a shell offers at the Tab key: commands, recipes, runs, scorers; asked by bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rsft.cli import completing
from rsft.config.load import shipped_recipes
from rsft.registry import RULES, SCORERS

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for run in ("runs/service", "runs/de[mo", "elsewhere/old"):
        Path(run).mkdir(parents=True)
        Path(run, "recipe.yaml").write_text("model: none\n")
    Path("runs/notes").mkdir()
    Path("sub").mkdir()
    for file in ("bot.yaml", "bot.yml", "bot.txt", "sub/deep.yaml"):
        Path(file).write_text("")
    return tmp_path


def test_recipes_are_shipped_ones_and_files(here: Path) -> None:
    assert set(shipped_recipes()) <= set(completing.recipes(""))
    assert {"bot.yaml", "bot.yml", "runs/service"} <= set(completing.recipes(""))
    assert completing.recipes("bot") == ["bot.yaml", "bot.yml"]
    assert "demo" in completing.recipes("d")
    assert completing.recipes("sub/") == ["sub/deep.yaml"]
    assert completing.recipes("no such") == []
    assert completing.recipes(f"{here}/b") == [], "the shell completes such paths"


def test_runs_are_folders_with_a_recipe(here: Path) -> None:
    assert completing.runs("") == ["runs/de[mo", "runs/service"]
    assert completing.runs("runs/de[") == ["runs/de[mo"]
    assert completing.runs("elsewhere/") == ["elsewhere/old"]
    assert completing.runs("runs/n") == []
    assert completing.runs("~/") == []


def test_names_of_plug_ins() -> None:
    assert completing.scorers("") == sorted([*SCORERS, "test"])
    assert completing.scorers("states") == ["states_facts"]
    assert completing.rules("top") == ["top_k"]
    assert set(completing.rules("")) == set(RULES)
    assert completing.kinds("serv") == ["service"]


@pytest.fixture
def offered(here: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """What bash has for the last word of a line, after reading the script that `--show-completion` prints."""
    folder = here / "bin"
    folder.mkdir()
    (folder / "rsft").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rsft "$@"\n')
    (folder / "rsft").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }

    def ask(*words: str) -> list[str]:
        listed = " ".join(f"'{word}'" for word in ("rsft", *words))
        script = (
            'eval "$(rsft --show-completion bash)"\n'
            f"COMP_WORDS=({listed}); COMP_CWORD={len(words)}; _rsft_completion rsft\n"
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run([str(BASH), "-c", script], env=env, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    return ask


@pytest.mark.skipif(BASH is None, reason="bash is not there")
@pytest.mark.parametrize(
    ("words", "among"),
    [
        (["ca"], {"calibrate"}),
        (["check", "de"], {"demo"}),
        (["run", "bot"], {"bot.yaml", "bot.yml"}),
        (["run", "demo", "--fork", "runs/s"], {"runs/service"}),
        (["chat", "runs/s"], {"runs/service"}),
        (["scorers", "states"], {"states_facts"}),
        (["scorers", "test", "bot"], {"bot.yaml", "bot.yml"}),
        (["rules", "top"], {"top_k"}),
        (["init", "--kind", "serv"], {"service"}),
        (["run", "demo", "--see"], {"--seeds"}),
    ],
)
def test_bash_offers(words: list[str], among: set[str], offered: object) -> None:
    assert set(offered(*words)) == among  # type: ignore[operator]
