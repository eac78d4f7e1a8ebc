"""`readability`: formulas by hand, and texts that they say nothing of."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.errors import RecipeError
from rsft.scorers import build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "Say something."),)
TEXT = "The cat sat. A dog ran to the old station building."  # 11 words, 39 letters, 2 sentences; 2 words are long


def score(text: str, **options: Any) -> Score:
    scorer = build_scorers({"s": {"type": "readability", **options}})["s"]
    return run_scorer(scorer, [Reply(Prompt("p", TURNS, TURNS), text)])[0]


def test_the_formulas() -> None:
    assert score(TEXT).value == pytest.approx(4.71 * 39 / 11 + 0.5 * 11 / 2 - 21.43)
    assert score(TEXT, measure="lix").value == pytest.approx(11 / 2 + 100 * 2 / 11)
    assert score(TEXT, measure="sentence_length").value == 11 / 2
    assert score(TEXT).explanation == "5.5 words a sentence, 3.55 characters a word"
    assert score(TEXT, measure="lix").explanation == "5.5 words a sentence, 2 of 11 words are long"


@pytest.mark.parametrize("measure", ["ari", "lix"])
def test_hard_text_is_above_easy_text(measure: str) -> None:
    easy = "We open at nine. Come in. Ask for Ann."
    hard = (
        "Notwithstanding aforementioned considerations, administrative procedures necessitate extraordinary diligence."
    )
    schwer = "Die Öffnungszeiten unserer Geschäftsstelle unterliegen jahreszeitlichen Veränderungen."
    assert (score(easy, measure=measure).value or 0) < (score(hard, measure=measure).value or 0)
    assert (score(easy, measure=measure).value or 0) < (score(schwer, measure=measure).value or 0)


def test_sentences_of_chinese_and_japanese_are_counted_in_characters() -> None:
    assert score("我们九点开门。请来。", measure="sentence_length").value == (6 + 2) / 2
    assert score("九時に開きます。", measure="sentence_length").value == 7


@pytest.mark.parametrize(
    "text", ["我们早上九点开门。", "朝九時に開きます。", "아침 아홉 시에 엽니다.", "We open 早上九点."]
)
@pytest.mark.parametrize("measure", ["ari", "lix"])
def test_what_has_no_words_as_latin_has_them_is_failed(text: str, measure: str) -> None:
    said = score(text, measure=measure)
    assert said.value is None
    assert "use measure: sentence_length" in str(said.failure)


def test_a_quoted_character_does_no_harm() -> None:
    assert score("The sign reads 开 and hangs above the door of the shop.").value is not None


@pytest.mark.parametrize("text", ["", " \n", "...", "🙂"])
@pytest.mark.parametrize("measure", ["ari", "lix", "sentence_length"])
def test_a_reply_without_words_is_failed(text: str, measure: str) -> None:
    assert score(text, measure=measure) == Score.failed("the reply has no words")


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(RecipeError, match="measure"):
        score("Hi", measure="flesch")
