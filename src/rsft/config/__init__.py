"""The recipe: the YAML file that describes a run."""

from rsft.config.load import differing_keys, load_recipe, recipe_differences, recipe_yaml
from rsft.config.recipe import Recipe

__all__ = ["Recipe", "differing_keys", "load_recipe", "recipe_differences", "recipe_yaml"]
