"""most_novel: replies of a prompt that differ from each other."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rsft.selection import Pool, parse_selection
from rsft.selection.shingles import shingles
from rsft.types import Candidate, CandidateKey

Row = tuple[str, str, str]
"""Prompt id, text, finish reason."""

ROWS = st.lists(
    st.tuples(st.sampled_from("pq"), st.text("ab 我", max_size=8), st.sampled_from(["stop", "stop", "length"])),
    max_size=14,
)


def pool(rows: list[Row]) -> Pool:
    return Pool.of(
        [
            Candidate(CandidateKey(1, prompt_id, place, "g"), text, (1,), reason, 0.0, 0.0)  # type: ignore[arg-type]
            for place, (prompt_id, text, reason) in enumerate(rows)
        ],
        {},
    )


def kept(of: Pool, k: int) -> set[CandidateKey]:
    decided = parse_selection([{"most_novel": k}]).decide(of)
    places = [place for place, said in enumerate(decided) if said.accepted]
    return {CandidateKey(1, of.prompt_ids[of.prompt_N[place]], int(of.sample_N[place]), "g") for place in places}


def texts(replies: list[str], k: int) -> list[str]:
    chosen = {key.sample_index for key in kept(pool([("p", text, "stop") for text in replies]), k)}
    return [text for place, text in enumerate(replies) if place in chosen]


def test_the_odd_one_out_comes_first() -> None:
    near = ["we open at nine today", "we open at nine tomorrow", "we open at nine"]
    assert texts([*near, "no idea at all"], 1) == ["no idea at all"]
    assert texts(["我们九点开门", "我们九点开门了", "抱歉我不知道"], 1) == ["抱歉我不知道"]
    assert texts(["九時に開きます", "九時に開きますよ", "わかりません"], 1) == ["わかりません"]


def test_then_what_is_furthest_from_the_nearest_that_is_kept() -> None:
    replies = ["a b c d e f", "a b c d e g", "x y z", "x y z w"]
    for k, groups in ((2, 2), (3, 2)):
        assert len({text[0] for text in texts(replies, k)}) == groups


def test_the_rule_says_how_many_it_keeps_and_never_asks_for_more() -> None:
    selection = parse_selection([{"most_novel": 3}])
    assert selection.most_of_a_prompt == 3
    assert not selection.ranks
    said = parse_selection([{"most_novel": 1}]).decide(pool([("p", "a", "stop"), ("p", "a", "stop")]))
    assert sorted(one.explanation for one in said) == ["", "is nearer to what was kept than the prompt's 1 most novel"]


@given(ROWS, st.integers(1, 4))
def test_as_many_of_each_prompt_as_there_are_and_at_most_k(rows: list[Row], k: int) -> None:
    chosen = kept(pool(rows), k)
    assert all(rows[key.sample_index][2] == "stop" for key in chosen)
    there = Counter(prompt_id for prompt_id, _, reason in rows if reason == "stop")
    assert Counter(key.prompt_id for key in chosen) == {prompt_id: min(k, n) for prompt_id, n in there.items()}


@given(ROWS, st.integers(1, 4))
def test_of_equal_replies_no_second_is_kept_while_another_is_left_out(rows: list[Row], k: int) -> None:
    chosen = {key.sample_index for key in kept(pool(rows), k)}
    for prompt in "pq":
        family = {n: shingles(text) for n, (p, text, reason) in enumerate(rows) if p == prompt and reason == "stop"}
        said = [own for place, own in family.items() if place in chosen]
        if len(set(said)) < len(said):
            assert all(own in said for own in family.values())
