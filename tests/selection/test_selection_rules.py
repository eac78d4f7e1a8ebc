"""Selection: pure, independent of order, monotone, and each decision with the rule that made it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.errors import RecipeError
from rsft.selection import Pool, parse_selection, random_selection
from rsft.types import Candidate, CandidateKey, Decision, Score

Row = tuple[str, str, str, float | None]
"""Prompt id, text, finish reason, score (None: failed)."""

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["p", "q", "r"]),
        st.text("ab c我", max_size=12),
        st.sampled_from(["stop", "stop", "stop", "length", "failed"]),
        st.one_of(st.none(), st.floats(-2, 2)),
    ),
    max_size=30,
)


def pool(rows: list[Row], order: Sequence[int] | None = None) -> Pool:
    """The rows as candidates, those with an even index scored by `t` as −s; in another order if one is given."""
    places = range(len(rows)) if order is None else order
    candidates = [
        Candidate(CandidateKey(1, rows[place][0], place, "g"), rows[place][1], (1,), rows[place][2], 0.0, 0.0)  # type: ignore[arg-type]
        for place in places
    ]
    values = [rows[place][3] for place in places]
    scores = [Score.failed("broken") if value is None else Score(value, "why") for value in values]
    others = [
        said if place % 2 or said.value is None else Score(-said.value)
        for place, said in zip(places, scores, strict=True)
    ]
    return Pool.of(candidates, {"s": scores, "t": others})


def decide(rules: list[object], rows: list[Row]) -> list[Decision]:
    return list(parse_selection(rules).decide(pool(rows)))  # type: ignore[arg-type]


def accepted(rules: list[object], rows: list[Row]) -> set[int]:
    """The places of what is accepted."""
    return {place for place, decision in enumerate(decide(rules, rows)) if decision.accepted}


@given(ROWS, st.floats(-2, 2), st.floats(0, 1))
def test_a_higher_threshold_never_accepts_more(rows: list[Row], low: float, step: float) -> None:
    assert accepted([f"s >= {low + step}"], rows) <= accepted([f"s >= {low}"], rows)


@given(ROWS)
def test_what_failed_or_was_cut_is_never_accepted(rows: list[Row]) -> None:
    for rules in (["s >= -99"], ["s < 99"], [{"top_k": {"k": 99, "by": "s"}}]):
        for (_, _, reason, value), decision in zip(rows, decide(rules, rows), strict=True):
            assert decision.accepted == (reason == "stop" and value is not None)


ALL_RULES = [["s > 0"], [{"cap": 2}], [{"top_k": {"k": 2, "by": "s"}}], ["no_duplicates"], ["no_near_duplicates"]]
ALL_RULES += [[{"no_near_duplicates": {"across_prompts": True}}], ["s > -1", "no_duplicates", {"cap": 1}]]
ALL_RULES += [["agreement"], [{"agreement": {"least": 0.1, "majority": True}}], [{"most_novel": 2}]]
ALL_RULES += [[{"quantile": {"share": 0.4, "by": "s", "per": per}}] for per in ("all", "prompt")]
ALL_RULES += [[{"statistical_rejection": {"temperature": 0.5, "by": "s", "per": per}}] for per in ("all", "prompt")]
ALL_RULES += [[{"agreement": {"answer": "last_number", "least": 0.3}}]]
ALL_RULES += [["s > -1", {"balance": 3}], ["length_matched"], [{"length_matched": {"bins": 2, "by": "s"}}]]
ALL_RULES += [[{"pareto": ["s", "t"]}], [{"best_of_n": {"n": 4, "by": "s"}}]]
BY_SCORE = [rules for rules in ALL_RULES if "'by'" in str(rules) or "pareto" in str(rules)]


@pytest.mark.parametrize("rules", ALL_RULES, ids=str)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_order_never_matters(rules: list[object], rows: list[Row], seed: int) -> None:
    """The decisions belong to the candidates, not to their places."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shuffled = parse_selection(rules).decide(pool(rows, order))  # type: ignore[arg-type]
    assert dict(zip(order, shuffled, strict=True)) == dict(enumerate(decide(rules, rows)))


