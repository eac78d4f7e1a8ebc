"""Words, sentences and one form for all texts, in scripts with spaces and without."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.text import grams, normalise, sentences, word_count, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "cafe"),
        ("ＡＢＣ　１２", "abc 12"),
        ("“naïve”", "“naive”"),
        ("它 很好", "它 很好"),
        ("ｶﾌｪ", "カフェ"),
        ("Straße", "STRASSE"),
        ("٤٢", "42"),
        ("soft\u00adhyphen", "softhyphen"),
    ],
)
def test_one_form_for_texts_that_say_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_marks_that_tell_words_apart_stay() -> None:
    assert normalise("が") != normalise("か")
    assert normalise("हिन्दी") != normalise("हन्द")


@pytest.mark.parametrize(
    ("text", "units", "count"),
    [
        ("Don't self-check 3.5%", ["don", "t", "self", "check", "3", "5"], 3),
        ("我们三点关门。", list("我们三点关门"), 6),
        ("カフェは9時です", [*"カフェは", "9", *"時です"], 8),
        ("我有2个apple", ["我", "有", "2", "个", "apple"], 5),
        ("", [], 0),
        ("… —", [], 0),
    ],
)
def test_words(text: str, units: list[str], count: int) -> None:
    assert words(normalise(text)) == units
    assert word_count(text) == count


@given(st.text(st.characters(codec="ascii"), max_size=30) | st.text(" a1-'\n\x1c", max_size=12))
def test_plain_text_is_counted_as_any_other(text: str) -> None:
    assert word_count(text) == word_count(f"{text} …"), "a mark that is no word, and not of ASCII"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("Dr. Who meets J. Smith at 4.30 pm. Fine.", ["Dr. Who meets J. Smith at 4.30 pm.", "Fine."]),
        ("Really?! Yes...", ["Really?!", "Yes..."]),
        ("1. First\n2. Second", ["1. First", "2. Second"]),
        ("我们九点开门。您几点来？好的！", ["我们九点开门。", "您几点来？", "好的！"]),
        ("「はい。」と言った。では。", ["「はい。」", "と言った。", "では。"]),
        ("営業は9時からです。お待ちしています", ["営業は9時からです。", "お待ちしています"]),
        ("no end", ["no end"]),
        ("", []),
        ("!!!", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_grams() -> None:
    assert grams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert grams(["a"], 2) == []
