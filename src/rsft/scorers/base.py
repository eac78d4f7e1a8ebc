"""The contract of a scorer, and how scorers are built from a recipe and run."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import regex
from pydantic import BaseModel, ConfigDict, ValidationError

from rsft import registry
from rsft.errors import RecipeError, nearest
from rsft.types import Reply, Score

_NAME = regex.compile(r"[^\W\d][\w.-]*")


class Scorer(BaseModel):
    """What scores replies. A subclass declares its options as fields and has one method, `score`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: ClassVar[int] = 1
    """Raised whenever the class comes to say something else of the same reply, so that stored scores are made anew."""

    def score(self, replies: Sequence[Reply]) -> Sequence[Score | float | bool | None]:
        """One word on each reply, in order: a Score, a number, a bool, or None for failed."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """What tells this scorer from any other: its class, its options, and the version or file that it comes from."""
        kind = type(self)
        return _fingerprint(kind, self.model_dump(mode="json"), kind.version)

    @property
    def description(self) -> str:
        """The first line of the class's docstring."""
        return _first_line(type(self))


def build_scorers(specs: Mapping[str, str | Mapping[str, Any]]) -> dict[str, Scorer]:
    """The scorers of a recipe by their names. A spec is a type, or a mapping with its `type` and options.

    Raises RecipeError for a type that is not there and for options that the type doesn't take.
    """
    return {name: _build(name, spec) for name, spec in specs.items()}


def run_scorer(scorer: Scorer, replies: Sequence[Reply]) -> list[Score]:
    """The scorer's word on each reply, in order. What raises, or is no score, is a failed score with the reason.

    A batch that raises or has the wrong count is scored again one by one: a bad reply never spoils its neighbours.
    """
    if len(replies) > 1:
        try:
            return _scores(scorer, replies)
        except Exception:
            return [_score_alone(scorer, reply) for reply in replies]
    return [_score_alone(scorer, reply) for reply in replies]


def _score_alone(scorer: Scorer, reply: Reply) -> Score:
    try:
        return _scores(scorer, [reply])[0]
    except Exception as error:
        return Score.failed(_reason(error))


def _scores(scorer: Scorer, replies: Sequence[Reply]) -> list[Score]:
    said = scorer.score(list(replies))
    if said is None or isinstance(said, (str, bytes, Mapping)):
        raise TypeError(f"the scorer returned {type(said).__name__}, expected a list with one score for each reply")
    said = list(said)
    if len(said) != len(replies):
        raise ValueError(f"the scorer returned {len(said)} scores for {len(replies)} replies")
    return [_as_score(one) for one in said]


def _as_score(said: Any) -> Score:
    if isinstance(said, (str, bytes)):
        return Score.failed(f"the scorer returned {type(said).__name__}, expected a number")
    try:
        score = Score.of(said)
        # A plain float, whatever kind of number the scorer works with.
        return score if score.value is None else Score(float(score.value), score.explanation, score.failure)
    except Exception as error:
        return Score.failed(_reason(error))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# -- building ----------------------------------------------------------------------------------------------------------


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
    allowed = [field.alias or key for key, field in found.model_fields.items()]
    try:
        return found.model_validate(options)
    except ValidationError as error:
        problems = []
        for one in error.errors():
            option = ".".join(map(str, one["loc"]))
            if one["type"] == "extra_forbidden":
                problems.append(_unknown_option(option, allowed))
            elif one["type"] == "missing":
                problems.append(f"the option '{option}' is missing.")
            else:
                problems.append(f"{f'{option}: ' if option else ''}{one['msg'].removeprefix('Value error, ')}.")
        raise RecipeError(_cannot_be_built(name, kind, problems, allowed)) from None


def _wrapped(name: str, kind: str, found: Callable[..., Any], options: dict[str, Any]) -> Scorer:
    """A plain function, or a class that has `score` without being a Scorer."""
    from rsft.scorers.function import FunctionScorer

    is_class = isinstance(found, type)
    if is_class and not callable(getattr(found, "score", None)):
        raise RecipeError(f"The scorer '{name}' ({kind}) is a class without a method 'score'.")
    parameters = list(inspect.signature(found).parameters.values())
    named = [
        p for p in (parameters if is_class else parameters[1:]) if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    allowed = [p.name for p in named]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    problems = [_unknown_option(option, allowed) for option in options if option not in allowed and not open_ended]
    problems += [f"the option '{p.name}' is missing." for p in named if p.default is p.empty and p.name not in options]
    if not is_class and not parameters:
        problems.append("the function must take the list of replies as its first argument.")
    if problems:
        raise RecipeError(_cannot_be_built(name, kind, problems, allowed))
    call: Callable[..., Any] = found
    if is_class:
        try:
            call = found(**options).score
        except Exception as error:
            raise RecipeError(_cannot_be_built(name, kind, [f"{_reason(error)}."], allowed)) from error
    return FunctionScorer.of(found, call, options, pass_options=not is_class)


def _unknown_option(option: str, allowed: Sequence[str]) -> str:
    return f"there is no option '{option}'.{nearest(option, allowed)}"


def _cannot_be_built(name: str, kind: str, problems: Sequence[str], allowed: Sequence[str]) -> str:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    options = f"Its options are {', '.join(allowed)}." if allowed else "It takes no options."
    return f"The scorer '{name}' ({kind}) can't be used:\n{lines}\n{options}"


# -- identity ----------------------------------------------------------------------------------------------------------


def _fingerprint(kind: Any, options: Any, version: int = 1) -> str:
    source = _file_hash(kind.__module__) if not kind.__module__.startswith("rsft.") else ""
    # A user's module is named after the file and its content; the content counts below, the folder never.
    module = kind.__module__ if not source else Path(_file_of(kind.__module__) or "").stem
    identity = [f"{module}.{kind.__qualname__}", options, version, source]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _file_of(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)


@cache
def _file_hash(module: str) -> str:
    """The sha256 of the file that a module came from. (The registry gives an edited file another module name.)"""
    file = _file_of(module)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def _first_line(described: Any) -> str:
    return (inspect.getdoc(described) or getattr(described, "__name__", "")).split("\n", 1)[0]
