"""What every budget keeps to: pure, replayable, bounded, and it comes to an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsft.budget import Budget, Past, Tally, build_budget, lists_of_prompts, rest
from rsft.budget.past import features
from rsft.config.recipe import BudgetSection, Recipe, SamplingSection
from rsft.errors import RecipeError
from rsft.selection import parse_selection
from rsft.types import Message, Prompt

IDS = [f"p{number:02}" for number in range(30)]
PROMPTS = [Prompt(p, (Message("user", "Why?" * (1 + i)),), (), {"level": i % 5}) for i, p in enumerate(IDS)]
CAPPED = parse_selection(["s >= 1", {"cap": 3}])
SAYINGS: dict[str, Any] = {
    "fixed": {"allocate": "even", "stop_at_accepted": None},
    "stop": {"allocate": "even"},
    "defer": {"allocate": "even", "defer_after": 3},
    "defer, capped": {"allocate": "even", "defer_after": 3, "max_candidates": 150},
    "worth": {"allocate": "worth"},
    "worth, no cap": {"allocate": "worth", "stop_at_accepted": None},
    "worth, capped": {"allocate": "worth", "max_candidates": 100},
    "worth, tokens": {"allocate": "worth", "max_tokens": 1500},
    "uniform": {"allocate": "uniform"},
    "harder": {"allocate": "harder", "most": 16},
    "variance": {"allocate": "variance", "max_tokens": 3000},
}
OUTCOMES = st.lists(st.lists(st.booleans(), min_size=40, max_size=40), min_size=len(IDS), max_size=len(IDS))
SAMPLING = SamplingSection(candidates=8, max_tokens=30)


def budget(name: str) -> Budget:
    return build_budget(BudgetSection(**SAYINGS[name]), SAMPLING, CAPPED, PROMPTS)


def spend(
    budget: Budget, outcome: Callable[[str, int], bool], begun: Mapping[str, Tally] | None = None
) -> list[dict[str, Tally]]:
    """The tallies after each round, from what was `begun` before an interruption on."""
    tallies = dict(begun) if begun else {p: Tally() for p in IDS}
    history = []
    while (granted := budget.next_round(tallies)) is not None:
        after = dict(tallies)
        for p, limit in granted.limits.items():
            assert limit > tallies[p].candidates, "a round gives everybody in it something"
            assert limit <= budget.most(p)
            while after[p].candidates < limit and not granted.ended(p, after[p]):
                n = after[p].candidates
                after[p] = after[p].after(outcome(p, n), 7 + n % 3)
        assert after != tallies, "every round gets on"
        tallies = after
        history.append(after)
        assert len(history) < 200
    return history


def by_rates(seed: int) -> Callable[[str, int], bool]:
    generator = np.random.default_rng(seed)
    rates, uniforms = generator.beta(0.5, 0.8, len(IDS)), generator.random((len(IDS), 64))
    return lambda p, n: bool(uniforms[IDS.index(p), n] < rates[IDS.index(p)])


@pytest.mark.parametrize("name", SAYINGS)
@settings(max_examples=15, deadline=None)
@given(outcomes=OUTCOMES, cut=st.integers(0, 20))
def test_an_interrupted_budget_decides_the_same(name: str, outcomes: list[list[bool]], cut: int) -> None:
    def outcome(p: str, n: int) -> bool:
        return outcomes[IDS.index(p)][n]

    whole = spend(budget(name), outcome)
    cut %= len(whole)
    assert spend(budget(name), outcome, whole[cut]) == whole[cut + 1 :]
    assert spend(budget(name), outcome) == whole


@pytest.mark.parametrize("name", SAYINGS)
def test_nobody_gets_more_than_is_allowed(name: str) -> None:
    said = BudgetSection(**SAYINGS[name])
    for seed in range(5):
        last = spend(budget(name), by_rates(seed))[-1]
        spent = sum(t.candidates for t in last.values())
        assert spent <= (said.max_candidates or 10**9)
        assert sum(t.tokens for t in last.values()) <= (said.max_tokens or 10**9)
        assert said.max_tokens or spent <= len(IDS) * (16 if name.startswith("worth") else 8)
        if name not in ("fixed", "worth, no cap"):
            assert all(t.accepted <= 3 for t in last.values()), "3 are enough, and nothing is drawn beyond"


def test_fixed_is_fixed() -> None:
    (only,) = spend(budget("fixed"), by_rates(0))
    assert {t.candidates for t in only.values()} == {8}


def test_who_is_deferred_comes_back_after_the_others_with_what_is_left() -> None:
    rounds = spend(budget("defer"), lambda p, n: p > "p10" or n == 7)
    assert all(rounds[0][p] == Tally.of([False] * 3, [7, 8, 9]) for p in IDS[:11])
    assert all(rounds[0][p].accepted == 3 for p in IDS[11:])
    last = {(t.candidates, t.accepted, t.run) for t in (rounds[-1][p] for p in IDS[:11])}
    assert last == {(8, 1, 0)}, "in the end each had its eight"
    capped = spend(budget("defer, capped"), lambda p, n: p > "p10" or n == 7)
    assert sum(t.candidates for t in capped[-1].values()) == min(150, sum(t.candidates for t in rounds[-1].values()))


def test_what_a_cap_leaves_goes_to_the_unsolved() -> None:
    hopeless = {"p00", "p01"}
    last = spend(budget("worth, capped"), lambda p, n: p not in hopeless)[-1]
    assert sum(t.candidates for t in last.values()) == 100
    assert all(last[p].candidates == 8 for p in hopeless), "28 prompts took 84, and 16 were left"


def test_worth_draws_fewer_and_solves_as_many() -> None:
    even = [spend(budget("fixed"), by_rates(seed))[-1] for seed in range(20)]
    worth = [spend(budget("worth"), by_rates(seed))[-1] for seed in range(20)]
    solved = [sum(t.accepted > 0 for run in runs for t in run.values()) for runs in (even, worth)]
    accepted = [sum(min(3, t.accepted) for run in runs for t in run.values()) for runs in (even, worth)]
    spent = [sum(t.candidates for run in runs for t in run.values()) for runs in (even, worth)]
    assert solved[1] >= 0.97 * solved[0]
    assert accepted[1] / spent[1] > 1.15 * accepted[0] / spent[0]


def test_the_past_tells_prompts_apart_and_lets_the_always_solved_rest() -> None:
    past = {
        "p00": Past(1, Tally.of((True,) * 3, (9,) * 3), {"s": 1.0}),
        "p01": Past(1, Tally.of((False,) * 8, (30,) * 8), {"s": 0.2}),
        "p02": Past(0, Tally.of((True,) * 3, (9,) * 3), {"s": 1.0}),
    }
    assert rest(past, 2, 30) == {"p00"}
    assert rest(past, 2, 1) == frozenset(), "somebody has to be asked"
    granted = build_budget(
        BudgetSection(allocate="worth"), SAMPLING, CAPPED, PROMPTS, past, rest(past, 2, 30)
    ).next_round({p: Tally() for p in IDS})
    assert granted is not None
    assert set(granted.limits) == set(IDS) - {"p00"}
    known = features(PROMPTS[:3], past)
    assert known.shape == (3, 5), "the last turn, the level, and the rate, tokens and score of before"
    assert np.all(features(PROMPTS[:3], {})[:, 0] == known[:, 0])


def test_prompts_at_both_ends_are_listed() -> None:
    tallies = {
        "a": Tally.of((False,) * 8, (1,) * 8),
        "b": Tally.of((False,) * 3, (1,) * 3),
        "c": Tally.of((True,) * 3, (1,) * 3),
        "d": Tally.of((True, False), (1, 1)),
    }
    assert lists_of_prompts(tallies, 8) == {"unsolved": ["a"], "deferred": ["b"], "always_solved": ["c"]}


@pytest.mark.parametrize(
    ("said", "selection", "message"),
    [
        ({"stop_at_accepted": 4}, ["s >= 1", {"cap": 3}], "at most 3 of a"),
        ({"stop_at_accepted": 1}, ["s >= 1", "agreement"], "'agreement' weighs all candidates"),
        ({"stop_at_accepted": 4}, [{"top_k": {"k": 2, "by": "s"}}], "at most 2 of a"),
    ],
)
def test_more_than_the_selection_lets_through_is_refused(said: Any, selection: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_budget(BudgetSection(**said), SAMPLING, parse_selection(selection), PROMPTS)


def test_a_greedy_reply_is_drawn_once() -> None:
    greedy = SamplingSection(candidates=1, temperature=0)
    last = spend(build_budget(BudgetSection(allocate="worth"), greedy, CAPPED, PROMPTS), lambda p, n: False)[-1]
    assert {t.candidates for t in last.values()} == {1}


def test_where_the_best_are_kept_everybody_gets_the_full_number() -> None:
    best = parse_selection([{"top_k": {"k": 2, "by": "s"}}])
    last = spend(build_budget(BudgetSection(allocate="worth"), SAMPLING, best, PROMPTS), lambda p, n: True)[-1]
    assert {t.candidates for t in last.values()} == {8}


@pytest.mark.parametrize(
    "said",
    [
        {"allocate": "worth", "defer_after": 3},
        {"coverage": 0},
        {"most": 0},
        {"allocate": "evenly"},
        "none",
        {"speculative": {"by": "s"}},
    ],
)
def test_nonsense_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="budget"):
        Recipe(run="r", model=["m"], prompts={"train": "t"}, scorers={"s": "length"}, selection=["s >= 1"], budget=said)
