"""The servers that a recipe names, wherever in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rsft.config.mistakes import mistakes
from rsft.servers.endpoint import Endpoint

# Parts of a recipe that may name servers.
_PARTS = ("engine", "sampling.generators", "scorers", "evaluation.scorers", "training")


@dataclass(frozen=True, slots=True)
class Named:
    """A server by its place in the recipe (`scorers.kind.server`): the endpoint, or what is wrong with what is said."""

    where: str
    endpoint: Endpoint | None
    mistake: str = ""


def named_servers(recipe: Mapping[str, Any]) -> list[Named]:
    """All servers of a recipe as YAML has it, in order. Parts that it doesn't have are none.

    A server is what stands under `server`, an engine of type `openai`, and any other mapping with the address (`url`)
    and the `model` of one, whatever else it says. An engine that names no model serves the recipe's.
    """
    return [named for part in _PARTS for named in _under(part, _at(recipe, part), _model_of(recipe))]


def _at(recipe: Mapping[str, Any], path: str) -> Any:
    value: Any = recipe
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _model_of(recipe: Mapping[str, Any]) -> Any:
    """The recipe's model, by its first name."""
    model = recipe.get("model")
    return model[0] if isinstance(model, (list, tuple)) and model else model


def _under(where: str, value: Any, model: Any) -> Iterator[Named]:
    if isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            yield from _under(f"{where}[{number}]", one, model)
    elif isinstance(value, Mapping):
        if (named := _named(where, value, model)) is not None:
            yield named
            return
        for key, one in value.items():
            yield from _under(f"{where}.{key}", one, model)


def _named(where: str, said: Mapping[str, Any], model: Any) -> Named | None:
    is_said_to_be = where.endswith(".server") or said.get("type") == "openai"
    if not is_said_to_be and not isinstance(said.get("url"), str):
        return None
    own = {key: value for key, value in said.items() if key in Endpoint.model_fields and value is not None}
    if where == "engine" and ".py:" not in str(said.get("type")):  # what a user's own engine asks, nobody knows
        own.setdefault("model", model)
    try:
        return Named(where, Endpoint.model_validate(own))
    except ValidationError as error:
        return Named(where, None, " ".join(mistakes(error, Endpoint, "a server"))) if is_said_to_be else None
