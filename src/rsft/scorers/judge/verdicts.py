"""What a judge answered: a JSON object to the letter of the schema, or none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rsft.scorers.json_schema import with_each_key_once

_FENCE = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.S | re.I)
_SHOWN = 100

TEXT: Mapping[str, Any] = {"type": "string"}


class Unread(ValueError):
    """An answer that is none. Says why."""


def one_of(values: Sequence[Any]) -> dict[str, Any]:
    """A schema of some whole numbers, or some texts."""
    return {"type": "integer" if isinstance(values[0], int) else "string", "enum": list(values)}


def an_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of an object with all these keys, in this order, and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def read(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an answer is, as a whole or in one fence. Raises Unread for anything else: text around it, a key
    too many, twice or too few, NaN, a number that is not whole, a bool or a text in its place."""
    fenced = _FENCE.fullmatch(text)
    try:
        said = json.loads(
            fenced[1] if fenced else text, object_pairs_hook=with_each_key_once, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise Unread(f"the judge's answer is not JSON ({error}): {_shown(text)}") from None
    for problem in _validator()(schema).iter_errors(said):
        raise Unread(f"the judge's answer has another form, at {problem.json_path}: {problem.message[:_SHOWN]}")
    assert isinstance(said, dict)
    return said


@cache
def _validator() -> Any:
    """JSON Schema, but for 7.0, which counts as a whole number there."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    kinds = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return extend(Draft202012Validator, type_checker=kinds)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
