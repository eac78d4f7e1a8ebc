"""Docs that can't drift: what the README shows runs, what it names exists, what is shipped loads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from rsft.config import load_recipe
from rsft.config.load import shipped_recipes
from rsft.plan import plan
from rsft.scorers import build_scorers, run_scorer
from rsft.selection import parse_selection
from rsft.setup import check
from rsft.tracking import track
from rsft.types import Message, Prompt, Reply

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

SERVERS = (ROOT / "docs/servers.md").read_text(encoding="utf-8")
TRACKING = (ROOT / "docs/tracking.md").read_text(encoding="utf-8")


PICTURES = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> dict[str, Any]:
    import typer.main

    from rsft.cli.app import app

    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def test_the_python_in_the_readme_runs_and_is_the_example() -> None:
    (block,) = blocks("python")
    told: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), told)
    shipped: dict[str, Any] = {}
    exec(compile((ROOT / "examples/custom_scorer.py").read_text(), "custom_scorer.py", "exec"), shipped)
    turns = (Message("user", "Hi"),)
    known, unknown = Prompt("a", turns, turns, {"name": "Ada"}), Prompt("b", turns, turns)
    replies = [Reply(known, "Hello ADA!"), Reply(known, "Hello!"), Reply(unknown, "Hello!")]
    for module in (told, shipped):
        said = module["greets_by_name"](replies)
        assert [score and score.value for score in said] == [1.0, 0.0, None]


def test_the_custom_scorer_can_be_named_in_a_recipe() -> None:
    scorer = build_scorers({"polite": f"{ROOT}/examples/custom_scorer.py:greets_by_name"})["polite"]
    turns = (Message("user", "Hi"),)
    (score,) = run_scorer(scorer, [Reply(Prompt("a", turns, turns, {"name": "Ada"}), "Good day, Ada.")])
    assert (score.value, score.explanation) == (1.0, "says 'Ada'")


def test_the_recipe_in_the_readme_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("yaml")
    monkeypatch.chdir(ROOT)
    (tmp_path / "bot.yaml").write_text(block)
    recipe = load_recipe(tmp_path / "bot.yaml")
    scorers = build_scorers(recipe.scorers)
    parse_selection(recipe.selection).check(list(scorers))


def test_every_command_is_in_the_readme_and_every_command_line_parses() -> None:
    known = commands()
    lines = re.findall(r"`(rsft [^`]*)`", README) + re.findall(r"^  \S*(rsft .*)$", README, flags=re.M)
    used = set()
    for line in lines:
        name, *words = shlex.split(line)[1:]
        if name.startswith("-"):
            continue
        used.add(name)
        assert name in known, line
        if words:
            known[name].make_context(name, words)  # raises where an option or argument is not there
    assert used == set(known)


def test_every_make_target_and_every_file_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, flags=re.M):
        assert f"\n{target}:" in makefile
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("said", re.findall(r"^```yaml\n(.*?)^```", SERVERS, flags=re.M | re.S))
def test_what_the_page_on_servers_shows_can_stand_in_a_recipe(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-shop")
    whole = yaml.safe_load((ROOT / "src/rsft/recipes/demo.yaml").read_text(encoding="utf-8"))
    shown = yaml.safe_load(said)
    if "scorers" in shown:
        whole["evaluation"] = {"scorers": shown.pop("scorers")}
    if shown.get("training", {}).get("type") == "openai":
        del whole["training"]
    for key, value in shown.items():
        whole[key] = {**whole.get(key, {}), **value} if isinstance(whole.get(key), dict) else value
    (tmp_path / "shown.yaml").write_text(yaml.safe_dump(whole))
    check(load_recipe(tmp_path / "shown.yaml"))


@pytest.mark.parametrize("said", re.findall(r"^```yaml\n(.*?)^```", TRACKING, flags=re.M | re.S))
def test_what_the_page_on_tracking_shows_can_stand_in_a_recipe(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setattr(track, "_is_installed", lambda name: True)  # Trackio is not
    whole = yaml.safe_load((ROOT / "src/rsft/recipes/demo.yaml").read_text(encoding="utf-8"))
    (tmp_path / "shown.yaml").write_text(yaml.safe_dump(whole | yaml.safe_load(said)))
    recipe = load_recipe(tmp_path / "shown.yaml")
    check(recipe)
    assert recipe.tracking.wanted


def test_the_page_on_tracking_names_every_number(tmp_path: Path) -> None:
    from rsft.tracking import numbers

    for name in (*numbers.ON_ITERATIONS, *numbers.TRAINING):
        assert re.search(rf"`{name}`|`{name}_", TRACKING), name


def test_every_picture_of_the_docs_is_there_and_none_is_left_over() -> None:
    named = {
        ROOT / "docs" / name for page in (ROOT / "docs").glob("*.md") for name in PICTURES.findall(page.read_text())
    }
    assert named == set((ROOT / "docs/images").iterdir())


def test_the_readme_is_short_and_its_numbers_are_there() -> None:
    assert len(README.splitlines()) <= 150
    assert not re.search(r"\b[A-Z]+_[A-Z_]*(TABLE|OUTPUT|MINUTES)\b", README)


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_can_be_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = "bundled:shop"
    files = [f"prompts.train={own}.train.jsonl.gz", f"prompts.heldout={own}.heldout.jsonl.gz"]
    planned = plan(load_recipe(name, files if name == "service_dialogues" else []))
    assert planned["prompts"]["train"]["count"] > 0
    assert planned["prompts"]["heldout"]["count"] > 0


def test_constraints_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    assert "torch==2.13.0" in lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    tracked = [*ROOT.glob("*"), *ROOT.rglob("src/**/*.yaml"), *ROOT.rglob(".ci/*")]
    for file in tracked:
        if file.is_file() and file.suffix in ("", ".txt", ".toml", ".md", ".yaml"):
            assert "index-url" not in file.read_text(encoding="utf-8"), file


def test_the_dependencies_are_all_constrained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    del extras["trackio"]  # wants an older Pillow than matplotlib's newest is pinned with
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()
    }
    for requirement in wanted:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name[0].lower().replace("_", "-") in pinned, requirement


def test_yaml_of_the_recipes_holds_a_header_that_says_what_it_is_for() -> None:
    for file in (ROOT / "src/rsft/recipes").glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        assert text.startswith("# "), file
        assert isinstance(yaml.safe_load(text), dict)
