"""states_facts: what counts as stated, what does not, and that no text takes long."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rsft.scorers import build_scorers, run_scorer
from rsft.types import Prompt, Reply, Score

SCORER = build_scorers({"facts": "states_facts"})["facts"]


def score(facts: Any, text: str, field: str = "facts") -> Score:
    scorer = build_scorers({"facts": {"type": "states_facts", "field": field}})["facts"]
    return run_scorer(scorer, [Reply(Prompt("p", (), (), {field: facts}), text)])[0]


def states(fact: Any, text: str, slot: str = "slot") -> bool:
    return score({slot: fact}, text).value == 1.0


STATED = [
    # words: case, punctuation, accents, width, quotes
    ("Café Zoë", "Try the cafe Zoe!"),
    ("Landmark's Opera", "at LANDMARK’S opera."),
    ("Oak & Sons", "Oak and Sons are open."),
    ("full-size", "a full size car"),
    ("Attia Kadri, M.D.", "Attia Kadri MD can see you."),
    ("Ann", "It is Ann's table."),
    ("Ｂｅｒｌｉｎ", "in Berlin"),
    ("STRASSE", "in der Straße"),
    ("C++", "We teach C++."),
    ("soft\u00adhyphen", "A softhyphen."),
    # numbers
    (4, "There are 4."),
    (4, "There are 4."),
    ("4", "a 4-star hotel"),
    ("4", "rated 4/5"),
    ("4", "four rooms"),
    ("4", "Four, in all."),
    ("24", "twenty-four rooms"),
    ("205", "two hundred and five seats"),
    ("12", "twelve of them"),
    ("1", "I found one."),
    ("1", "just one flight"),
    ("four", "4 rooms"),
    ("1299", "1,299 points"),
    ("1299", "1.299 Punkte"),
    ("1,299", "1299 points"),
    ("1299.5", "1.299,50"),
    (1299.5, "1,299.50"),
    ("1299.5", "1'299.50"),
    ("100000", "1,00,000"),
    ("4.50", "only 4.5"),
    (0.1, "it is 0.10"),
    ("4.5", "rated 4½"),
    ("3", "rooms 1,2,3"),
    ("-5", "It is −5 degrees."),
    ("-5", "minus 5 degrees"),
    ("2000000", "2 million"),
    ("500 ml", "a 500ml bottle"),
    ("50 m²", "50 m2"),
    ("٤", "There are 4."),
    ("15%", "a discount of 15 percent"),
    ("15", "a 15% discount"),
    # amounts
    ("$20", "It is $20.00."),
    ("$20.00", "It costs 20 dollars."),
    ("$1,299.50", "You pay 1299.50 dollars."),
    ("$1,299.50", "That is USD 1299.5."),
    ("20", "for $20"),
    ("1.299,50 €", "€1,299.50"),
    ("1.299,50 €", "1 299,50 EUR"),
    ("$4.5 million", "$4,500,000"),
    ("$2,000", "US$2k"),
    ("¥3000", "3,000円です"),
    # times
    ("4:30 pm", "at 4:30 PM."),
    ("4:30 pm", "at 4.30pm"),
    ("4:30 pm", "at 16:30"),
    ("16:30", "at 4:30 p.m."),
    ("7 pm", "at 7:00 pm"),
    ("7 pm", "at 19:00"),
    ("7 pm", "um 19 Uhr"),
    ("7 pm", "at 7 in the evening"),
    ("16:30", "um 16.30 Uhr"),
    ("16:30", "à 16h30"),
    ("4:30", "at 4:30 pm"),
    ("12 pm", "at noon"),
    ("midnight", "at 12:00 am"),
    ("12 am", "at 0:00"),
    # dates
    ("March 2nd", "on 2 March"),
    ("March 2nd", "on March 2."),
    ("March 2nd", "the 2nd of March"),
    ("March 2nd", "on Mar. 2 at 7"),
    ("March 2nd", "am 2. März"),
    ("March 2nd", "le 2 mars"),
    ("March 2nd", "2026-03-02"),
    ("2 March 2027", "March 2nd, 2027"),
    ("2027-03-02", "am 02.03.2027"),
    ("March 2nd", "3/2/2027"),
    ("Pier 17", "at Pier 17 March 2nd"),
    ("March 2nd", "at Pier 17 March 2nd"),
    # phone numbers
    ("415-824-1335", "(415) 824 1335"),
    ("415-824-1335", "+1 415.824.1335."),
    # Chinese and Japanese
    ("上海", "我们在上海有一家店。"),
    ("2", "为您预订了两位。"),
    ("12", "一共十二个。"),
    ("4", "有４张桌子"),
    ("下午4点半", "下午4:30见"),
    ("4:30 pm", "下午4点30分"),
    ("3月2日", "您的预订是3月2日。"),
    ("March 2nd", "2027年3月2日"),
    ("200元", "一共200.00元"),
    ("田中", "田中さんです。"),
    ("16:30", "午後4時30分にお待ちしています"),
    ("16:30", "16時30分に"),
    ("3", "三名様"),
    ("30,000円", "3万円です"),
    ("ｶﾌｪ", "そのカフェです"),
    ("서울", "서울에서 만나요"),
    ("हिन्दी", "यह हिन्दी है।"),
    # symbols alone
    ("★★★", "a ★★★ hotel"),
]


@pytest.mark.parametrize(("fact", "text"), STATED)
def test_stated(fact: Any, text: str) -> None:
    assert states(fact, text)


NOT_STATED = [
    ("Ann", "the Annual meeting"),
    ("Ann", "Joann"),
    ("art", "a party"),
    ("Oak Street", "Oak, or another Street"),
    ("C", "We teach C++."),
    ("A1", "a 1 bedroom flat"),
    ("12", "seat 12B"),
    ("Room 12", "Room 12B"),
    ("Room 1", "Room 12"),
    ("4", "14 rooms"),
    ("4", "40 rooms"),
    ("4", "at 4:30"),
    ("4", "at 4 pm"),
    ("4", "costs $4.50"),
    ("4", "costs 4,50 €"),
    ("4", "on March 4"),
    ("4", "on March 4th"),
    ("4", "on the 4th"),
    ("4", "4 March"),
    ("4", "twenty-four"),
    ("4", "fourteen"),
    ("4", "four hundred"),
    ("4", "4,000"),
    ("4", "4 million"),
    ("4", "A4 paper"),
    ("4", "-4 degrees"),
    ("-4", "4 degrees"),
    ("41", "4¹ and more"),
    ("1", "this one"),
    ("1", "one of them"),
    ("1", "one is at 6 am"),
    ("1", "a one-way ticket"),
    ("1", "no one"),
    ("7", "007"),
    ("1.5", "1.55"),
    ("100", "1,00,000"),
    ("$20", "20 people"),
    ("$20", "20 euros"),
    ("$20", "$20.50"),
    ("$20", "$20 million"),
    ("$20", "$20k"),
    ("$20", "$200"),
    ("100円", "100元"),
    ("4:30 pm", "4:30 am"),
    ("4:30 pm", "at 4:30"),
    ("4:30 pm", "14:30"),
    ("16:30", "at 4:30"),
    ("7 pm", "7 people"),
    ("04:30", "4:30 pm"),
    ("March 2nd", "March 22nd"),
    ("March 2nd", "May 2nd"),
    ("March 2nd", "March 3 or April 2"),
    ("2 March 2027", "March 2nd"),
    ("2 March 2027", "March 2nd, 2028"),
    ("415-824-1335", "415-824-1336"),
    ("415-824-1335", "415-824-13355"),
    ("上海", "我们在北京。"),
    ("4", "14张"),
    ("4", "4月2日"),
    ("4", "4時に"),
    ("2", "十二个"),
    ("2", "第二个"),
    ("4:30 pm", "上午4点半"),
    ("が", "か"),
    ("★★★", "a ★★ hotel"),
    ("word", ""),
]


@pytest.mark.parametrize(("fact", "text"), NOT_STATED)
def test_not_stated(fact: Any, text: str) -> None:
    assert not states(fact, text)


FLAGS = [
    (True, "pets_welcome", "Pets are welcome.", True),
    (True, "pets_welcome", "Sorry, pets are not allowed.", False),
    (True, "pets_welcome", "We have a pool.", False),
    (False, "pets_welcome", "Sorry, no pets.", True),
    (False, "pets_welcome", "You can bring pets.", False),
    ("True", "has_wifi", "It has Wi-Fi, but no pool.", True),
    ("False", "has_wifi", "It doesn't have wifi.", True),
    ("False", "has_wifi", "It does not have a pool. It has wifi.", False),
    ("None", "subtitle_language", "You want it without any subtitles.", True),
    ("None", "subtitle_language", "There aren't any subtitles.", True),
    ("None", "subtitle_language", "With English subtitles.", False),
    ("yes", "isUnisex", "The salon is unisex.", True),
    ("no", "parking", "There's no problem.", False),
    (False, "可带宠物", "很抱歉，不可以带宠物。", True),
    (True, "可带宠物", "可以携带宠物。", True),
    ("True", "song", "Shall I play True by Spandau Ballet?", True),
]


@pytest.mark.parametrize(("fact", "slot", "text", "expected"), FLAGS)
def test_yes_and_no(fact: Any, slot: str, text: str, expected: bool) -> None:
    assert states(fact, text, slot) is expected


def test_the_value_is_the_share_and_the_explanation_lists_what_is_missing() -> None:
    said = score({"city": "Oakland", "price": "$20", "seats": 4}, "In Oakland, for $21.")
    assert said.value == pytest.approx(1 / 3)
    assert said.explanation == "states 1 of 3; missing price: $20; seats: 4"


def test_facts_may_be_a_list_and_a_list_value_needs_every_item() -> None:
    assert score(["Oakland", "$20"], "In Oakland for $20").value == 1.0
    assert score({"actors": ["Ann Lee", "Bo Li"]}, "With Ann Lee and Bo Li.").value == 1.0
    assert score({"actors": ["Ann Lee", "Bo Li"]}, "With Ann Lee.").value == 0.0


@pytest.mark.parametrize("facts", [None, {}, [], {"a": None}, {"a": " "}, {"a": []}])
def test_nothing_to_state_is_a_failed_score(facts: Any) -> None:
    said = score(facts, "Hello.")
    assert said.value is None
    assert said.failure is not None
    assert "facts" in said.failure


@pytest.mark.parametrize("facts", [3, "text", {"a": {"b": 1}}])
def test_facts_of_a_strange_shape_fail_by_themselves(facts: Any) -> None:
    good, bad = Prompt("g", (), (), {"facts": {"a": "x"}}), Prompt("b", (), (), {"facts": facts})
    said = run_scorer(SCORER, [Reply(good, "x"), Reply(bad, "x"), Reply(good, "y")])
    assert [one.value for one in said] == [1.0, None, 0.0]
    assert (said[1].failure or "").startswith("TypeError: ")


def test_a_null_value_is_no_fact() -> None:
    # Tables fill the columns that a row does not have with nulls.
    assert score({"city": "Oakland", "price": None}, "Oakland").value == 1.0


def test_the_field_can_be_named() -> None:
    assert score({"a": "x"}, "x", field="must_say").value == 1.0


WORDS = st.lists(st.text("abcdefgé", min_size=2, max_size=6), min_size=1, max_size=4).map(" ".join)


@given(before=WORDS, fact=WORDS, after=WORDS)
def test_a_fact_is_found_wherever_it_stands(before: str, fact: str, after: str) -> None:
    assert states(fact, f"{before} {fact.upper()}, {after}.")


@given(number=st.integers(0, 10**7), other=st.integers(0, 10**7))
def test_a_number_is_stated_by_itself_alone(number: int, other: int) -> None:
    assert states(number, f"We have {number:,} of them")
    assert states(f"{number:,}", f"We have {number} of them")
    if number != other:
        assert not states(number, f"We have {other} of them")


@given(minute=st.integers(0, 24 * 60 - 1))
def test_clock_times_are_the_same_in_both_forms(minute: int) -> None:
    hour, past = divmod(minute, 60)
    twelve = f"{(hour - 1) % 12 + 1}:{past:02} {'am' if hour < 12 else 'pm'}"
    assert states(twelve, f"at {hour:02}:{past:02}, please")
    assert states(f"{hour:02}:{past:02}", f"at {twelve}, please")


@given(fact=st.text(max_size=30), text=st.text(max_size=60))
@example(fact="½", text="²①一二三 $-5.5:5 12:30:pm ~#@")
@example(fact="二十百", text="1,2.3'4")
def test_any_text_can_be_read(fact: str, text: str) -> None:
    score({"slot": fact, "flag": True}, text)
    if any(character.isalnum() for character in fact) and fact.isascii() and fact.strip().isalnum():
        assert states(fact, f"{fact}", slot="")


LONG = ["a ", "1", "1,", "111 ", "a.", ".", "-1 ", "我", "one hundred ", "12:", "$", "9a", "may ", "é", "①", "4 pm "]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("piece", LONG)
def test_a_reply_of_any_length_is_read_to_its_end(piece: str) -> None:
    """In time linear in its length: a step that is not would meet the limit above."""
    facts = {"long": "a a a a a a b", "number": "4", "name": "Pier 17", "phone": "415-824-1335", "flag": True}
    said = score(facts, piece * (200_000 // len(piece)) + " Pier 17")
    assert said.value is not None
    assert said.value > 0
