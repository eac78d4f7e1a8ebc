"""The recipe: the YAML file that describes a run."""

from rsft.config.load import load_recipe, recipe_differences, recipe_yaml
from rsft.config.recipe import Recipe

__all__ = ["Recipe", "load_recipe", "recipe_differences", "recipe_yaml"]
