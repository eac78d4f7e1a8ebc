"""The servers that a recipe names, and the keys that they need."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from rsft import registry
from rsft.config import Recipe
from rsft.doctor.check import Check
from rsft.errors import UserError
from rsft.scorers import build_scorers
from rsft.scorers.served import ServedModelScorer
from rsft.servers import Endpoint, background
from rsft.servers.abilities import Found, look_at
from rsft.servers.named import named_servers

_USUAL_KEYS = ("OPENAI_API_KEY", "HF_TOKEN")
_SHOWN = 5
# What it costs that a server can't do something.
_WITHOUT = {
    "n": "Each candidate is asked for by itself",
    "seed": "Its replies can't be drawn again",
    "token_ids": "Replies are known by their text only, not by the tokens that were sampled",
    "logprobs": "Nothing that needs a reply's probability can be used",
    "streaming": "A reply can't be ended before it is whole",
    "json_schema": "A judge's verdicts are read from free text",
    "adapters": "A trained adapter can't be sampled from without a new start",
}


def keys(recipe: Recipe | None) -> Iterator[Check]:
    """Which variables that hold keys are set: by their names, never what they hold."""
    named = named_servers(recipe.model_dump(mode="json")) if recipe is not None else []
    needed = {one.endpoint.key_variable: one.where for one in named if one.endpoint and one.endpoint.key_variable}
    for variable, where in needed.items():
        if os.environ.get(variable, "").strip():
            yield Check("keys", variable, "ok", f"set, for {where}")
        else:
            yield Check("keys", variable, "problem", f"not set, and {where} needs it", f"export {variable}=...")
    for variable in _USUAL_KEYS:
        if variable not in needed:
            is_set = bool(os.environ.get(variable, "").strip())
            yield Check("keys", variable, "ok", "set" if is_set else "not set, and not needed by a server here")


def servers(recipe: Recipe) -> Iterator[Check]:
    """Each server: whether it is there, what it says of itself, and what it can do. They are all asked at once."""
    said = recipe.model_dump(mode="json")
    named = named_servers(said)
    scoring = {one.where for one in named if _only_scores(said, one.where)}
    found = _look_at_all({(one.endpoint, one.where not in scoring) for one in named if one.endpoint is not None})
    for one in named:
        if one.endpoint is None:
            yield Check(one.where, "server", "problem", one.mistake, f"Mend {one.where} in the recipe")
            continue
        its = found[one.endpoint, one.where not in scoring]
        yield from _told(one.where, one.endpoint, its)
        if one.where in scoring and its.away is None:
            yield _scores(one.where, one.endpoint, _spec(said, one.where))


def _look_at_all(asked: set[tuple[Endpoint, bool]]) -> dict[tuple[Endpoint, bool], Found]:
    """Each server, and whether it chats, at once; one that is named twice is looked at once."""
    each = list(asked)

    async def all_looks() -> list[Found]:
        return list(await asyncio.gather(*(look_at(endpoint, chats=chats) for endpoint, chats in each)))

    return dict(zip(each, background.finish(all_looks()), strict=True))


def _told(where: str, endpoint: Endpoint, found: Found) -> Iterator[Check]:
    if found.away is not None:
        advice = f"Start the server, or mend url and key_env of {where}"
        yield Check(where, "server", "problem", found.away, advice)
        return
    version = f", version {found.version}" if found.version else ""
    yield Check(where, "server", "ok", f"{endpoint.url} answers{version}")
    yield _models(where, endpoint, found)
    for name, ability in (found.abilities or {}).items():
        if ability.can:
            yield Check(where, name, "ok", ability.why)
        elif name == "chat":
            yield Check(where, name, "problem", ability.why, f"The model has to answer chats to be of use in {where}")
        else:
            yield Check(where, name, "note", ability.why, _WITHOUT[name])


def _models(where: str, endpoint: Endpoint, found: Found) -> Check:
    if not found.models:
        return Check(where, "models", "note", "lists none", f"Whether it has '{endpoint.model}', a request shows")
    shown = ", ".join(found.models[:_SHOWN]) + (
        f" and {len(found.models) - _SHOWN} more" * (len(found.models) > _SHOWN)
    )
    if endpoint.model not in found.models:
        return Check(where, "models", "problem", shown, f"It has no '{endpoint.model}': set model to one of its own")
    return Check(where, "models", "ok", shown)


def _only_scores(recipe: dict[str, Any], where: str) -> bool:
    """Whether the server is a scorer's that asks it for numbers, and not for answers."""
    spec = _spec(recipe, where)
    try:
        kind = registry.load("scorer", spec["type"]) if isinstance(spec, dict) and where.endswith(".server") else None
    except (UserError, KeyError):
        return False
    return isinstance(kind, type) and issubclass(kind, ServedModelScorer)


def _spec(recipe: dict[str, Any], where: str) -> Any:
    """The scorer's spec that the server stands in: `scorers.NAME.server` or `evaluation.scorers.NAME.server`."""
    part = recipe["evaluation"] if where.startswith("evaluation.") else recipe
    path = where.removeprefix("evaluation.")
    name = path.removeprefix("scorers.").removesuffix(".server")
    return part["scorers"].get(name) if path.startswith("scorers.") else None


def _scores(where: str, endpoint: Endpoint, spec: dict[str, Any]) -> Check:
    """Whether the scorer gets a score of a tiny reply."""
    brief = endpoint.model_dump(exclude_none=True) | {"attempts": 1, "patience_seconds": 0, "timeout_seconds": 20}
    try:
        build_scorers({"it": {**spec, "server": brief}})["it"].prepare()
    except UserError as error:
        return Check(where, "scores", "problem", str(error), f"See the options: rsft scorers {spec['type']}")
    return Check(where, "scores", "ok", f"{spec['type']} gets a score")
