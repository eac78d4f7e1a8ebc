"""`answer`: which part of a reply is its answer, and what is equal to the right one."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.errors import RecipeError
from rsft.scorers import build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "What is it?"),)
LAST = {"where": "last_number"}


def score(text: str, right: Any = None, **options: Any) -> Score:
    fields = {} if right is None else {"answer": right}
    reply = Reply(Prompt("p", TURNS, TURNS, fields), text)
    (said,) = run_scorer(build_scorers({"s": {"type": "answer", **options}})["s"], [reply])
    return said


@pytest.mark.parametrize(
    ("text", "right", "options", "value"),
    [
        ("Paris", "paris", {}, 1),
        (" **Paris**.\n", "Paris", {}, 1),
        ("“Zürich”", "zurich", {}, 1),
        ("In Paris", "Paris", {}, 0),
        ("Lyon", ["Paris", "Lyon"], {}, 1),
        ("(B)", "B", {}, 1),
        ("-5", "5", {}, 0),
        ("(0, 1]", "[0, 1)", {}, 0),
        ("paris", "Paris", {"compare": "exact"}, 0),
        (" Paris\n", "Paris", {"compare": "exact"}, 1),
        ("東京。", "東京", {}, 1),
        ("大阪", "東京", {}, 0),
        ("“北京”", ["北京", "京"], {}, 1),
        ("$1,299.50", 1299.5, {"compare": "number"}, 1),
        ("1.299,50 €", "1,299.50", {"compare": "number"}, 1),
        ("It is 72 apples.", 72, {"compare": "number"}, 1),
        ("7 or 72", 72, {"compare": "number"}, 0),
        ("3 + 4 = 7", 7, LAST, 1),
        ("so x=-5.", -5, LAST, 1),
        ("so x=-5.", 5, LAST, 0),
        ("10-5", 5, LAST, 1),
        (r"\boxed{-5}", "-5", LAST, 1),
        ("1.5e3 kg", 1500, LAST, 1),
        ("3.0", 3, LAST, 1),
        ("-0", 0, LAST, 1),
        ("1,299", 1299, LAST, 1),
        ("7 molecules of H2O", 7, LAST, 1),
        ("#### 72", "72", LAST, 1),
        ("共３２元，答案是７２。", 72, LAST, 1),
        ("答えは72です", "72", LAST, 1),
        ("答えは−7です", -7, LAST, 1),
        ("The answer is no. No, the answer is yes!", "yes", {"pattern": r"answer is (\w+)"}, 1),
        ("The answer is no. No, the answer is yes!", "no", {"pattern": r"answer is (\w+)"}, 0),
        ("答案：甲。答案：乙。", "乙", {"pattern": "答案：(.)"}, 1),
    ],
)
def test_right_and_wrong(text: str, right: Any, options: dict[str, Any], value: int) -> None:
    said = score(text, right, **options)
    assert said.value == value
    assert said.explanation


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("No idea", {"pattern": r"answer is (\w+)"}),
        ("No idea", LAST),
        ("9" * 2000, LAST),
        ("...", {}),
        ("3 + 4", {"compare": "number"}),
    ],
)
def test_a_reply_without_an_answer_scores_nothing(text: str, options: dict[str, Any]) -> None:
    assert score(text, "7", **options) == Score(0.0, "no answer")


@pytest.mark.parametrize(
    ("right", "options", "reason"),
    [
        (None, {}, "'answer' is missing"),
        ([], {}, "is empty"),
        ("  ", {}, "holds no answer"),
        ("many", LAST, "holds no number"),
        ({"a": 1}, {}, "found dict"),
    ],
)
def test_a_prompt_without_the_right_answer_is_a_failed_score(right: Any, options: dict[str, Any], reason: str) -> None:
    assert reason in str(score("7", right, **options).failure)


def test_the_right_answer_may_be_an_option() -> None:
    assert score("Yes.", expected=["yes", "yeah"]).value == 1
    assert score("Yes.", "no", expected="yes").value == 1, "it comes before the prompt's field"
    assert score("It is 4.", expected=4, where="last_number").value == 1


def test_what_is_wrong_is_shown_beside_what_is_right() -> None:
    assert score("Lyon.", ["Paris", "Paname"]).explanation == "answers 'Lyon.', not 'Paris'"


def test_a_pattern_that_takes_for_ever_is_a_failed_score() -> None:
    said = score("a" * 60, "b", pattern="((?:a|aa)+)(?:b|c)")
    assert "took more than" in str(said.failure)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "a"}, "exactly one group"),
        ({"pattern": "(a)(b)"}, "has 2"),
        ({"pattern": "(a)", "where": "last_number"}, "either a pattern or"),
        ({"where": "last_number", "compare": "exact"}, "compared as a number"),
        ({"where": "first"}, "where"),
        ({"expected": True}, "in quotes"),
        ({"expected": "x", "compare": "number"}, "holds no number"),
        ({"expected": []}, "is empty"),
    ],
)
def test_mistakes_name_the_fix(options: dict[str, Any], hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_scorers({"s": {"type": "answer", **options}})
    assert hint in str(caught.value)


@pytest.mark.parametrize("piece", ["a", "1", "1,", "-", "(", " ", "是1", "\n"])
@pytest.mark.timeout(60)
def test_long_replies_end(piece: str) -> None:
    for options in ({}, LAST, {"compare": "number"}, {"pattern": "(x)"}):
        assert score(piece * (200_000 // len(piece)), "7", **options).value == 0
