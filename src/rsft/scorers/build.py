"""From a recipe's words to scorers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import regex
from pydantic import ValidationError

from rsft import registry
from rsft.config.mistakes import mistakes
from rsft.errors import RecipeError, nearest
from rsft.scorers.base import RUNS_MODEL, Scorer
from rsft.scorers.combined import Combined
from rsft.scorers.function import FunctionScorer
from rsft.scorers.run import reason_of

_NAME = regex.compile(r"[^\W\d][\w.-]*")


def build_scorers(
    specs: Mapping[str, str | Mapping[str, Any]], model: Sequence[str] | None = None
) -> dict[str, Scorer]:
    """The scorers of a recipe by their names. A spec is a type, or a mapping with its `type` and options.

    `model` is the run's, for scorers that work with it. One that combines others comes behind these. Raises RecipeError
    for a type that is not there, for options that the type doesn't take, and for parts that are no scorers.
    """
    return _bound({name: _build(name, spec, model) for name, spec in specs.items()})


def _bound(scorers: Mapping[str, Scorer]) -> dict[str, Scorer]:
    """The scorers, of which those that combine others know these."""
    bound = {name: scorer for name, scorer in scorers.items() if not isinstance(scorer, Combined)}
    left = {name: scorer for name, scorer in scorers.items() if isinstance(scorer, Combined)}
    for name, scorer in left.items():
        for part in scorer.reads:
            if part not in scorers:
                raise RecipeError(
                    f"The scorer '{name}' reads the score '{part}', which no scorer gives.{nearest(part, scorers)} "
                    f"The scorers are {', '.join(scorers)}."
                )
            if scorer.standardise and part in scorer.combines and _standardises(scorers[part]):
                raise RecipeError(
                    f"The scorer '{name}' standardises the score '{part}', which is standardised already."
                )
    while left:
        ready = [name for name, scorer in left.items() if bound.keys() >= set(scorer.reads)]
        if not ready:
            raise RecipeError(f"The scorers {', '.join(left)} read each other's scores in a circle.")
        for name in ready:
            bound[name] = left.pop(name).of(bound)
    return bound


def _standardises(scorer: Scorer) -> bool:
    return isinstance(scorer, Combined) and scorer.standardise


def _build(name: str, spec: str | Mapping[str, Any], model: Sequence[str] | None) -> Scorer:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecipeError(
            f"'{name}' can't be the name of a scorer: the selection could not speak of it. A name begins with a letter "
            "and holds letters, digits, '_', '-' and '.'."
        )
    kind, options = _kind_and_options(name, spec)
    found = registry.load("scorer", kind)
    if isinstance(found, type) and issubclass(found, Scorer):
        # A server stands in for a model.
        if found.takes_the_runs_model and model is not None and "server" not in options:
            options.setdefault("model", list(model))
        return _validated(name, kind, found, options, model)
    return _wrapped(name, kind, found, options)


def _kind_and_options(name: str, spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    options = {"type": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, Mapping) else {}
    kind = options.pop("type", None)
    if not isinstance(kind, str):
        types = ", ".join(sorted(registry.SCORERS))
        raise RecipeError(
            f"The scorer '{name}' needs a type: write `{name}: TYPE` or `{name}: {{type: TYPE, ...}}`. Found {spec!r}. "
            f"The types are {types}; your own is named as path/to/file.py:Name."
        )
    return kind, options


def _validated(
    name: str, kind: str, found: type[Scorer], options: dict[str, Any], model: Sequence[str] | None
) -> Scorer:
    if found.score is Scorer.score and not issubclass(found, Combined):
        raise RecipeError(f"The scorer '{name}' ({kind}) has no method 'score'.")
    try:
        return found.model_validate(options, context={RUNS_MODEL: model})
    except ValidationError as error:
        raise RecipeError(_cannot_be_built(name, kind, mistakes(error, found, f"the scorer '{kind}'"))) from None


def _wrapped(name: str, kind: str, found: Callable[..., Any], options: dict[str, Any]) -> Scorer:
    """A plain function, or a class that has `score` without being a Scorer."""
    is_class = isinstance(found, type)
    if is_class and not callable(getattr(found, "score", None)):
        raise RecipeError(f"The scorer '{name}' ({kind}) is a class without a method 'score'.")
    if problems := registry.misuses(found, options, takes="" if is_class else "list of replies"):
        raise RecipeError(_cannot_be_built(name, kind, problems))
    call: Callable[..., Any] = found
    if is_class:
        try:
            call = found(**options).score
        except Exception as error:
            raise RecipeError(_cannot_be_built(name, kind, [f"{reason_of(error)}."])) from error
    return FunctionScorer.of(found, call, options, pass_options=not is_class)


def _cannot_be_built(name: str, kind: str, problems: Sequence[str]) -> str:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return f"The scorer '{name}' ({kind}) can't be used:\n{lines}"
