"""A recipe as it stands in one iteration."""

from __future__ import annotations

from typing import Any

from rsft.config.load import validate
from rsft.config.recipe import Recipe


def at_iteration(recipe: Recipe, iteration: int) -> Recipe:
    """The recipe with the values that `loop.schedule` has for an iteration (from 1 on), and without a schedule.

    Raises RecipeError where one of them can't be.
    """
    if not recipe.loop.schedule:
        return recipe
    said = recipe.model_dump(mode="json")
    said["loop"]["schedule"] = {}
    for key, values in recipe.loop.schedule.items():
        *path, last = key.split(".")
        place: dict[str, Any] = said
        for part in path:
            place = place.setdefault(part, {})
        place[last] = values[min(iteration, len(values)) - 1]
    return validate(said, where=f"as loop.schedule has it in iteration {iteration}")
