"""A scorer that calls a beginning hopeless is right: no reply that begins so scores anything but 0."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rsft.registry import SCORERS, load
from rsft.scorers import Scorer, build_scorers
from rsft.types import Message, Prompt, Reply

TURNS = (Message("user", "Say something."),)
PROMPT = Prompt("p", TURNS, TURNS)
OBJECT = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 3},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 2},
        "more": {"$ref": "#/$defs/more"},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"more": {"enum": [True, None, "x"]}},
}
SPECS: list[dict[str, Any]] = [
    {"type": "one_line"},
    {"type": "length", "max_words": 3},
    {"type": "length", "max_chars": 9, "min_words": 1},
    {"type": "format", "one_line": True, "max_words": 4},
    {"type": "format", "pattern": "(?:yes|no)[.!]? ?(?P<why>[a-z ]{2,9})?"},
    {"type": "format", "pattern": r"\d{2,3}(?i:am|pm)|\s*a.*b\s*"},
    {"type": "format", "pattern": r"(?=.*b)a.*"},
    {"type": "forbidden", "phrases": ["as an AI", "```", "no idea", "我们"]},
    {"type": "forbidden", "phrases": ["AI"], "ignore_case": False},
    {"type": "json_schema", "schema": OBJECT},
    {"type": "json_schema", "schema": {"type": ["array", "number"], "prefixItems": [True, {"const": "b"}]}},
    {"type": "json_schema", "schema": {"anyOf": [{"type": "object"}, {"type": "string"}]}},
    {"type": "constraints", "constraints": {"words": {"most": 3}, "no_commas": True, "language": "en"}},
    {"type": "constraints", "constraints": {"no_commas": True}, "all_or_nothing": False},
    {"type": "constraints", "constraints": {"json_schema": OBJECT, "words": {"most": 5}}},
]
PIECES = [
    "a",
    "b",
    " ",
    "\n",
    "\r\n",
    "\u2028",
    "yes",
    "no",
    ".",
    "12",
    "am",
    "as an",
    " AI",
    "de",
    "```",
    "no idea",
    "é",
    "\u0301",
]
PIECES += [
    "我们",
    "\u200b",
    "½",
    "\x1c",
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "true",
    "1.5",
    '"name"',
    '"sizes"',
    '"more"',
    "\\u00e9",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 20) | st.sampled_from(["x", "b", "name", "long one"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "sizes", "more", "z"]), inner),
    max_leaves=6,
).map(lambda value: json.dumps(value, ensure_ascii=False))


def built(spec: dict[str, Any]) -> Scorer:
    return build_scorers({"s": spec})["s"]


def first_hopeless(scorer: Scorer, text: str) -> int | None:
    """After how many characters the scorer gives the reply up."""
    return next((n for n in range(len(text) + 1) if scorer.hopeless(Reply(PROMPT, text[:n]))), None)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS | JSONS)
@example(text="as an AI")
@example(text="as an AIde")
@example(text=" \n a \n ")
@example(text='{"name": "abcd", "name": "abc"}')
@example(text='{"sizes": [1, 12], "name": "a"}')
def test_what_is_hopeless_scores_nothing(spec: dict[str, Any], text: str) -> None:
    scorer = built(spec)
    if first_hopeless(scorer, text) is not None:
        assert scorer.score([Reply(PROMPT, text)])[0].value == 0.0, "no continuation may be anything but 0"


@pytest.mark.parametrize(
    ("spec", "text", "seen"),
    [
        ({"type": "one_line"}, "Yes.\nAnd more of it", "Yes.\nA"),
        ({"type": "length", "max_words": 3}, "one two three four five", "one two three f"),
        ({"type": "length", "max_chars": 4}, "one two", "one t"),
        ({"type": "format", "pattern": "Good.*"}, "Goof it is", "Goof"),
        ({"type": "format", "one_line": True}, "a\n\nb c", "a\n\nb"),
        ({"type": "forbidden", "phrases": ["as an AI"]}, "I, as an AI, can't say", "I, as an AI, "),
        ({"type": "json_schema", "schema": OBJECT}, "Sure! Here it is", "S"),
        ({"type": "json_schema", "schema": OBJECT}, '{"name": "abcd", "sizes": []}', '{"name": "abcd", "sizes": []'),
        ({"type": "json_schema", "schema": OBJECT}, '{"name": "a", "size": 3}', '{"name": "a", "size": 3'),
        ({"type": "json_schema", "schema": OBJECT}, '{"name" "a"}', '{"name" "'),
        ({"type": "constraints", "constraints": {"no_commas": True}}, "Well, no", "Well,"),
        ({"type": "constraints", "constraints": {"json_schema": OBJECT}}, "Sure! Here it is", "S"),
    ],
)
def test_hope_is_given_up_early(spec: dict[str, Any], text: str, seen: str) -> None:
    count = first_hopeless(built(spec), text)
    assert count is not None
    assert count <= len(seen)


def test_a_pattern_that_looks_around_is_never_given_up() -> None:
    for pattern in (r"(?=.*b)a.*", r"(a)\1", r"a\b.*", "^ab$", "(?>ab)c", "a++b", "(?:ab){e<=1}", r"(?R)?"):
        assert first_hopeless(built({"type": "format", "pattern": pattern}), "zzzz") is None, pattern


def test_every_scorer_that_can_tell_is_tested_here() -> None:
    tested = {spec["type"] for spec in SPECS}
    for kind in SCORERS:
        assert (load("scorer", kind).hopeless is not Scorer.hopeless) == (kind in tested), kind
