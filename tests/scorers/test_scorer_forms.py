"""`length`, `one_line`, `format` and `forbidden`, in several scripts."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.errors import RecipeError
from rsft.scorers import build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply, Score

PROMPT = Prompt("p", (Message("user", "Hi"),), (Message("user", "Hi"),))


def score(spec: Any, text: str) -> Score:
    (said,) = run_scorer(build_scorers({"s": spec})["s"], [Reply(PROMPT, text)])
    return said


@pytest.mark.parametrize(
    ("options", "text", "passes"),
    [
        ({"max_words": 3}, "one two three", True),
        ({"max_words": 3}, "one two - three", True),
        ({"max_words": 3}, "one two three four", False),
        ({"min_words": 2}, "one", False),
        ({"max_words": 5}, "我们三点关", True),
        ({"max_words": 4}, "我们三点关", False),
        ({"max_words": 3}, "don't self-check 3.5%", True),
        ({"max_chars": 4}, "abcd", True),
        ({"max_chars": 4}, "abcde", False),
        ({"min_words": 1}, "…", False),
    ],
)
def test_length(options: dict[str, int], text: str, passes: bool) -> None:
    assert score({"type": "length", **options}, text).value == passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("one line", True),
        ("  one line\n", True),
        ("two\nlines", False),
        ("two\u2028lines", False),
        ("a\r\nb", False),
        ("", False),
        (" \n ", False),
        ("我们三点关门。", True),
    ],
)
def test_one_line(text: str, passes: bool) -> None:
    assert score("one_line", text).value == passes
    assert score({"type": "format", "one_line": True}, text).value == passes


def test_format_says_all_that_is_wrong() -> None:
    said = score({"type": "format", "one_line": True, "max_words": 2, "pattern": "[a-z ]+"}, "One, two,\nthree")
    assert said.value == 0
    assert said.explanation == "2 lines; 3 words, more than 2; does not match the pattern"


def test_a_pattern_matches_the_whole_reply() -> None:
    ticket = {"type": "format", "pattern": r"Ticket [A-Z]-\d{3}\."}
    assert score(ticket, " Ticket K-204.\n").value == 1
    assert score(ticket, "Your Ticket K-204.").value == 0


def test_a_pattern_that_takes_for_ever_is_a_failed_score() -> None:
    said = score({"type": "format", "pattern": "(?:a|aa)+(?:b|c)"}, "a" * 60)
    assert said.value is None
    assert "took more than" in str(said.failure)


@pytest.mark.parametrize(
    ("phrases", "text", "passes"),
    [
        (["as an AI"], "As an (AI), I can't.", False),
        (["as an AI"], "as an aide I can", True),
        (["sorry"], "SORRY!", False),
        (["sorry"], "sorrym", True),
        (["naïve"], "naive", False),
        (["ＡＩ"], "an AI model", False),
        (["抱歉"], "非常抱歉，我不能", False),
        (["抱歉"], "抱着歉意", True),
        (["```"], "```python", False),
        (["tell me that"], "You can tell me. That works.", False),
    ],
)
def test_forbidden(phrases: list[str], text: str, passes: bool) -> None:
    assert score({"type": "forbidden", "phrases": phrases}, text).value == passes


def test_forbidden_may_look_at_case() -> None:
    strict = {"type": "forbidden", "phrases": ["US"], "ignore_case": False}
    assert score(strict, "tell us").value == 1
    assert score(strict, "the US").value == 0


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ({"type": "length"}, "give at least one limit"),
        ({"type": "length", "min_words": 5, "max_words": 3}, "min_words (5) is more than max_words (3)"),
        ({"type": "format", "pattern": "("}, "no regular expression"),
        ({"type": "format"}, "give at least one of"),
        ({"type": "forbidden"}, "'phrases' is missing"),
        ({"type": "forbidden", "phrases": [" "]}, "phrases"),
        ({"type": "length", "max_word": 3}, "Did you mean 'max_words'"),
        ("lenght", "Did you mean 'length'"),
        ({"max_words": 3}, "needs a type"),
    ],
)
def test_mistakes_in_a_scorer_name_the_fix(spec: Any, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_scorers({"s": spec})
    assert hint in str(caught.value)
