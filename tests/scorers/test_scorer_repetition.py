"""repetition against its formula."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.scorers import build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply, Score


def score(text: str, *turns: str, user: str = "", **options: Any) -> Score:
    said = (*(Message("assistant", turn) for turn in turns), Message("user", user))
    scorer = build_scorers({"s": {"type": "repetition", **options}})["s"]
    return run_scorer(scorer, [Reply(Prompt("p", said, said), text)])[0]


@pytest.mark.parametrize(
    ("text", "turns", "options", "value"),
    [
        ("a b c d", (), {}, 1.0),
        ("a b c d", ("e f g h",), {}, 1.0),
        ("a b c d", ("A, b - c; d!",), {}, 0.0),
        ("a b c d e f", ("x a b c d y",), {}, 1 - 2 / 4),
        # Each turn by itself: two that say a half each don't make a whole.
        ("a b c d e f", ("a b c d", "d e f"), {}, 1 - 2 / 4),
        ("a b c d e f", ("d e f", "a b c d"), {}, 1 - 2 / 4),
        # A word in another place is new.
        ("c b a", ("a b c",), {}, 1.0),
        ("c b a", ("a b c",), {"n": 1}, 0.0),
        # Fewer than n words are one n-gram.
        ("a b", ("x a b y",), {}, 0.0),
        ("a b", ("a x b",), {}, 1.0),
        # Within: abc, bca, cab, then abc again.
        ("a b c a b c", (), {}, 1 - 1 / 4),
        ("a b c a b c", (), {"within": False}, 1.0),
        ("a a a a a", (), {"n": 1}, 1 - 4 / 5),
        # Both: bca is the turn's, the second abc its own.
        ("a b c a b c", ("b c a",), {}, 1 - 2 / 4),
        # Scripts without spaces.
        ("今天下午三点", ("明天下午三点",), {}, 1 - 3 / 4),
        ("今天。", ("今天",), {}, 0.0),
        ("はいはいはい", (), {"n": 2}, 1 - 3 / 5),
        ("ありがとう", ("ありがとうございます",), {}, 0.0),
    ],
)
def test_the_share_of_new_runs_of_words(text: str, turns: tuple[str, ...], options: Any, value: float) -> None:
    assert score(text, *turns, **options).value == pytest.approx(value)


def test_what_the_user_said_may_be_said_again() -> None:
    assert score("a b c d", user="a b c d").value == 1.0


@pytest.mark.parametrize("text", ["", " \n", "…!"])
def test_a_reply_without_words_fails(text: str) -> None:
    assert score(text, "a b c").failure == "the reply has no words"


def test_the_explanation_names_the_turn() -> None:
    assert score("a b c d", "x", "a b c").explanation == "says the assistant's turn 2 again in 1 of 2 runs of 3 words"
    assert score("a b c d").explanation == "says nothing again"
    assert score("a a", n=1).explanation == "says itself again in 1 of 2 words"
    said = score("a b a c", "c", n=1)
    assert said.explanation == "says the assistant's turn 1 and itself again in 2 of 4 words"
