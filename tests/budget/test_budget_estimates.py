"""What budgets believe: estimates that stopping does not bias, and stopping that is worth it."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.budget import Tally
from rsft.budget.allocation import WEIGHTS, shares, variance_ratio
from rsft.budget.belief import Belief, beliefs, standardised
from rsft.budget.worth import Aim, Kind, worth_going

NO_FEATURES = np.zeros((0, 0))


def tally(outcomes: str) -> Tally:
    """`+` is accepted, `-` is not; ten tokens each."""
    made = Tally()
    for outcome in outcomes:
        made = made.after(outcome == "+", 10)
    return made


def drawn(rate: float, stop_at: int, generator: np.random.Generator, most: int = 10_000) -> Tally:
    made = Tally()
    while made.accepted < stop_at and made.candidates < most:
        made = made.after(bool(generator.random() < rate))
    return made


def test_a_tally_says_what_was_seen() -> None:
    seen = tally("-+--")
    assert (seen.candidates, seen.accepted, seen.run, seen.tokens) == (4, 1, 2, 40)
    assert seen.first(2) == tally("-+")
    assert tally("++").always_solved
    assert not tally("+").always_solved
    assert tally("").rate() == 0.0


@pytest.mark.parametrize("rate", [0.1, 0.35, 0.8])
def test_the_rate_is_unbiased_where_sampling_stopped_at_the_kth(rate: float) -> None:
    generator = np.random.default_rng(0)
    tallies = [drawn(rate, 3, generator) for _ in range(20_000)]
    assert np.mean([t.rate(stop_at=3) for t in tallies]) == pytest.approx(rate, abs=0.01)
    assert np.mean([t.rate() for t in tallies]) > rate + 0.02, "accepted/candidates is too high"


def test_beliefs_find_the_law_behind_the_rates_though_sampling_stopped_early() -> None:
    generator = np.random.default_rng(1)
    rates = generator.beta(0.5, 0.8, 4000)
    tallies = [drawn(rate, 2, generator, most=12) for rate in rates]
    found = beliefs(tallies, np.zeros((4000, 0)))[0]
    assert found.mean == pytest.approx(0.5 / 1.3, abs=0.03)
    assert found.strength == pytest.approx(1.3, abs=0.25)


def test_beliefs_tell_prompts_apart_by_what_is_known_of_them() -> None:
    generator = np.random.default_rng(2)
    known = generator.normal(size=400)
    rates = 1 / (1 + np.exp(1 - 1.5 * known))
    tallies = [drawn(rate, 3, generator, most=4) for rate in rates]
    means = np.array([one.mean for one in beliefs(tallies, standardised([list(known)], 400))])
    assert np.corrcoef(means, rates)[0, 1] > 0.95
    assert np.ptp([one.mean for one in beliefs(tallies, np.zeros((400, 0)))]) == 0.0


def test_features_are_standard_and_what_is_not_known_is_the_mean() -> None:
    features = standardised([[1.0, 2.0, None, 3.0], [5.0, 5.0, 5.0, None], [None] * 4], 4)
    assert features.shape == (4, 1)
    assert features[2, 0] == 0.0
    assert features[:, 0].mean() == pytest.approx(0.0)


def expectations(belief: Belief, go: np.ndarray, aim: Aim) -> tuple[float, float, float]:
    """Accepted, candidates and the chance of being solved, by walking through every state."""

    @cache
    def from_state(n: int, a: int) -> tuple[float, float, float]:
        if n == aim.most or not go[n, a]:
            return (0.0, 0.0, float(a > 0))
        p = (belief.alpha + a) / (belief.strength + n)
        hit, miss = from_state(n + 1, a + 1), from_state(n + 1, a)
        return (
            p * (1 + hit[0]) + (1 - p) * miss[0],
            1 + p * hit[1] + (1 - p) * miss[1],
            p * hit[2] + (1 - p) * miss[2],
        )

    return from_state(0, 0)


def test_stopping_is_the_best_of_all_ways_that_solve_as_many() -> None:
    """Every way to stop is tried: at most 2 of 4 candidates, decisions after 1, 2 and 3 of them."""
    aim = Aim(stop_at=2, coverage=0.9, even=3, looks=(1, 2, 3, 4))
    belief = Belief(0.3, 1.5)
    needed = 0.9 * belief.solved_by(3)
    states = [(n, a) for n in (1, 2, 3) for a in (0, 1) if a <= n]
    best = 0.0
    for said in itertools.product([False, True], repeat=len(states)):
        go = np.zeros((5, 3), dtype=bool)
        go[0, 0] = True
        for (n, a), value in zip(states, said, strict=True):
            go[n, a] = value
        accepted, cost, solved = expectations(belief, go, aim)
        if solved >= needed:
            best = max(best, accepted / cost)
    accepted, cost, solved = expectations(belief, worth_going([Kind(belief)], aim)[0], aim)
    assert solved >= needed - 1e-6
    assert accepted / cost == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("coverage", [0.8, 0.95, 1.0])
def test_as_many_are_solved_as_asked_and_more_coverage_costs_more(coverage: float) -> None:
    aim = Aim(4, coverage, 32, (2, 4, 8, 16, 24, 32, 64))
    kinds = [Kind(Belief(0.4, 1.3), 1.0, 50), Kind(Belief(0.1, 4.0), 1.5, 30)]
    even = sum(kind.count * kind.belief.solved_by(32) for kind in kinds)
    solved = sum(
        kind.count * expectations(kind.belief, go, aim)[2]
        for kind, go in zip(kinds, worth_going(kinds, aim), strict=True)
    )
    assert solved >= coverage * even * (1 - 1e-5)


def test_dear_prompts_are_left_sooner() -> None:
    aim = Aim(3, 0.7, 8, tuple(range(1, 17)))
    cheap, dear = worth_going([Kind(Belief(0.3, 3.0), 0.5), Kind(Belief(0.3, 3.0), 2.0)], aim)
    assert cheap.sum() > dear.sum()


RATES = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=30)


@given(RATES, st.integers(0, 300), st.integers(1, 40))
def test_shares_sum_to_the_total_and_keep_to_the_limits(weights: list[float], total: int, most: int) -> None:
    given_out = shares(total, weights, [most] * len(weights))
    assert sum(given_out) == min(total, most * len(weights))
    assert all(0 <= share <= most for share in given_out)
    for (one, share), (other, more) in itertools.permutations(zip(weights, given_out, strict=True), 2):
        assert one > other or share <= more + 1, "more weight never gets less, but for rounding"


def test_allocation_rules_do_what_they_say() -> None:
    rates = np.array([0.1, 0.2, 0.5, 0.8])
    uniform = rates * WEIGHTS["uniform"](rates)
    assert np.ptp(uniform) == pytest.approx(0.0), "as many accepted of each"
    harder = rates * WEIGHTS["harder"](rates)
    assert harder / (1 - rates) == pytest.approx(harder[0] / (1 - rates[0]))
    n = WEIGHTS["variance"](rates)
    n /= n.sum()
    optimal = (1 / (n * rates)).sum()
    even = (4 / rates).sum()
    assert even / optimal == pytest.approx(variance_ratio(list(rates), [1.0] * 4))
    for other in np.random.default_rng(0).dirichlet(np.ones(4), 200):
        assert (1 / (other * rates)).sum() >= optimal - 1e-9
