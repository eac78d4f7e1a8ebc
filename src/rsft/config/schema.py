"""The recipe's JSON Schema, with the options of every trainer that comes with rsft."""

from __future__ import annotations

from typing import Any

from rsft import registry
from rsft.config.recipe import Recipe


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe file. `run` may be left out: it follows from the file's name."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "rsft recipe"
    schema["required"] = [key for key in schema["required"] if key != "run"]
    training = schema["$defs"]["TrainingSection"]
    training["properties"]["type"]["examples"] = sorted(registry.TRAINERS)
    for name in registry.TRAINERS:
        options = registry.load("trainer", name).model_json_schema()
        schema["$defs"] |= options.pop("$defs", {})
        training["properties"] |= options.get("properties", {})
    spec = {
        "type": ["string", "object"],
        "description": f"One of {', '.join(sorted(registry.SCORERS))}, or path.py:Name.",
    }
    schema["properties"]["scorers"]["additionalProperties"] = spec
    return schema