@pytest.mark.parametrize("rules", BY_SCORE, ids=str)
@given(rows=ROWS)
def test_a_failed_score_is_never_kept_by_a_rule_that_reads_it(rules: list[object], rows: list[Row]) -> None:
    assert all(rows[place][3] is not None for place in accepted(rules, rows))


@pytest.mark.parametrize("rules", ALL_RULES, ids=str)
def test_nothing_one_and_all_alike(rules: list[object]) -> None:
    assert accepted(rules, []) == set()
    assert accepted(rules, [("p", "cut", "length", 1.0)] * 3) == set()
    assert accepted(rules, [("p", "number 1", "stop", 1.0)]) == {0}
    if rules in BY_SCORE:
        assert accepted(rules, [("p", "broken", "stop", None)] * 3) == set()


@pytest.mark.parametrize("rules", ALL_RULES, ids=str)
@given(rows=ROWS)
def test_the_reasons_count_up_to_the_candidates(rules: list[object], rows: list[Row]) -> None:
    decided = parse_selection(rules).decide(pool(rows))  # type: ignore[arg-type]
    assert decided.reasons() == {**dict.fromkeys(decided.reasons(), 0), **Counter(one.rule for one in decided)}
    assert sum(decided.reasons().values()) == len(rows) == len(decided)
    assert [decided[place] for place in range(len(rows))] == list(decided)


@pytest.mark.parametrize("rules", ALL_RULES, ids=str)
@given(rows=ROWS)
def test_every_candidate_gets_one_decision_with_a_known_rule(rules: list[object], rows: list[Row]) -> None:
    selection = parse_selection(rules)  # type: ignore[arg-type]
    decisions = selection.decide(pool(rows))
    known = {"accepted", "finished", *(rule.name for rule in selection.rules)}
    assert len(decisions) == len(rows)
    assert {decision.rule for decision in decisions} <= known
    assert all(decision.accepted == (decision.rule == "accepted") for decision in decisions)


@given(ROWS, st.integers(1, 4))
def test_cap_and_top_k_keep_exactly_as_many_as_there_are(rows: list[Row], k: int) -> None:
    finished = Counter(prompt_id for prompt_id, _, reason, value in rows if reason == "stop" and value is not None)
    for rule in ({"top_k": {"k": k, "by": "s"}}, {"cap": k}):
        got = Counter(rows[place][0] for place in accepted(["s > -99", rule], rows))
        assert got == {prompt_id: min(k, count) for prompt_id, count in finished.items()}


@given(ROWS, st.integers(1, 4))
def test_top_k_keeps_none_that_is_worse_than_one_it_rejects(rows: list[Row], k: int) -> None:
    kept = accepted([{"top_k": {"k": k, "by": "s"}}], rows)
    for place in kept:
        for other in set(range(len(rows))) - kept:
            prompt_id, _, reason, value = rows[other]
            if prompt_id == rows[place][0] and reason == "stop" and value is not None:
                assert not (rows[place][3] or 0.0) < value


def test_reasons_name_the_rule_and_the_score() -> None:
    rows: list[Row] = [
        ("p", "good", "stop", 1.0),
        ("p", "GOOD ", "stop", 1.0),
        ("p", "bad", "stop", 0.5),
        ("p", "cut", "length", 1.0),
        ("p", "broken", "stop", None),
    ]
    decisions = decide(["s >= 1", "no_duplicates"], rows)
    assert sorted(d.rule for d in decisions[:2]) == ["accepted", "no_duplicates"]
    assert decisions[2:] == [
        Decision(False, "s >= 1", "s = 0.5: why"),
        Decision(False, "finished", "cut by the length limit"),
        Decision(False, "s >= 1", "score failed: broken"),
    ]


@given(ROWS)
def test_siblings_are_the_candidates_of_the_same_prompt(rows: list[Row]) -> None:
    of = pool(rows)
    for place, (prompt_id, *_) in enumerate(rows):
        assert sorted(of.siblings(place)) == [n for n, (other, *_) in enumerate(rows) if other == prompt_id]


def test_balance_says_of_which_prompts_there_are_enough() -> None:
    rows: list[Row] = [("p", f"{n}", "stop", float(n < 1)) for n in range(4)]
    rows += [("q", f"{n}", "stop", 1.0) for n in range(4)]
    said = decide(["s >= 1", {"balance": 4}], rows)
    assert [one.accepted for one in said].count(True) == 2
    reasons = {one.explanation for one in said if one.rule == "balance"}
    assert reasons == {"there are enough of prompts of which 75 to 100% of the replies were left"}


