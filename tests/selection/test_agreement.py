"""agreement: the answers that a prompt's candidates share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.errors import RecipeError
from rsft.selection import Pool, parse_selection
from rsft.types import Candidate, CandidateKey, Decision, Score


def pool(replies: list[str], prompt_ids: str = "", values: list[float] | None = None) -> Pool:
    ids = prompt_ids or "p" * len(replies)
    candidates = [
        Candidate(CandidateKey(1, ids[place], place, "g"), text, (1,), "stop", 0.0, 0.0)
        for place, text in enumerate(replies)
    ]
    return Pool.of(candidates, {"s": [Score(value) for value in values or [1.0] * len(replies)]})


def decide(replies: list[str], prompt_ids: str = "", **options: Any) -> list[Decision]:
    return list(parse_selection([{"agreement": options}]).decide(pool(replies, prompt_ids)))


def kept(replies: list[str], prompt_ids: str = "", **options: Any) -> list[int]:
    return [place for place, said in enumerate(decide(replies, prompt_ids, **options)) if said.accepted]


@pytest.mark.parametrize(
    ("replies", "options", "places"),
    [
        (["Yes.", " yes", "no"], {}, [0, 1]),
        (["yes", "no"], {}, [0, 1]),
        (["yes", "no", "perhaps"], {}, []),
        (["yes", "no", "no"], {"least": 0.6}, [1, 2]),
        (["yes", "yes"], {"least": 1}, [0, 1]),
        (["So 6*7 = 42.", "It's 42", "I say 41"], {"answer": "last_number"}, [0, 1]),
        (["1,000", "1000.0 in all", "10"], {"answer": "last_number"}, [0, 1]),
        (["it is -5", "it is 5", "−5"], {"answer": "last_number"}, [0, 2]),
        (["答えは４２です", "一共42个", "四十"], {"answer": "last_number"}, [0, 1]),
        # Only those with an answer count.
        (["42", "no idea", "none", "nothing"], {"answer": "last_number"}, [0]),
        (["#### 7", "#### 8 #### 7.0", "#### 9"], {"answer": r"#### (\S+)"}, [0, 1]),
        (["[a] x", "[A] y", "[b]"], {"answer": r"\[(.)\]"}, [0, 1]),
        (["b", "ab"], {"answer": "(a)?b"}, [1]),
        (["上海。", "「上海」", "北京"], {}, [0, 1]),
        (["a", "a", "b", "b", "c"], {"least": 0.2}, [0, 1, 2, 3, 4]),
        (["a", "a", "b", "c"], {"least": 0.2, "majority": True}, [0, 1]),
        (["", "..", "a"], {}, [2]),
    ],
)
def test_who_agrees_stays(replies: list[str], options: dict[str, Any], places: list[int]) -> None:
    assert kept(replies, **options) == places


def test_each_prompt_by_itself() -> None:
    assert kept(["a", "a", "b", "a"], "ppqq", least=0.6) == [0, 1]


def test_those_a_rule_before_rejected_do_not_count() -> None:
    replies = ["a", "a", "a", "b"]
    decisions = parse_selection(["s >= 1", "agreement"]).decide(pool(replies, values=[0.0, 0.0, 1.0, 1.0]))
    assert [said.rule for said in decisions] == ["s >= 1", "s >= 1", "accepted", "accepted"]
    decisions = parse_selection(["s >= 1", {"agreement": 0.6}]).decide(pool(replies, values=[0.0, 0.0, 1.0, 1.0]))
    assert decisions[2].explanation == "1 of 2 agree on 'a'"


def test_the_explanation_says_how_many_agree() -> None:
    said = decide(["42"] * 2 + ["41"] * 5 + ["none", "7"], answer="last_number", majority=True)
    assert said[0] == Decision(False, "agreement", "2 of 8 agree on '42', and 5 on '41'")
    assert said[7] == Decision(False, "agreement", "has no answer")
    assert decide(["42"] * 2 + ["41"] * 6)[0].explanation == "2 of 8 agree on '42'"


def test_a_pattern_that_takes_for_ever_finds_no_answer() -> None:
    assert decide(["a" * 60], answer="(?:a|aa)+(b|c)")[0].explanation == "has no answer"


ANSWERS = st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from(["1", "1.0", "2", "x", ""])), max_size=12)


@given(ANSWERS, st.floats(0.1, 1), st.floats(0, 0.5))
def test_asking_for_more_agreement_never_keeps_more(rows: list[tuple[str, str]], least: float, step: float) -> None:
    replies, ids = [text for _, text in rows], "".join(p for p, _ in rows)
    assert set(kept(replies, ids, least=min(1.0, least + step))) <= set(kept(replies, ids, least=least))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"answer": "("}, "last_number or a regular"),
        ({"answer": "last"}, "has 0"),
        ({"least": 0}, "greater than 0"),
    ],
)
def test_mistakes_name_the_fix(options: dict[str, Any], hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_selection([{"agreement": options}])
    assert hint in str(caught.value)


def test_whoever_weighs_all_has_all_drawn() -> None:
    assert parse_selection(["agreement", {"cap": 3}]).ranks
    assert not parse_selection(["s >= 1", {"cap": 3}]).ranks
