"""The page of the recipe: every key, from the models that read it."""

import inspect
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tools.reference.markdown import anchor, bullet, code, page, paragraphs, prose
from tools.reference.types import kind_of, models_in

from rsft import registry
from rsft.config.recipe import Recipe
from rsft.engines.local.engine import LocalOptions
from rsft.engines.remote.options import OpenAIOptions, VllmOptions
from rsft.engines.scripted import Script
from rsft.servers.endpoint import Endpoint, Price

_INTRO = """\
A recipe is a YAML file. Needed are `model`, `prompts.train`, `scorers` and `selection`; all else has a default. A key
that is not known is refused, with the nearest that is. `rsft check RECIPE` resolves a recipe and says what it will do;
`--set sampling.candidates=4` changes a key for one run; `rsft schema` prints the JSON Schema, by which editors complete
and check what you write. The [shipped recipes](../recipes.md) are examples."""
_SERVER = """\
Judges and model scorers take these keys under `server`; the engine `openai` and the trainer `openai` take them beside
their own. A key never stands in a recipe: `key_env` names the environment variable that holds it."""
_ENGINES: dict[str, type[BaseModel]] = {
    "local": LocalOptions,
    "vllm": VllmOptions,
    "openai": OpenAIOptions,
    "scripted": Script,
}
# Keys that the name of the recipe gives where they are left out.
_NAMED = {"run"}
# Where more is said of keys whose options are not the recipe's own.
_ELSEWHERE = {"engine": "#engine", "scorers": "scorers.md", "selection": "rules.md"}


def recipe_page() -> str:
    """Every key of a recipe: its type, its default and its meaning."""
    assert _ENGINES.keys() == registry.ENGINES.keys()
    blocks = ["# Recipe", _INTRO, "## All sections", _keys(Recipe, "")]
    for name, field in Recipe.model_fields.items():
        if name == "engine":
            blocks += ["## engine", prose(field.description or ""), *_engines()]
            continue
        for model in models_in(field.annotation):
            blocks += _section(name, model, 2)
        if name == "training":
            blocks += _trainers()
    return page(*blocks, "## A server", _SERVER, _keys(Endpoint, ""))


def _engines() -> Iterator[str]:
    for name, model in _ENGINES.items():
        yield f"### engine: {name}"
        yield from _told(registry.load("engine", name))
        yield _keys(model, f"engine: {name}")


def _trainers() -> Iterator[str]:
    for name in registry.TRAINERS:
        yield from _section(f"training: {name}", registry.load("trainer", name), 3, nested="training")


def _section(path: str, model: type[BaseModel], level: int, nested: str | None = None) -> Iterator[str]:
    """A section with its keys, and those within it."""
    inside = nested or path
    yield f"{'#' * level} {path}"
    yield from _told(model)
    yield _keys(model, inside)
    for name, field in model.model_fields.items():
        for one in models_in(field.annotation):
            yield from _section(f"{inside}.{name}", one, level + 1)


def _told(kind: type) -> list[str]:
    return paragraphs(inspect.getdoc(kind) or "")


def _keys(model: type[BaseModel], path: str) -> str:
    """The list of a section's keys. One that is a section itself leads there."""
    lines = [_key(name, field, path) for name, field in _own(model).items()]
    if model is not Endpoint and issubclass(model, Endpoint):
        lines.append("- and the keys of [a server](#a-server)")
    return "\n".join(lines)


def _own(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a model, without those that it refuses, and those that it has of a server as they are there."""
    served = Endpoint.model_fields if model is not Endpoint and issubclass(model, Endpoint) else {}
    return {
        name: field
        for name, field in model.model_fields.items()
        if field.annotation is not type(None) and repr(field) != repr(served.get(name))
    }


def _key(name: str, field: FieldInfo, path: str) -> str:
    key, within = code(field.alias or name), list(models_in(field.annotation))
    if not path and name in _ELSEWHERE:
        key = f"[{key}]({_ELSEWHERE[name]})"
    if not within:
        kind = kind_of(field)
        if not path and name in _NAMED:
            kind = kind.removesuffix("; needed")
        return bullet(key, kind, field.description or "")
    meaning = field.description or " ".join((inspect.getdoc(within[0]) or "").split("\n\n")[0].split())
    if within[0] is Price:
        return bullet(key, "mapping of `input` and `output`, both numbers", meaning)
    return f"- [{key}](#{anchor(f'{path}.{name}' if path else name)}): {prose(meaning)}"
