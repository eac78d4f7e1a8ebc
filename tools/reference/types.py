"""What may stand at a key, in plain words, from the types of pydantic's models."""

import json
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tools.reference.markdown import code

from rsft.config.section import as_list

_PLAIN = {str: "text", bool: "true or false", int: "whole number", float: "number", dict: "mapping", Any: "anything"}


def kind_of(field: FieldInfo) -> str:
    """What may stand there, as Markdown, and what holds when nothing does."""
    kind = _words(field.annotation, field.metadata)
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return f"{kind}; needed"
    shown = shown_value(default)
    return f"{kind}; default {shown}" if shown else kind


def shown_value(value: Any) -> str:
    """A default as Markdown; nothing for one that says nothing by itself."""
    if value is None or value in ((), [], {}, ""):
        return ""
    if isinstance(value, BaseModel):
        own = value.model_dump(exclude_defaults=True)
        return code(_yaml(own)) if own else ""
    shown = _yaml(value)
    return "" if len(shown) > 100 else code(shown)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(own)}" for key, own in value.items()) + "}"
    if isinstance(value, str) and value.isspace():
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def between(low: float | None, high: float | None) -> str:
    """The bounds of a number."""
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" from {low:g} on"
    return "" if high is None else f" to {high:g}"


def _words(annotation: Any, metadata: Any = ()) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0], (*parts[1:], *metadata))
    if any(isinstance(one, BeforeValidator) and one.func is as_list for one in metadata):
        return "text, or a list of texts"
    if origin is Literal:
        return _either([code(_yaml(one)) for one in parts])
    if origin in (Union, types.UnionType):
        return _either([_words(part, metadata) for part in parts if part is not type(None)])
    if origin in (list, tuple):
        return f"list of {_several(_words(parts[0]))}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return _PLAIN[annotation] + _bounds(metadata)


def _several(item: str) -> str:
    """More than one of what may stand there."""
    return re.sub(r"^(text|mapping|(whole )?number)\b|(?<= or )(text|mapping)$", lambda found: f"{found[0]}s", item)


def _either(said: list[str]) -> str:
    said = list(dict.fromkeys(said))
    return " or ".join([", ".join(said[:-1]), said[-1]]) if len(said) > 2 else " or ".join(said)


def _bounds(metadata: Any) -> str:
    """What a number must be, and what a text."""
    said = []
    flat = list(_flat(metadata))
    low, high = (
        next((getattr(one, key) for one in flat if isinstance(one, kind)), None)
        for kind, key in ((Ge, "ge"), (Le, "le"))
    )
    above, below = (
        next((getattr(one, key) for one in flat if isinstance(one, kind)), None)
        for kind, key in ((Gt, "gt"), (Lt, "lt"))
    )
    if above is not None:
        said.append(f" above {above:g}")
    if low is not None or high is not None:
        said.append(between(low, high))
    if below is not None:
        said.append(f" below {below:g}")
    return ",".join(said)


def _flat(metadata: Any) -> Iterator[Any]:
    """Bounds, also those that stand in a Field within Annotated."""
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from _flat(one.metadata)
        elif not isinstance(one, (MinLen, MaxLen)):
            yield one


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that may stand there, each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for part in get_args(annotation):
        yield from models_in(part)
