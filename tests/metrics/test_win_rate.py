"""The win rate's interval: Tango's, against what it is defined by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.metrics import share, win_rate

Z = 1.959963984540054
COUNTS = st.integers(0, 60)


def score_test(wins: int, losses: int, n: int, delta: float) -> float:
    """The score statistic of a difference, the share of lost pairs under it found by search instead of by a formula."""
    low, high = max(0.0, -delta), (1 - delta) / 2
    for _ in range(200):  # ternary search: the likelihood has one top
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if likelihood(wins, losses, n, delta, a) < likelihood(wins, losses, n, delta, b):
            low = a
        else:
            high = b
    q = (low + high) / 2
    return (wins - losses - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))


def likelihood(wins: int, losses: int, n: int, delta: float, q: float) -> float:
    """Of wins, losses and ties, where a pair is lost with the chance q and won with q + delta."""
    shares = ((wins, q + delta), (losses, q), (n - wins - losses, 1 - 2 * q - delta))
    return sum(count * math.log(max(share, 1e-300)) for count, share in shares if count)


@pytest.mark.parametrize(("wins", "losses", "ties"), [(12, 5, 8), (3, 0, 4), (0, 3, 2), (40, 30, 0), (1, 1, 20)])
def test_its_ends_are_where_the_score_test_no_longer_rejects(wins: int, losses: int, ties: int) -> None:
    found = win_rate(wins, losses, ties)
    n = wins + losses + ties
    assert score_test(wins, losses, n, 2 * found.low - 1) == pytest.approx(Z, abs=1e-4)
    assert score_test(wins, losses, n, 2 * found.high - 1) == pytest.approx(-Z, abs=1e-4)


@given(wins=COUNTS, losses=COUNTS)
def test_without_ties_it_is_wilsons(wins: int, losses: int) -> None:
    if wins + losses:
        found, wilson = win_rate(wins, losses), share([True] * wins + [False] * losses)
        assert (found.value, found.n) == (pytest.approx(wilson.value), wilson.n)
        assert (found.low, found.high) == (pytest.approx(wilson.low, abs=1e-9), pytest.approx(wilson.high, abs=1e-9))


@given(wins=COUNTS, losses=COUNTS, ties=COUNTS)
def test_to_swap_the_sides_mirrors_it(wins: int, losses: int, ties: int) -> None:
    ours, theirs = win_rate(wins, losses, ties), win_rate(losses, wins, ties)
    assert (ours.value, ours.low, ours.high) == pytest.approx((1 - theirs.value, 1 - theirs.high, 1 - theirs.low))
    assert 0 <= ours.low <= ours.value <= ours.high <= 1
    assert ours.low < ours.high


def test_a_tie_is_half_a_win() -> None:
    assert win_rate(3, 1, 4).value == (3 + 4 / 2) / 8
    assert win_rate(0, 0, 5).value == 0.5
    nothing = win_rate(0, 0)
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (0.5, 0.0, 1.0, 0)


@pytest.mark.parametrize(("win", "loss", "n"), [(0.5, 0.2, 20), (0.85, 0.05, 30), (0.1, 0.1, 25), (0.3, 0.7, 15)])
def test_it_holds_the_truth_as_often_as_it_says(win: float, loss: float, n: int) -> None:
    draws = np.random.default_rng(0).multinomial(n, [win, loss, max(0.0, 1 - win - loss)], size=2000)
    truth = (1 + win - loss) / 2
    found = [win_rate(int(w), int(lost), int(t)) for w, lost, t in draws]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.91, (
        "as a score interval does: 95% on average over n"
    )
