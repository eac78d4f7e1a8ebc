"""One score from several: what it comes to, what it keeps of its parts, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.errors import RecipeError, ScoringError
from rsft.scorers import (
    Combined,
    build_scorers,
    measure,
    score_all,
    to_standardise,
    with_standards,
    without_standards,
)
from rsft.scorers.expression import Expression
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "Hi"),)
PROMPT = Prompt("p", TURNS, TURNS)
PARTS = {
    "short": {"type": "length", "max_words": 3},
    "tidy": "one_line",
    "calm": {"type": "forbidden", "phrases": ["!"]},
}


def combined(spec: dict[str, Any], text: str) -> Score:
    scorers = build_scorers({"whole": {"type": "combined", **spec}, **PARTS})
    return score_all(scorers, [Reply(PROMPT, text)])["whole"][0]


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        ({"sum": {"short": 0.5, "calm": 0.25}}, "Hello", 0.75),
        ({"sum": {"short": 0.5, "calm": 0.25}}, "Hello!", 0.5),
        ({"product": ["short", "calm"]}, "Hello!", 0.0),
        ({"minimum": ["short", "calm"]}, "Hello", 1.0),
        ({"expression": "2 * short + calm if tidy >= 1 else -1"}, "Hello", 3.0),
        ({"expression": "2 * short + calm if tidy >= 1 else -1"}, "Hello\nyou", -1.0),
        ({"sum": {"short": 1}, "gates": ["calm >= 1"]}, "Hello!", 0.0),
        ({"sum": {"short": 1}, "gates": ["calm >= 1"], "closed": -5}, "Hello!", -5.0),
        ({"sum": {"short": 1}, "gates": ["calm >= 1", "tidy == 1 or short > 0"]}, "Hello", 1.0),
    ],
)
def test_what_it_comes_to(spec: dict[str, Any], text: str, value: float) -> None:
    said = combined(spec, text)
    assert said.value == pytest.approx(value)
    assert all(name in said.explanation for name in ("short",)), "the parts are kept"


def test_the_explanation_keeps_every_part() -> None:
    assert combined({"sum": {"short": 1, "calm": 1}}, "Hello!").explanation == "short 1, calm 0"
    assert (
        combined({"sum": {"short": 1}, "gates": ["calm >= 1"]}, "Hello!").explanation
        == "not calm >= 1; short 1, calm 0"
    )


def test_a_failed_part_is_a_failed_whole_with_its_reason() -> None:
    scorers = build_scorers(
        {"facts": "states_facts", "whole": {"type": "combined", "sum": {"facts": 1, "tidy": 1}}, **PARTS}
    )
    (said,) = score_all(scorers, [Reply(PROMPT, "Hello")])["whole"]
    assert said.value is None
    assert str(said.failure).startswith("facts: the prompt's field 'facts' is missing")


@pytest.mark.parametrize("expression", ["1 / (short - 1)", "log(calm - 1)", "exp(999 * short)", "(-2 * short) ** 0.5"])
def test_what_comes_to_nothing_is_a_failed_score(expression: str) -> None:
    said = combined({"expression": expression}, "Hello")
    assert said.value is None
    assert said.failure


def test_combined_scorers_combine_further_whatever_their_order() -> None:
    specs = {
        "all": {"type": "combined", "minimum": ["some", "tidy"]},
        "some": {"type": "combined", "sum": {"short": 1, "calm": 1}},
        **PARTS,
    }
    said = score_all(build_scorers(specs), [Reply(PROMPT, "Hello!")])
    assert said["some"][0].value == said["all"][0].value == 1.0


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ({}, "exactly one of"),
        ({"sum": {"short": 1}, "product": ["calm"]}, "exactly one of"),
        ({"sum": {"shrot": 1}}, "Did you mean 'short'"),
        ({"expression": "short.value"}, "'short.value' in"),
        ({"expression": "__import__('os')"}, "is not allowed"),
        ({"expression": "[short]"}, "is not allowed"),
        ({"expression": "short ** 'a'"}, "is not allowed"),
        ({"expression": "short +"}, "is no expression"),
        ({"expression": "1 + 1"}, "names no score"),
        ({"expression": "min(short)"}, "min takes two or more values"),
        ({"expression": "short + sqrt(short, calm)"}, "sqrt takes one value"),
        ({"expression": "abs()"}, "abs takes one value"),
        ({"expression": "short" + " + short" * 200}, "nested too deeply"),
        ({"expression": "(" * 3000 + "short" + ")" * 3000}, "characters at most"),
        ({"sum": {"short": 1}, "gates": ["calm"]}, "no comparison"),
        ({"sum": {"whole": 1}}, "in a circle"),
    ],
)
def test_mistakes_name_the_fix(spec: dict[str, Any], hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        combined(spec, "Hello")
    assert hint in str(caught.value)


def test_another_part_is_another_whole() -> None:
    one, other, same = (
        build_scorers({"whole": {"type": "combined", "sum": {"short": 1}}, "short": {"type": "length", "max_words": n}})
        for n in (3, 4, 3)
    )
    assert one["whole"].fingerprint != other["whole"].fingerprint
    assert one["whole"].fingerprint == same["whole"].fingerprint


NUMBERS = st.floats(-100, 100)


@given(a=NUMBERS, b=NUMBERS, c=NUMBERS)
def test_an_expression_comes_to_what_python_says(a: float, b: float, c: float) -> None:
    for text in (
        "a + b * c - 2",
        "min(a, b, c) if a < b <= c else max(a, -b)",
        "abs(a) + (not b > 0)",
        "a > 0 and b > 0 or c > 0",
    ):
        assert Expression.of(text).value({"a": a, "b": b, "c": c}) == pytest.approx(float(eval(text)))


STANDARDISED = {"whole": {"type": "combined", "sum": {"short": 1, "calm": 2}, "standardise": True}, **PARTS}


def test_standardised_parts_are_in_units_of_their_spread() -> None:
    scorers = build_scorers(STANDARDISED)
    assert to_standardise(scorers) == ["short", "calm"]
    assert set(without_standards(scorers)) == set(PARTS)
    (unknown,) = score_all(scorers, [Reply(PROMPT, "Hello")])["whole"]
    assert "spread is not known" in str(unknown.failure)
    ready = with_standards(scorers, {"short": (0.5, 0.25), "calm": (0.0, 2.0)})
    (said,) = score_all(ready, [Reply(PROMPT, "Hello")])["whole"]
    assert said.value == pytest.approx((1 - 0.5) / 0.25 + 2 * (1 - 0) / 2)
    assert ready["whole"].fingerprint != scorers["whole"].fingerprint


def test_a_spread_is_measured_on_scores_that_differ() -> None:
    columns = [{"a": Score(float(n % 4)), "b": Score(1.0), "c": Score.failed("no")} for n in range(40)]
    ((mean, spread),) = measure(["a"], columns).values()
    assert (mean, spread) == (pytest.approx(1.5), pytest.approx(1.1323, abs=1e-3))
    for name, hint in (("b", "1 of these differ"), ("c", "0 have one")):
        with pytest.raises(ScoringError, match=hint):
            measure([name], columns)


def test_a_standardised_score_is_not_standardised_again() -> None:
    with pytest.raises(RecipeError, match="standardised already"):
        build_scorers({**STANDARDISED, "again": {"type": "combined", "sum": {"whole": 1}, "standardise": True}})
    scorers = build_scorers({**STANDARDISED, "half": {"type": "combined", "sum": {"whole": 0.5}}})
    assert isinstance(scorers["half"], Combined)
    assert set(without_standards(scorers)) == set(PARTS)


def test_a_gate_that_comes_to_nothing_is_a_failed_score() -> None:
    said = combined({"sum": {"short": 1}, "gates": ["1 / (short - short) > 0"]}, "Hello")
    assert "division by zero" in str(said.failure)