def test_near_duplicates() -> None:
    base = "your parcel leaves our house on monday and reaches you by wednesday at the latest"
    rows: list[Row] = [
        ("p", base, "stop", 1.0),
        ("p", base + "!", "stop", 1.0),
        ("p", base.replace("monday", "friday"), "stop", 1.0),
        ("q", base, "stop", 1.0),
        ("p", "我们今天下午三点关门，请您提前到店里来取货", "stop", 1.0),
        ("p", "我们今天下午三点关门。请您提前到店里来取货", "stop", 1.0),
    ]
    assert len(accepted(["no_near_duplicates"], rows)) == 4, "'!' and '。' make no new reply; another day does"
    assert len(accepted([{"no_near_duplicates": 0.4}], rows)) == 3
    assert len(accepted([{"no_near_duplicates": {"across_prompts": True}}], rows)) == 3


@given(ROWS)
def test_of_equal_replies_exactly_one_stays(rows: list[Row]) -> None:
    finished = {(p, " ".join(text.split()).casefold()) for p, text, reason, _ in rows if reason == "stop"}
    assert len(accepted(["no_duplicates"], rows)) == len(finished)


@given(ROWS, st.integers(0, 3), st.integers(0, 5))
def test_the_control_chooses_as_many_and_looks_at_no_score(rows: list[Row], count: int, seed: int) -> None:
    counts = dict.fromkeys(["p", "q"], count)
    decisions = list(random_selection(counts, seed).decide(pool(rows)))
    chosen = Counter(p for (p, *_), decision in zip(rows, decisions, strict=True) if decision.accepted)
    finished = Counter(p for p, _, reason, _ in rows if reason == "stop")
    assert chosen == +Counter({p: min(counts.get(p, 0), finished[p]) for p in finished})
    blind: list[Row] = [(p, text, reason, 0.0) for p, text, reason, _ in rows]
    assert list(random_selection(counts, seed).decide(pool(blind))) == decisions


def test_the_control_is_uniform() -> None:
    rows: list[Row] = [("p", str(i), "stop", 1.0) for i in range(4)]
    of = pool(rows)
    chosen = Counter(
        place
        for seed in range(2000)
        for place, d in enumerate(random_selection({"p": 1}, seed).decide(of))
        if d.accepted
    )
    expected = 500.0
    chi_square = sum((chosen[place] - expected) ** 2 / expected for place in range(4))
    assert chi_square < 16.3, "p = 0.001 at three degrees of freedom"


def test_heldout_replies_are_measured_by_the_rules_that_judge_one_alone() -> None:
    rows: list[Row] = [("p", "same", "stop", 1.0), ("p", "same", "stop", 1.0), ("p", "other", "stop", 0.0)]
    decisions = parse_selection(["s >= 1", "no_duplicates", {"cap": 1}]).judge(pool(rows))
    assert [decision.rule for decision in decisions] == ["accepted", "accepted", "s >= 1"]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (["s >= high"], "no comparison"),
        (["s => 1"], "no comparison"),
        (["no_duplicate"], "Did you mean 'no_duplicates'"),
        ([{"cap": 0}], "greater than or equal to 1"),
        ([{"cap": {"kk": 1}}], "Did you mean 'k'"),
        ([{"top_k": 3}], "'by' is missing"),
        ([{"cap": 1, "top_k": 2}], "expected one"),
        ([{"no_duplicates": 3}], "no main option"),
        (["s >= nan"], "no comparison"),
    ],
)
def test_mistakes_name_the_fix(said: list[object], hint: str) -> None:
    with pytest.raises(RecipeError, match="selection:") as caught:
        parse_selection(said)  # type: ignore[arg-type]
    assert hint in str(caught.value)


def test_a_rule_that_reads_a_score_nobody_gives() -> None:
    with pytest.raises(RecipeError, match=r"fact >= 1.*Did you mean 'facts'"):
        parse_selection(["fact >= 1"]).check(["facts", "tidy"])
