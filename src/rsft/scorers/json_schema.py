"""Is a reply JSON, and of the right shape?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from pydantic import Field, field_validator
from pydantic_core import from_json

from rsft.scorers.base import Scorer
from rsft.types import Reply, Score

_TYPES_BY_FIRST = {"{": "object", "[": "array", '"': "string", "t": "boolean", "f": "boolean", "n": "null"}
_SHOWN = 120


class JsonSchema(Scorer):
    """1 if the whole reply is one JSON value that the schema allows (draft 2020-12), else 0.

    White space around the value doesn't matter; a fence of ``` does. NaN, infinities and an object with a key twice are
    refused.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"schema": {"type": "object", "required": ["action"]}}

    json_schema: dict[str, Any] | bool = Field(alias="schema", description="A JSON Schema.")

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, said: dict[str, Any] | bool) -> dict[str, Any] | bool:
        validator_of(said)
        return said

    @cached_property
    def _validator(self) -> Any:
        return validator_of(self.json_schema)

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply.text) for reply in replies]

    def _score(self, text: str) -> Score:
        problem = problem_of(text, self._validator)
        return Score(float(not problem), problem)

    def hopeless(self, beginning: Reply) -> str | None:
        return hopeless_as(beginning.text, self._validator)


def validator_of(schema: dict[str, Any] | bool) -> Any:
    """What validates values by the schema. Raises ValueError for what is no JSON Schema."""
    return _validator(json.dumps(schema, sort_keys=True))


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any:
    """A prompt's schema is asked of each of its candidates, and of each token of theirs."""
    from jsonschema import Draft202012Validator, SchemaError

    said = json.loads(schema)
    try:
        Draft202012Validator.check_schema(said)
    except SchemaError as error:
        raise ValueError(f"is no JSON Schema: {error.message[:_SHOWN]}") from None
    return Draft202012Validator(said)


def problem_of(text: str, validator: Any) -> str:
    """Why the text is not one JSON value that the schema allows; nothing if it is."""
    try:
        value = from_json(text, allow_inf_nan=False)
        json.loads(text, object_pairs_hook=with_each_key_once)
    except ValueError as error:
        return f"no JSON: {error}"
    return _first_problem(value, validator)


def hopeless_as(beginning: str, validator: Any) -> str | None:
    """Why no text that begins so is a JSON value that the schema allows, if that is certain."""
    text = beginning.lstrip()
    if text and not _may_begin(text[0], validator.schema):
        return f"begins with {text[0]!r}"
    try:
        value = from_json(text, allow_inf_nan=False, allow_partial=True)
    except ValueError as error:
        return None if "EOF while parsing" in str(error) else f"no JSON: {error}"
    return _misfit(value, validator)


def _first_problem(value: Any, validator: Any) -> str:
    return next((f"at {problem.json_path}: {problem.message[:_SHOWN]}" for problem in validator.iter_errors(value)), "")


def with_each_key_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: the object, or ValueError where a key comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _may_begin(first: str, schema: Any) -> bool:
    """Whether a value of the schema's type can begin so."""
    if not isinstance(schema, Mapping) or "type" not in schema:
        return True
    allowed = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    if first.isdigit() or first == "-":
        return bool(allowed & {"number", "integer"})
    return _TYPES_BY_FIRST.get(first) in allowed


def _misfit(value: Any, validator: Any) -> str | None:
    """What of an unfinished value the schema can't allow, whatever follows.

    In each container the last part may be unfinished, and it alone; it is looked into in the same way.
    """
    schema = validator.schema
    if not isinstance(schema, Mapping):
        return None
    if isinstance(value, dict):
        return _misfit_of_object(value, schema, validator)
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            return f"more than {schema['maxItems']} items"
        first = schema.get("prefixItems", [])
        parts = [first[i] if i < len(first) else schema.get("items", True) for i in range(len(value))]
        return _misfit_of_parts(list(zip(value, parts, strict=True)), validator)
    return None


def _misfit_of_object(value: dict[str, Any], schema: Mapping[str, Any], validator: Any) -> str | None:
    known = schema.get("properties", {})
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        for key in value:
            if key not in known:
                return f"the key {key!r} is not allowed"
    return _misfit_of_parts([(part, known.get(key, True)) for key, part in value.items()], validator)


def _misfit_of_parts(parts: Sequence[tuple[Any, Any]], validator: Any) -> str | None:
    for value, schema in parts[:-1]:
        if problem := _first_problem(value, validator.evolve(schema=schema)):
            return problem
    for value, schema in parts[-1:]:
        return _misfit(value, validator.evolve(schema=schema))
    return None
