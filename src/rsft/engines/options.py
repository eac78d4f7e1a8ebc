"""Reading what a recipe says of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rsft.config.mistakes import mistakes
from rsft.errors import RecipeError

Options = TypeVar("Options", bound=BaseModel)


def checked_options(kind: type[Options], name: str, said: Mapping[str, Any]) -> Options:
    """An engine's options. Raises RecipeError with each mistake."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        lines = " ".join(mistakes(error, kind, f"the engine '{name}'", prefix="engine"))
        raise RecipeError(f"The engine '{name}' can't be used: {lines}") from None
