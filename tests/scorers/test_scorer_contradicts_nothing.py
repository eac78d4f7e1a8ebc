"""contradicts_nothing: what is a detail, what supports one, and that no text takes long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.errors import RecipeError
from rsft.scorers import build_scorers, run_scorer
from rsft.scorers.details import details
from rsft.types import Message, Prompt, Reply, Score


def score(text: str, said: str = "", options: dict[str, Any] | None = None, **fields: Any) -> Score:
    turns = (Message("user", said),)
    # What the template adds is no part of what was given.
    prompt = Prompt("p", (Message("system", "Always say 99 and Zanzibar."), *turns), turns, fields)
    scorer = build_scorers({"s": {"type": "contradicts_nothing", **(options or {})}})["s"]
    return run_scorer(scorer, [Reply(prompt, text)])[0]


DETAILS: list[tuple[str, list[tuple[str, str]]]] = [
    ("I found 2 options.", [("numbers", "2")]),
    ("There are three left, and twenty-four sold.", [("numbers", "three"), ("numbers", "twenty-four")]),
    ("It costs $20, or 15 percent less.", [("amounts", "$20"), ("amounts", "15 percent")]),
    ("On March 2nd at 4:30 pm.", [("dates", "March 2nd"), ("dates", "4:30 pm")]),
    ("See you tomorrow.", [("dates", "tomorrow")]),
    ("It is on the 2nd floor.", [("numbers", "2nd")]),
    ("Your order AB-12 and seat 12B, flight BA2490.", [("codes", "AB-12"), ("codes", "12B"), ("codes", "BA2490")]),
    ("Write to ann@shop.example.", [("codes", "ann@shop.example")]),
    ("See https://shop.example/a?b=1.", [("codes", "https://shop.example/a?b=1")]),
    ("Call 415-824-1335.", [("codes", "415-824-1335")]),
    ("How about Blue Door in Oakland?", [("names", "Blue Door"), ("names", "Oakland")]),
    ("I'd ask Dr. Elizabeth A. Uno.", [("names", "Elizabeth A. Uno")]),
    ("It's “the wall”.", [("names", "the wall")]),
    ("我们有两间房，3月2日下午4点", [("numbers", "两"), ("dates", "3月2日"), ("dates", "下午4点")]),
    ("推荐《红楼梦》。", [("names", "红楼梦")]),
    ("「青い扉」の三名様、3,000円です。", [("names", "青い扉"), ("numbers", "三"), ("amounts", "3,000円")]),
    ("レストランへどうぞ", [("names", "レストラン")]),
    # What is none.
    ("This one is the first one, open 24/7.", []),
    ("Sure! I'll ask. OK, I can. Please wait: We look.", []),
    ("1. Open it.\n2) Close it.", []),
    ("PLEASE WAIT FOR IT", []),
    ("这是一个问题。", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), DETAILS)
def test_the_details_of_a_text(text: str, expected: list[tuple[str, str]]) -> None:
    found = [(detail.kind, detail.written) for detail in details(text)]
    assert sorted(found) == sorted(expected)


SUPPORTED = [
    ("It is $20.", "20 dollars"),
    ("It is 4250 dollars.", "rent 4250"),
    ("At 16:30.", "at 4:30 pm"),
    ("At 4:30 pm.", "around 4:30"),
    ("On 2 March.", "March 2nd"),
    ("On the 2nd.", "March 2nd"),
    ("For four people.", "a table for 4"),
    ("The order AB12 is here.", "where is ab-12?"),
    ("The order AB-12 is here.", "where is AB12?"),
    ("Call (415) 824 1335.", "415-824-1335"),
    ("See www.shop.example.", "www.shop.example/"),
    ("It's at Blue Door's bar, in Oakland.", "blue door, oakland"),
    ("A Standard Honda Accord.", "a honda accord, standard"),
    ("It's at Café Zoë.", "Cafe Zoe"),
    ("上午９点，两位", "9:00 am, 2"),
    ("３名様、『青い扉』", "青い扉で三名様"),
]


@pytest.mark.parametrize(("text", "given"), SUPPORTED)
def test_a_detail_holds_however_it_is_written(text: str, given: str) -> None:
    said = score(text, given)
    assert said.explanation != "states no detail"
    assert said.value == 1.0


INVENTED = [
    ("It is $20.", "it is €20"),
    ("It is $20.", "it is $200"),
    ("At 4:30 pm.", "at 4:30 am"),
    ("On March 2nd.", "March 3rd"),
    ("On March 2nd, 2027.", "March 2nd"),
    ("For 4 people.", "at 4:30 on March 4"),
    ("For 4 people.", "14"),
    ("The order AB-12 is here.", "AB-123"),
    ("Call 415-824-1335.", "415-824-1336"),
    ("It's in Oakland.", "in Oaklands"),
    ("It's at Blue Door.", "a blue house"),
    ("Zanzibar? I mean Zanzibar.", "where?"),
    ("上午9点", "下午9点"),
    ("「赤い扉」です", "青い扉"),
]


@pytest.mark.parametrize(("text", "given"), INVENTED)
def test_what_was_not_given_is_seen(text: str, given: str) -> None:
    assert score(text, given).value == 0.0


def test_the_value_is_the_share_and_the_explanation_lists_the_rest() -> None:
    said = score("At the Blue Door are 4 rooms. You pay $20, at 7 pm.", "7 pm, 4 rooms")
    assert said == Score(0.5, "2 of 4 details were given; not given: Blue Door; $20")


def test_each_detail_counts_once() -> None:
    assert score("We have 4, yes, 4, and 5.", "4").value == 0.5


def test_a_reply_without_details_is_right() -> None:
    assert score("Sure, when?") == Score(1.0, "states no detail")


def test_fields_count_as_given() -> None:
    assert score("For 4.", facts={"seats": 4}).value == 1.0
    assert score("For 4.", facts=["4", "5"]).value == 1.0
    assert score("I live in Oakland.", persona="i live in oakland").value == 1.0
    assert score("For 4.", notes="4").value == 0.0
    assert score("For 4.", notes="4", options={"with": ["notes"]}).value == 1.0
    assert score("For 4.", facts="4", notes="", options={"with": ["notes"]}).value == 0.0


def test_a_field_that_is_named_must_be_there() -> None:
    said = score("For 4.", "4", options={"with": ["fact"]})
    assert said.value is None
    assert "no field 'fact'" in str(said.failure)


def test_kinds_can_be_left_out() -> None:
    text, given = "4 in Oakland for $5, AB-12, at 7 pm", ""
    for kind, written in [("numbers", "4"), ("names", "Oakland"), ("amounts", "$5"), ("codes", "AB-12")]:
        said = score(text, given, {"details": [kind]})
        assert said.explanation == f"0 of 1 details were given; not given: {written}"
    with pytest.raises(RecipeError, match="details"):
        score(text, given, {"details": ["number"]})
    with pytest.raises(RecipeError, match="details"):
        score(text, given, {"details": []})


PIECES = ["we have", "Blue Door", "4", "12", "$20", "20 percent", "7 pm", "March 2nd", "AB-12", "12b", "2nd", "one"]
PIECES += ["Ann", "C#", "'wall'", "a@b.cc", "415-824-1335", "三名様", "カフェ", "《红楼梦》", "tomorrow", "Dr. Uno"]
PIECES += ["07", "4:30", "-5"]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join) | st.text("Ab 1,.-好", max_size=12))
def test_what_was_said_word_by_word_was_given(text: str) -> None:
    assert score(text, text).value == 1.0


LONG = ["a ", "1", "1,", "111 ", "-1 ", "我", "one hundred ", "$", "9a", "①", "4 pm ", " ", "\n", "Ann ", "A-1", "「"]
LONG += ["www.", "a@a.", "(1", '"', "Dr. ", "ア", "a.com/", ": A "]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("piece", LONG)
def test_a_reply_of_any_length_is_read_to_its_end(piece: str) -> None:
    """In time linear in its length: a step that is not would meet the limit above."""
    said = score(piece * (200_000 // len(piece)) + "\nor 77 then", "of 4")
    assert said.value is not None
    assert said.value < 1
