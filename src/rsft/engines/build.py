"""From an engine's name in a recipe to what opens it."""

from __future__ import annotations

import inspect
from typing import Any, cast

from rsft import registry
from rsft.engines.base import EngineKind
from rsft.engines.own import OfFunction, OwnEngine
from rsft.errors import RecipeError


def engine_kind(name: str) -> EngineKind:
    """The engine of this name, or the user's own at `path/to/file.py:Name`: a class that derives from OwnEngine, one
    that is an Engine by itself, or a function over a list of requests. Raises RecipeError."""
    found: Any = registry.load("engine", name)
    if inspect.isroutine(found):
        return OfFunction(found)
    if not inspect.isclass(found):
        raise RecipeError(f"The engine '{name}' is neither a class nor a function, but a {type(found).__name__}.")
    if issubclass(found, OwnEngine):
        wanted = [] if found.replies is not OwnEngine.replies else ["replies"]
    else:
        wanted = [method for method in ("open", "serves", "sample") if not callable(getattr(found, method, None))]
    if wanted:
        raise RecipeError(
            f"The engine '{name}' is a class without {' and '.join(wanted)}. Derive it from rsft.engines.OwnEngine and "
            "give it one method, replies(policy, requests); or name a function over a list of requests."
        )
    return cast(EngineKind, found)
