"""What a file's columns hold, and which of them are a conversation and the fields that scorers read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rsft.prompts.rows import BadRow, Row
from rsft.prompts.text import parsed_json

Holds = Literal["turns", "text", "texts", "mapping", "number", "other"]

CONVERSATION_IDS = (
    "conversation_id", "dialogue_id", "dialog_id", "conv_id", "chat_id", "session_id", "thread_id", "ticket_id",
)  # fmt: skip
"""Columns that say which rows are of one conversation."""

CONVERSATIONS = (
    "dialogue", "dialog", "conversation", "chat", "turns", "history", "thread", "question", "query", "problem", "input",
    "user", "utterance", "request", "task", "text", "context",
)  # fmt: skip
"""Names under which conversations are found that the loader doesn't know, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field that scorers or templates read: what it may hold, how a row says it, and how others call it."""

    holds: tuple[Holds, ...]
    example: str
    also: tuple[str, ...] = ()


FIELDS: Mapping[str, Field] = {
    "reference": Field(
        ("text",),
        '"reference": "a reply that a person wrote"',
        ("response", "reply", "completion", "output", "assistant", "answer", "solution", "code", "target", "chosen"),
    ),
    "facts": Field(
        ("mapping", "texts"),
        '"facts": {"delivery day": "Tuesday"}',
        ("slots", "slot_values", "knowledge", "known", "attributes", "info"),
    ),
    "policy": Field(
        ("text", "texts", "mapping"),
        '"policy": "No refunds after 30 days."',
        ("policies", "guidelines", "rules"),
    ),
    "persona": Field(
        ("text", "texts", "mapping"),
        '"persona": {"name": "Mira", "lives in": "a lighthouse"}',
        ("personas", "character", "profile", "personality", "bio", "character_description"),
    ),
    "constraints": Field(
        ("mapping",),
        '"constraints": {"words": {"most": 60}, "no_commas": true}',
        ("requirements", "limits", "asked"),
    ),
    "schema": Field(
        ("mapping",),
        '"schema": {"type": "object", "required": ["action"]}',
        ("json_schema", "output_schema", "response_schema", "parameters"),
    ),
    "answer": Field(
        ("text", "number", "texts"),
        '"answer": "42"',
        ("final_answer", "expected_answer", "expected", "solution", "target", "gold", "result", "label"),
    ),
    "tests": Field(
        ("text", "texts"),
        '"tests": ["assert add(1, 2) == 3"]',
        ("test_list", "test", "unit_tests", "test_cases", "asserts"),
    ),
    "setup": Field(
        ("text", "texts"),
        '"setup": ["import math"]',
        ("test_setup_code", "test_imports", "test_setup"),
    ),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: in how many rows it is filled, and what it holds there.

    `folded` is whether all that it holds is JSON written as text, as in a CSV file; `holds` tells of what that says.
    """

    name: str
    filled: int
    holds: frozenset[Holds]
    folded: bool

    def is_one_of(self, kinds: Iterable[Holds]) -> bool:
        return bool(self.holds) and self.holds <= set(kinds)

    @property
    def is_turns(self) -> bool:
        return self.holds == {"turns"}


def columns_of(rows: Sequence[Row]) -> dict[str, Column]:
    """All columns of the rows by their names, in the order in which they come."""
    names = dict.fromkeys(name for row in rows for name in row.columns)
    return {name: _column(name, [row.columns.get(name) for row in rows]) for name in names}


def _column(name: str, values: list[Any]) -> Column:
    said = [value for value in values if not is_blank(value)]
    open_values = [unfolded(value) for value in said]
    folded = bool(said) and all(
        isinstance(value, str) and not isinstance(inner, str) for value, inner in zip(said, open_values, strict=True)
    )
    seen = open_values if folded else said
    return Column(name, len(said), frozenset(map(holds, seen)), folded)


def is_blank(value: Any) -> bool:
    """Whether a cell says nothing."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {}, ())


def unfolded(value: Any) -> Any:
    """What a text of JSON says, if that is a list or an object; else the value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parsed_json(value)
    except BadRow:
        return value


def holds(value: Any) -> Holds:
    """What kind of thing a filled cell holds."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "other"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, list | tuple):
        if all(_is_turn(one) for one in value):
            return "turns"
        if all(isinstance(one, str) for one in value):
            return "texts"
    return "other"


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and any({who, what} <= value.keys() for who, what in _TURNS)


_TURNS = (("role", "content"), ("from", "value"))
