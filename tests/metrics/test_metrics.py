"""Metrics against closed forms."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rsft import metrics


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_share_is_wilsons(passed: list[bool]) -> None:
    said = metrics.share(passed)
    expected = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
    assert (said.value, said.n) == (sum(passed) / len(passed), len(passed))
    assert (said.low, said.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_share_of_nothing_is_anything() -> None:
    assert metrics.share([]) == metrics.Interval(0.0, 0.0, 1.0, 0)


@pytest.mark.parametrize("passed", [[True, False, False, True, False], [False] * 4, [True] * 3])
def test_pass_at_counts_every_choice(passed: list[bool]) -> None:
    for k in range(1, len(passed) + 1):
        chosen = list(combinations(passed, k))
        expected = sum(any(some) for some in chosen) / len(chosen)
        assert metrics.pass_at(k, [sum(passed)], len(passed)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="needs 1 to"):
        metrics.pass_at(len(passed) + 1, [1], len(passed))


def test_the_bootstrap_covers_what_it_should() -> None:
    """Of 400 samples of a known mean, about 95% of the intervals hold it (within 4 standard errors of simulation)."""
    import numpy as np

    generator = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        said = metrics.mean(generator.choice([-1.0, 0.0, 1.0], p=[0.2, 0.5, 0.3], size=200).tolist(), seed=trial)
        held += said.low <= 0.1 <= said.high
    assert held / 400 >= 0.95 - 4 * (0.05 * 0.95 / 400) ** 0.5 - 0.01


def test_paired_differences_pair() -> None:
    said = metrics.paired_difference([1, 1, 0, 1], [0, 1, 0, 0])
    assert (said.value, said.n) == (0.5, 4)
    assert metrics.paired_difference([1, 0], [1, 0]) == metrics.Interval(0.0, 0.0, 0.0, 2)
    with pytest.raises(ValueError, match="same prompts"):
        metrics.paired_difference([1], [1, 0])


def test_distinct() -> None:
    assert metrics.distinct(1, [["a", "b", "a"], ["a"]]) == 0.5
    assert metrics.distinct(2, [["a", "b", "a"], ["a"]]) == 1.0
    assert metrics.distinct(2, [["a"]]) == 0.0
