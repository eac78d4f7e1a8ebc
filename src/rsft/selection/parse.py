"""From a recipe's `selection` to rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rsft import registry
from rsft.config.lines import line_of
from rsft.config.mistakes import mistakes
from rsft.errors import RecipeError, nearest
from rsft.selection.certified import Certified
from rsft.selection.rule import Rule
from rsft.selection.selection import Selection
from rsft.selection.threshold import COMPARISONS, Threshold

_GRAMMAR = (
    "A rule is a comparison such as 'facts >= 1', a name such as no_near_duplicates, "
    "or a name with its option, such as {top_k: {k: 3, by: relevance}} or {cap: 3}."
)


def parse_selection(said: Sequence[str | Mapping[str, Any]]) -> Selection:
    """The rules, in order. Raises RecipeError for what is no rule."""
    return Selection([_rule(one) for one in said])


def _rule(said: str | Mapping[str, Any]) -> Rule:
    if isinstance(said, str):
        if any(sign in said for sign in "<>="):
            return _threshold(said)
        return _built(said.strip(), {})
    if len(said) != 1:
        raise RecipeError(f"selection: {dict(said)!r} has {len(said)} keys, expected one. {_GRAMMAR}")
    ((name, options),) = said.items()
    return _built(str(name), options)


def _threshold(said: str) -> Threshold | Certified:
    line = line_of(said)
    try:
        if line is None:
            raise ValueError
        score, comparison, value = line
        if (comparison, value) == (">=", "certified"):
            return Certified(name=said.strip(), score=score)
        return Threshold(name=said.strip(), score=score, comparison=comparison, value=float(value))
    except ValueError:
        signs = ", ".join(COMPARISONS)
        raise RecipeError(
            f"selection: '{said}' is no comparison of a score ({signs}) with a number. {_GRAMMAR}"
        ) from None


def _built(name: str, options: Any) -> Rule:
    if name not in registry.RULES and ".py:" not in name:
        raise RecipeError(f"selection: there is no rule '{name}'.{nearest(name, registry.RULES)} {_GRAMMAR}")
    kind: type[Rule] = registry.load("rule", name)
    if not isinstance(options, Mapping):
        if kind.main_option is None:
            raise RecipeError(f"selection: the rule '{name}' has no main option; write its options as a mapping.")
        options = {kind.main_option: options}
    try:
        return kind.model_validate({"name": name.rpartition(":")[2], **options})
    except ValidationError as error:
        lines = " ".join(mistakes(error, kind, f"the rule '{name}'"))
        raise RecipeError(f"selection: the rule '{name}' can't be used: {lines}") from None
