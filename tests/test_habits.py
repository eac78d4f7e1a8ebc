"""Phrases that replies to many prompts share, and which of them grow."""

from __future__ import annotations

import pytest

from rsft.habits import grown, shared_phrases


def said(*replies: str, given: str = "Question {}?") -> list[tuple[str, str]]:
    """A reply to each of so many prompts."""
    return [(given.format(number), reply) for number, reply in enumerate(replies)]


def test_a_phrase_is_counted_once_a_prompt_and_by_prompts() -> None:
    replies = said("What a wonderful cat!", "WHAT A  wonderful day.", "“What a wonderful soup”, he said.", "No.")
    replies += [("Question 0?", "What a wonderful house!"), ("Question 0?", "What a wonderful tree!")]
    assert shared_phrases(replies) == {"what a wonderful": 0.75}


def test_what_the_prompt_says_is_no_habit_of_its_replies() -> None:
    same = ["The delivery day is Tuesday."] * 4
    assert "the delivery day" in shared_phrases(said(*same))
    assert shared_phrases(said(*same, given="{}: say that THE delivery day is Tuesday.")) == {}


@pytest.mark.parametrize(
    "replies",
    [
        ["Sure. Do come by.", "Sure. Do call us.", "Sure. Do not wait."],
        ["It is 5 pm.", "It is 6 pm.", "It is 7 pm."],
        ["You and I"] * 2,
        [],
        ["", "…", "!"],
    ],
    ids=["over the end of a sentence", "with a number", "of too few prompts", "none", "no words"],
)
def test_what_is_no_shared_phrase(replies: list[str]) -> None:
    assert shared_phrases(said(*replies)) == {}


def test_scripts_without_spaces_have_phrases_too() -> None:
    assert "真是太好了"[:3] in shared_phrases(said("真是太好了!", "真是太好了。你呢?", "真是太好了吧?"))


def test_the_commonest_come_first_and_no_more_than_say_something() -> None:
    replies = said(*["What kind of cat?"] * 8, *["Tell me more, please."] * 4, *["I do not know."] * 88)
    shares = shared_phrases(replies)
    assert next(iter(shares)) in ("do not know", "i do not", "i do not know")
    assert shares["what kind of"] == 0.08
    assert "tell me more" not in shares, "fewer than one in twenty"


def test_a_habit_has_grown_to_twice_and_by_much() -> None:
    first = {"what a wonderful": 0.1, "what kind of": 0.5, "you tell me": 0.1}
    middle = {"what a wonderful": 0.6, "what kind of": 0.7, "how about you": 0.1}
    last = {
        "what a wonderful": 0.7,
        "a wonderful day": 0.6,
        "what kind of": 0.8,
        "how about you": 0.3,
        "you tell me": 0.2,
    }
    assert grown([first, middle, last]) == {"what a wonderful": [0.1, 0.6, 0.7], "how about you": [0.0, 0.1, 0.3]}
    assert grown([last]) == grown([]) == {}
    assert grown([last, first]) == {}, "what shrinks is no habit"
    many = {f"{letter} {letter} {letter}": 0.5 for letter in "abcdef"}
    assert len(grown([{}, many])) == 3
