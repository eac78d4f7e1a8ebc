"""From a recipe's words to scorers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import regex
from pydantic import ValidationError

from rsft import registry
from rsft.config.mistakes import mistakes
from rsft.errors import RecipeError, nearest
from rsft.scorers.base import Scorer, reason_of
from rsft.scorers.function import FunctionScorer

_NAME = regex.compile(r"[^\W\d][\w.-]*")


def build_scorers(specs: Mapping[str, str | Mapping[str, Any]]) -> dict[str, Scorer]:
    """The scorers of a recipe by their names. A spec is a type, or a mapping with its `type` and options.

    Raises RecipeError for a type that is not there and for options that the type doesn't take.
    """
    return {name: _build(name, spec) for name, spec in specs.items()}


def _build(name: str, spec: str | Mapping[str, Any]) -> Scorer:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecipeError(
            f"'{name}' can't be the name of a scorer: the selection could not speak of it. A name begins with a letter "
            "and holds letters, digits, '_', '-' and '.'."
        )
    kind, options = _kind_and_options(name, spec)
    found = registry.load("scorer", kind)
    if isinstance(found, type) and issubclass(found, Scorer):
        return _validated(name, kind, found, options)
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


def _validated(name: str, kind: str, found: type[Scorer], options: dict[str, Any]) -> Scorer:
    if found.score is Scorer.score:
        raise RecipeError(f"The scorer '{name}' ({kind}) has no method 'score'.")
    try:
        return found.model_validate(options)
    except ValidationError as error:
        raise RecipeError(_cannot_be_built(name, kind, mistakes(error, found, f"the scorer '{kind}'"))) from None


def _wrapped(name: str, kind: str, found: Callable[..., Any], options: dict[str, Any]) -> Scorer:
    """A plain function, or a class that has `score` without being a Scorer."""
    is_class = isinstance(found, type)
    if is_class and not callable(getattr(found, "score", None)):
        raise RecipeError(f"The scorer '{name}' ({kind}) is a class without a method 'score'.")
    parameters = list(inspect.signature(found).parameters.values())
    # A function's first parameter takes the replies.
    named = [p for p in parameters[0 if is_class else 1 :] if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    allowed = [p.name for p in named]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    problems = [_unknown_option(option, allowed) for option in options if option not in allowed and not open_ended]
    problems += [f"the option '{p.name}' is missing." for p in named if p.default is p.empty and p.name not in options]
    if not is_class and not parameters:
        problems.append("the function must take the list of replies as its first argument.")
    if problems:
        raise RecipeError(
            _cannot_be_built(name, kind, [*problems, f"Its options are: {', '.join(allowed) or 'none'}."])
        )
    call: Callable[..., Any] = found
    if is_class:
        try:
            call = found(**options).score
        except Exception as error:
            raise RecipeError(_cannot_be_built(name, kind, [f"{reason_of(error)}."])) from error
    return FunctionScorer.of(found, call, options, pass_options=not is_class)


def _unknown_option(option: str, allowed: Sequence[str]) -> str:
    return f"there is no option '{option}'.{nearest(option, allowed)}"


def _cannot_be_built(name: str, kind: str, problems: Sequence[str]) -> str:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return f"The scorer '{name}' ({kind}) can't be used:\n{lines}"
