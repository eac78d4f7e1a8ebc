"""novelty: the share of a stock phrase that is said, whatever stands around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsft.errors import RecipeError
from rsft.scorers import Scorer, build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "Hi"),)


def built(**options: Any) -> Scorer:
    return build_scorers({"s": {"type": "novelty", **options}})["s"]


def score(text: str, *phrases: str, **options: Any) -> Score:
    return run_scorer(built(phrases=list(phrases), **options), [Reply(Prompt("p", TURNS, TURNS), text)])[0]


@pytest.mark.parametrize(
    ("text", "phrases", "value"),
    [
        ("We open at nine.", ["as an AI model"], 1.0),
        ("As an (AI) model I can't.", ["as an AI model"], 0.0),
        ("word " * 500 + "as an AI model", ["as an AI model"], 0.0),
        ("I, as an AI, can't.", ["as an AI model"], 1 - 1 / 2),
        ("an AI as model", ["as an AI model"], 1.0),
        ("I'm sorry for that.", ["sorry"], 0.0),
        ("a b c", ["x y z", "a b c d e"], 1 - 1 / 3),
        # An n-gram that a phrase has twice counts once.
        ("a a a", ["a a a a b"], 1 - 1 / 2),
        ("作为一个人工智能，我不能", ["作为一个人工智能"], 0.0),
        ("作为一个人", ["作为一个人工智能"], 1 - 3 / 6),
        ("申し訳ありませんが", ["申し訳ありません"], 0.0),
        ("ＡＳ ＡＮ ＡＩ", ["as an ai"], 0.0),
    ],
)
def test_the_greatest_share_counts(text: str, phrases: list[str], value: float) -> None:
    assert score(text, *phrases).value == pytest.approx(value)


def test_the_explanation_names_the_nearest_phrase_and_the_first_of_equal_ones() -> None:
    assert score("a b c d", "a b c x", "y a b c", "a b z").explanation == "says 50% of 'a b c x'"
    assert score("d", "a b c").explanation == "says nothing of any stock phrase"
    assert score("a b c", "a b x", n=2).explanation == "says 50% of 'a b x'"


def test_a_reply_without_words_fails() -> None:
    assert score("!", "a").failure == "the reply has no words"


def test_phrases_of_a_file_are_read_and_their_content_is_what_counts(tmp_path: Path) -> None:
    file, other = tmp_path / "stock.txt", tmp_path / "other.txt"
    file.write_text("as an AI\n\n 抱歉 \r\n", encoding="utf-8")
    other.write_text("as an AI\n抱歉", encoding="utf-8-sig")
    scorer = built(file=str(file))
    assert [said.value for said in scorer.score([Reply(Prompt("p", TURNS, TURNS), "非常抱歉")])] == [0.0]
    assert scorer.fingerprint == built(file=str(other)).fingerprint, "a moved file says the same"
    file.write_text("as an AI\n抱歉\nsorry", encoding="utf-8")
    assert scorer.fingerprint != built(file=str(file)).fingerprint
    assert built(phrases=["a"], n=2).fingerprint != built(phrases=["a"], n=3).fingerprint
    assert built(phrases=["a"]).fingerprint != built(phrases=["b"]).fingerprint


def test_mistakes_name_the_fix(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for options, hint in [
        ({}, "give phrases, or a file"),
        ({"phrases": ["..."]}, "has no words"),
        ({"file": str(tmp_path / "absent.txt")}, "can't be read"),
        ({"file": str(tmp_path)}, "can't be read"),
        ({"file": str(tmp_path / "latin.txt")}, "as UTF-8"),
        ({"file": str(tmp_path / "empty.txt")}, "holds no phrase"),
        ({"phrases": ["a"], "n": 0}, "n: "),
    ]:
        with pytest.raises(RecipeError) as caught:
            built(**options)
        assert hint in str(caught.value)


@pytest.mark.timeout(120)
def test_many_phrases_and_long_replies() -> None:
    """10,000 phrases are not compared one by one: a scan of them for each of these replies would meet the limit."""
    phrases = [f"stock phrase number {i} of many that nobody wants" for i in range(10_000)]
    scorer = built(phrases=phrases)
    text = "word " * 2000 + "number 777 of many that nobody wants"
    said = scorer.score([Reply(Prompt("p", TURNS, TURNS), f"{text} {i}") for i in range(100)])
    assert [one.value for one in said if isinstance(one, Score)] == pytest.approx([1 - 5 / 7] * 100)
