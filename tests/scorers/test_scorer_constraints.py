"""`constraints`: each of them, kept and broken, and where they come from."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.errors import RecipeError
from rsft.scorers import build_scorers, run_scorer
from rsft.scorers.languages import LANGUAGES, identifier, language_of
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "When do you open?"),)
AT_NINE = "We open at nine in the morning."


def score(text: str, row: Any = None, **options: Any) -> Score:
    prompt = Prompt("p", TURNS, TURNS, {} if row is None else {"constraints": row})
    return run_scorer(build_scorers({"s": {"type": "constraints", **options}})["s"], [Reply(prompt, text)])[0]


@pytest.mark.parametrize(
    ("asked", "kept", "broken"),
    [
        ({"words": {"least": 2, "most": 3}}, ["one two", "一二三"], ["one", "一二三四"]),
        ({"words": 2}, ["one two"], ["one", "one two three"]),
        ({"sentences": {"most": 2}}, ["One. Two.", "一。二。"], ["One. Two. Three.", "一。二。三。"]),
        ({"paragraphs": 2}, ["a\n\nb", "a\r\n \r\nb", "a\n\n\n\nb\n", "a\n***\nb"], ["a\nb", "a", "a\n\nb\n\nc"]),
        (
            {"bullets": {"least": 2}},
            ["- a\n- b", "* a\n  * b", "・一\n・二"],
            ["- a", "a - b - c", "-a\n-b", "---\n---"],
        ),
        ({"placeholders": 1}, ["Dear [name],"], ["Dear name", "[]", "[a] [b]"]),
        ({"highlights": {"least": 2}}, ["*a* and **b c**"], ["*a*", "* a\n* b", "2 * 3 * 4"]),
        ({"keywords": ["open", "nine"]}, ["Open: (NINE)"], ["opened at nine", "open"]),
        ({"keywords": ["九点"]}, ["早上九点开门"], ["九时点"]),
        ({"keyword_counts": {"a b": 2}}, ["a b a b", "A, B. a b"], ["a b", "a b a b a b"]),
        ({"keyword_counts": {"go": {"least": 3}}}, ["go go go"], ["go go gone"]),
        ({"keyword_counts": {"哈": 3}}, ["哈哈哈"], ["哈哈"]),
        ({"forbidden": ["sorry"]}, ["No."], ["Sorry!"]),
        ({"forbidden": ["抱歉"]}, ["没有"], ["非常抱歉"]),
        ({"starts_with": "Well, no"}, ["  well, no: closed", "Well, no"], ["Oh well, no", "Well, nobody"]),
        ({"starts_with": "您好"}, ["您好，欢迎"], ["欢迎，您好"]),
        ({"ends_with": "Any questions?"}, ["So. any questions?\n"], ["Any questions? No."]),
        ({"ends_with": "ask"}, ["Do ask"], ["A task", "Do ask."]),
        ({"case": "upper"}, ["WE OPEN AT 9.", "九点 OK"], ["WE OPEN at 9."]),
        ({"case": "lower"}, ["we open at 9."], ["We open"]),
        ({"case": "title"}, ["We Open At 9 “Am”"], ["We open"]),
        ({"no_commas": True}, ["a; b"], ["a, b", "一，二", "一、二"]),
        ({"quoted": True}, ['"Yes."', " “Yes.”\n", "「はい」", "«Oui»"], ["Yes", '"Yes', '"', '""']),
        ({"title": True}, ["<<Opening hours>>\nNine.", "<<时间>>"], ["<< >>", "<Hours>", "<<a\nb>>"]),
        (
            {"valid_json": True},
            ['{"a": 1}', '```json\n{"a": 1}\n```', "[" * 5 + "]" * 5],
            ["{'a': 1}", "NaN", "[" * 9999],
        ),
        (
            {"json_schema": {"type": "object", "required": ["tool"], "properties": {"tool": {"const": "timer"}}}},
            ['{"tool": "timer"}', ' {"tool": "timer", "minutes": 5}\n'],
            [
                "{}",
                '{"tool": "alarm"}',
                '"timer"',
                '```json\n{"tool": "timer"}\n```',
                '{"tool": "timer", "tool": "timer"}',
            ],
        ),
        ({"repeats_prompt": True}, ["When do you open? At nine."], ["At nine.", "When do you open"]),
        ({"language": "en"}, [AT_NINE], ["Wir öffnen um neun Uhr morgens.", "我们早上九点开门", "朝九時に開きます"]),
        ({"language": "ja"}, ["九時に開く"], [AT_NINE, "我们早上九点开门"]),
        ({"language": "zh"}, ["我们早上九点开门"], ["九時に開く", "아홉 시"]),
        ({"language": "ko"}, ["네"], ["はい"]),
    ],
    ids=str,
)
def test_each_constraint(asked: dict[str, Any], kept: list[str], broken: list[str]) -> None:
    for text in kept:
        assert score(text, constraints=asked).value == 1, text
        assert score(text, asked).value == 1, "the same from the prompt's field"
    for text in broken:
        said = score(text, constraints=asked)
        assert said.value == 0, text
        assert said.explanation.startswith(f"{next(iter(asked))}: ")


def test_the_share_and_all_or_nothing() -> None:
    asked = {"words": {"most": 2}, "no_commas": True, "sentences": 1, "keywords": ["nine"]}
    assert score("Yes, at nine.", constraints=asked).value == 0
    said = score("Yes, at nine.", constraints=asked, all_or_nothing=False)
    assert said == Score(0.5, "words: 3 words, more than 2; no_commas: has a comma")
    assert score("nine", constraints=asked) == Score(1.0, "keeps all 4")


def test_each_row_may_ask_for_something_else() -> None:
    options = {"constraints": {"words": {"most": 3}, "no_commas": True}}
    assert score("one two three four", {"words": 4}, **options).value == 1, "a row has the last word"
    assert score("one, two", {"words": 2}, **options).value == 0, "what it doesn't speak of stays"
    assert score("one, two", {"no_commas": False}, **options).value == 1
    assert score("one two three four", {"words": None, "title": None}, **options).value == 0, "null says nothing"
    assert score("one two", {"no_commas": True}, field="asked").failure is not None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "nothing is asked"),
        ({}, "nothing is asked"),
        ({"words": None, "quoted": False, "keywords": []}, "nothing is asked"),
        ({"word": 3}, "Did you mean 'words'?"),
        ({"words": {"lest": 3}}, "Did you mean 'least'?"),
        ({"words": {"least": 3, "most": 2}}, "least (3) is more than most (2)"),
        ({"words": True}, "needs a number"),
        ({"words": -1}, "words.least"),
        ({"case": "shouting"}, "case"),
        ({"language": "english"}, "is no language that can be told"),
        ({"keywords": [" "]}, "keywords"),
        ({"json_schema": {"type": "objekt"}}, "is no JSON Schema"),
        ({"json_schema": {}}, "nothing is asked"),
        (["words"], "must be a mapping, found list"),
    ],
)
def test_a_row_that_asks_for_nothing_or_nonsense_is_a_failed_score(row: Any, reason: str) -> None:
    assert reason in str(score("Yes.", row).failure)


@pytest.mark.parametrize(
    ("constraints", "hint"),
    [({"word": 3}, "Did you mean 'words'?"), ({"words": {}}, "give least, most"), ({"language": "xx"}, "ISO 639-1")],
)
def test_mistakes_in_the_options_name_the_fix(constraints: dict[str, Any], hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_scorers({"s": {"type": "constraints", "constraints": constraints}})
    assert hint in str(caught.value)


def test_an_empty_reply_keeps_nothing() -> None:
    assert score(" \n", constraints={"no_commas": True}) == Score(0.0, "empty")


def test_a_language_that_cannot_be_told_is_a_failed_score_unless_something_is_broken() -> None:
    asked = {"language": "en", "no_commas": True}
    assert "can't be told" in str(score("OK", constraints=asked).failure)
    assert score("OK, OK", constraints=asked).value == 0
    assert score("OK, OK", constraints=asked, all_or_nothing=False).value is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("We open at nine in the morning.", "en"),
        ("Nous ouvrons à neuf heures.", "fr"),
        ("Wir öffnen um neun Uhr.", "de"),
        ("Abrimos a las nueve de la mañana.", "es"),
        ("Мы открываемся в девять.", "ru"),
        ("Ми відчиняємося о дев'ятій.", "uk"),
        ("हम सुबह नौ बजे खुलते हैं।", "hi"),
        ("نفتح في الساعة التاسعة صباحا", "ar"),
        ("你好", "zh"),
        ("早上九点到下午五点 (iPhone 15)", "zh"),
        ("はい", "ja"),
        ("東京駅の近く", "ja"),
        ("กรุงเทพ", "th"),
        ("Ναι", "el"),
        ("OK", None),
        ("Hi there", None),
        ("東京都", None),
        ("9:30", None),
        ("", None),
        ("\ud83d", None),
    ],
)
def test_languages(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_only_languages_that_are_there_can_be_asked_for() -> None:
    fresh = type(identifier()).from_model_file("data/model.npz.xz")
    assert set(fresh.labels) >= LANGUAGES


@pytest.mark.parametrize(
    "piece", ["a", "<<", "[", "*a", "*", "\n", " \n", "- a\n", "a, ", "一。", '"', "<<a", "\n***", "<< "]
)
@pytest.mark.timeout(60)
def test_long_replies_end(piece: str) -> None:
    asked = {"paragraphs": 9, "bullets": 9, "placeholders": 9, "highlights": 9, "title": True, "valid_json": True}
    asked |= {"keywords": ["a b"], "sentences": 9, "words": 9, "starts_with": "z", "case": "title", "language": "en"}
    assert score("z" + piece * (200_000 // len(piece)), constraints=asked).value == 0
