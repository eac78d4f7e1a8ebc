"""What scorers and rules there are, and what can be said to each."""

from __future__ import annotations

import inspect
import types
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rsft import registry
from rsft.scorers import Combined, Scorer
from rsft.scorers.base import first_line
from rsft.scorers.judge.base import Judge
from rsft.scorers.model import ModelScorer
from rsft.selection import Rule

_PLAIN = {str: "text", bool: "true or false", int: "whole number", float: "number"}


def listed() -> list[dict[str, str]]:
    """Each shipped scorer: its name, what it says in one line, and what it takes."""
    return [
        {"name": name, "says": first_line(kind), "takes": _takes(kind)}
        for name, kind in ((name, registry.load("scorer", name)) for name in registry.SCORERS)
    ]


def described(name: str) -> dict[str, Any]:
    """All of one scorer, shipped or a user's own (path/to/file.py:Name). Raises RecipeError if there is none."""
    kind = registry.load("scorer", name)
    said: dict[str, Any] = {"name": name, "says": _told(kind), "takes": _takes(kind)}
    if not (isinstance(kind, type) and issubclass(kind, Scorer)):
        return said | {"options": _of_a_function(kind), "example": _yaml(name, {})}
    options = [_option(key, field) for key, field in kind.model_fields.items()]
    return said | {"options": options, "example": _yaml(name, dict(kind.example))}


def rules_listed() -> list[dict[str, str]]:
    """Each shipped rule: its name, what it keeps in one line, and what it looks at."""
    return [
        {"name": name, "says": first_line(kind), "looks_at": _looks_at(kind)}
        for name, kind in ((name, registry.load("rule", name)) for name in registry.RULES)
    ]


def rule_described(name: str) -> dict[str, Any]:
    """All of one rule, shipped or a user's own. Raises RecipeError if there is none."""
    kind: type[Rule] = registry.load("rule", name)
    options = [_option(key, field) for key, field in kind.model_fields.items() if key != "name"]
    stands = {**kind.beside, "selection": [kind.example or name]}
    example = yaml.safe_dump(stands, sort_keys=False, allow_unicode=True, width=100)
    return {"name": name, "says": _told(kind), "looks_at": _looks_at(kind), "options": options, "example": example}


def _looks_at(kind: type[Rule]) -> str:
    if kind.per_candidate:
        return "each by itself"
    return "all that were drawn" if kind.weighs_all or kind.ranks else "those before it"


def _told(kind: Any) -> str:
    """The whole docstring, a line for each paragraph."""
    paragraphs = (inspect.getdoc(kind) or first_line(kind)).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _takes(kind: Any) -> str:
    if not (isinstance(kind, type) and issubclass(kind, Scorer)):
        return "your own"
    if issubclass(kind, ModelScorer):
        return "a model"
    if issubclass(kind, Judge):
        return "a chat model"
    if issubclass(kind, Combined):
        return "other scores"
    return "a moment" if kind.quick else "a while"


def _option(key: str, field: FieldInfo) -> dict[str, str]:
    default = field.get_default(call_default_factory=True)
    shown = "needed" if default is PydanticUndefined else "" if default in (None, (), [], {}) else _shown(default)
    return {
        "name": field.alias or key,
        "type": _plain(field.annotation),
        "default": shown,
        "description": field.description or "",
    }


def _of_a_function(kind: Any) -> list[dict[str, str]]:
    parameters = list(inspect.signature(kind).parameters.values())[0 if isinstance(kind, type) else 1 :]
    return [
        {
            "name": parameter.name,
            "type": "",
            "default": "needed" if parameter.default is parameter.empty else _shown(parameter.default),
            "description": "",
        }
        for parameter in parameters
    ]


def _plain(annotation: Any) -> str:
    """A type in plain words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return " or ".join(_plain(part) for part in parts if part is not type(None))
    if origin in (list, tuple):
        return f"list of {_plain(parts[0])}" + ("s" if _plain(parts[0]) in _PLAIN.values() else "")
    if origin is dict or annotation is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return _plain(parts[0])
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return ", ".join(f"{key}: {_shown(own)}" for key, own in value.model_dump(exclude_defaults=True).items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _yaml(name: str, options: dict[str, Any]) -> str:
    spec: Any = {"type": name, **options} if options else name
    return yaml.safe_dump({"scorers": {"mine": spec}}, sort_keys=False, allow_unicode=True, width=100)
