"""The recipe that a run folder holds, and what may be changed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rsft.config import Recipe, load_recipe, recipe_differences
from rsft.config.lines import line_of
from rsft.config.load import validate
from rsft.errors import RecipeError, RunError

# libyaml's safe loader reads the same ten times as fast; PyYAML may have been built without it.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def saved_recipe(folder: Path) -> Recipe:
    """The resolved recipe of a run folder."""
    file = folder / "recipe.yaml"
    if not file.is_file() and (seeds := sorted(folder.glob("seed_*/recipe.yaml"))):
        raise RunError(f"{folder} holds the runs of several seeds. Name one of them: {seeds[0].parent}, for example.")
    try:
        said = yaml.load(file.read_text(encoding="utf-8"), Loader=_SAFE_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{folder} holds no readable recipe.yaml, so it is not a run folder: {error}") from None
    if not isinstance(said, dict):
        raise RunError(f"{folder} holds a recipe.yaml that is no recipe, so it is not a run folder.")
    return validate(said | {"run": str(folder.absolute())}, where=str(file))


def changed_recipe(folder: Path, overrides: Sequence[str], *may_change: str) -> Recipe:
    """A run's recipe with overrides. Raises RecipeError for those that change other keys than may change.

    A selection that is given here stands in all iterations, whatever the schedule has.
    """
    recipe, saved = load_recipe(folder, overrides), saved_recipe(folder)
    if recipe.selection != saved.selection or any(map(_is_of_selection, overrides)):
        recipe = with_selection(recipe, recipe.selection)
        saved = saved.model_copy(update={"loop": recipe.loop})
    others = [line for line in recipe_differences(saved, recipe) if not line.startswith(may_change)]
    if others:
        lines = "\n".join(f"  - {line}" for line in others)
        raise RecipeError(f"Of a run that is there, only {' and '.join(may_change)} can be changed here:\n{lines}")
    return recipe


def _is_of_selection(override: str) -> bool:
    return line_of(override) is not None or override.partition("=")[0].strip() == "selection"


def with_selection(recipe: Recipe, rules: Sequence[str | Mapping[str, Any]]) -> Recipe:
    """The recipe with these rules in all iterations, whatever its schedule has."""
    kept = {key: values for key, values in recipe.loop.schedule.items() if key != "selection"}
    loop = recipe.loop.model_copy(update={"schedule": kept})
    return recipe.model_copy(update={"selection": list(rules), "loop": loop})


def refuse_other_recipe(recipe: Recipe, folder: Path) -> None:
    """Raise RunError, with the keys that differ, if the folder holds a run of another recipe.

    More iterations are no other recipe: the run goes on. Fewer are.
    """
    saved = saved_recipe(folder)
    changed = recipe_differences(saved, recipe)
    if recipe.loop.iterations < saved.loop.iterations:
        changed.append(f"loop.iterations: {saved.loop.iterations} → {recipe.loop.iterations}")
    if changed:
        lines = "\n".join(f"  - {line}" for line in changed)
        raise RunError(
            f"The run folder {folder} holds a run of another recipe:\n{lines}\n"
            f"Go on with it as it is (rsft resume {folder}), name another folder (--set run=...), or start a run that "
            f"takes over all that is still valid (--fork {folder})."
        )
