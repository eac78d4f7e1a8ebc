"""What pydantic found wrong, in words that name the key, what is allowed, and the nearest thing that exists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from rsft.errors import nearest

SECRET = "secret"
"""The type of a mistake whose value must not be shown."""


def mistakes(error: ValidationError, model: type[BaseModel], name: str, prefix: str = "") -> list[str]:
    """One line for each mistake. `name` is what the model describes, `prefix` where in the recipe it stands."""
    return [_explain(one, model, name, prefix) for one in error.errors()]


def _explain(error: Any, model: type[BaseModel], name: str, prefix: str) -> str:
    location = [part for part in error["loc"] if isinstance(part, str | int)]
    key = ".".join(map(str, ([prefix] if prefix else []) + location))
    if error["type"] == "extra_forbidden":
        section, place = _section_at(model, location[:-1])
        fields = list(section.model_fields)
        where = f"'{'.'.join(map(str, ([prefix] if prefix else []) + location[:place]))}'" if place else name
        hint = nearest(str(location[-1]), fields)
        return f"'{key}' is not a key of {where}.{hint} Its keys are: {', '.join(fields) or 'none'}."
    if error["type"] == "missing":
        return f"'{key}' is missing."
    message = error["msg"].removeprefix("Value error, ")
    if not location:
        return f"{message}."
    if error["type"] == SECRET:
        return f"{key}: {message}"
    return f"{key}: {message} (found {json.dumps(error['input'], default=str, ensure_ascii=False)[:80]})"


def _section_at(model: type[BaseModel], location: Sequence[str | int]) -> tuple[type[BaseModel], int]:
    """The innermost model on the way, and how many keys lead to it."""
    place = 0
    for depth, part in enumerate(location, 1):
        field = model.model_fields.get(str(part))
        inner = _model_of(field.annotation) if field else None
        if inner is not None:
            model, place = inner, depth
    return model, place


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_of(one))), None)
