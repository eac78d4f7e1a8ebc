"""What parts of a recipe have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def as_list(value: Any) -> Any:
    """A text that stands for a list of itself alone."""
    return [value] if isinstance(value, str) else value


OneOrMore = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
PlugIn = str | dict[str, Any]
"""A plug-in's name, or a mapping with its `type` and options."""


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
