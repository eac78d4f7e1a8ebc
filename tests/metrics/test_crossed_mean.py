"""The mean over seeds and prompts: closed forms, and how often its interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t, ttest_1samp

from rsft import metrics
from rsft.types import Interval

VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=30)


def bounds(said: Interval) -> tuple[float, float]:
    return said.low, said.high


@given(VALUES, st.integers(2, 5))
def test_where_seeds_do_not_differ_it_is_the_t_interval_over_prompts(values: list[float], seeds: int) -> None:
    said = metrics.crossed_mean([values] * seeds)
    assert (said.value, said.n) == (pytest.approx(np.mean(values)), len(values))
    if np.ptp(values) > 1e-6:
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert bounds(said) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(VALUES, st.integers(1, 40))
def test_where_prompts_do_not_differ_it_is_the_t_interval_over_seeds(values: list[float], prompts: int) -> None:
    said = metrics.crossed_mean([[value] * prompts for value in values])
    assert (said.value, said.n) == (pytest.approx(np.mean(values)), prompts)
    if np.ptp(values) > 1e-6:
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert bounds(said) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_where_both_differ_and_nothing_else_does_it_is_welchs() -> None:
    """Without a rest, the variance is that of two independent means, with Welch's degrees of freedom for them."""
    of_seeds, of_prompts = np.array([0.0, 3.0, 1.0]), np.array([1.0, 4.0, 2.0, 0.5, 7.0])
    said = metrics.crossed_mean(of_seeds[:, None] + of_prompts)
    parts = [values.var(ddof=1) / len(values) for values in (of_seeds, of_prompts)]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 4)
    half = t.ppf(0.975, degrees) * sum(parts) ** 0.5
    mean = of_seeds.mean() + of_prompts.mean()
    assert bounds(said) == pytest.approx((mean - half, mean + half))


def test_the_rest_is_counted_once() -> None:
    """By hand: mean squares 13.5 of seeds (1 degree of freedom), 91/6 of prompts (2) and 0.5 of the rest (2)."""
    said = metrics.crossed_mean([[1.0, 3.0, 7.0], [4.0, 7.0, 9.0]])
    variance = 13.5 + 91 / 6 - 0.5
    degrees = variance**2 / (13.5**2 / 1 + (91 / 6) ** 2 / 2 + 0.5**2 / 2)
    half = t.ppf(0.975, degrees) * (variance / 6) ** 0.5
    assert bounds(said) == pytest.approx((said.value - half, said.value + half))


def test_an_effect_that_comes_out_negative_takes_nothing_off_the_other() -> None:
    table_SP = np.array([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    said = metrics.crossed_mean(table_SP)  # seeds have the same mean, and the rest is more than prompts account for
    prompts = table_SP.mean(axis=0)
    expected = ttest_1samp(prompts, 0).confidence_interval(0.95)
    assert bounds(said) == pytest.approx((expected.low, expected.high))


def test_of_one_seed_it_is_the_mean_over_prompts() -> None:
    values = [1.0, 0.0, 0.0, -1.0, 1.0]
    assert metrics.crossed_mean([values]) == metrics.mean(values)


def test_equal_values_leave_no_doubt() -> None:
    assert metrics.crossed_mean([[1.0] * 4] * 3) == Interval(1.0, 1.0, 1.0, 4)


@pytest.mark.parametrize("table", [[], [[], []], [1.0, 2.0]])
def test_what_is_no_table_is_refused(table: list[float]) -> None:
    with pytest.raises(ValueError, match="seeds × prompts"):
        metrics.crossed_mean(np.array(table))


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("level", [0.0, 1.2])
def test_the_interval_holds_the_truth_for_other_seeds_and_prompts(spread: float, level: float) -> None:
    """3 seeds × 300 prompts: whether a reply passes, less whether the base's does, which all seeds have in common.

    Passing is a threshold on prompt (its ease shared with the base's), seed (normal with this spread) and chance.
    """
    trials, seeds, prompts = 1500, 3, 300
    generator = np.random.default_rng(round(100 * spread + 10 * level))
    ease_TP = generator.normal(size=(trials, prompts))
    base_TP = -1.2 + 0.5 * ease_TP + generator.normal(size=(trials, prompts)) > 0
    drift_TS = spread * generator.normal(size=(trials, seeds))
    chance_TSP = generator.normal(size=(trials, seeds, prompts))
    after_TSP = level + ease_TP[:, None] + drift_TS[..., None] + chance_TSP > 0
    truth = norm.cdf(level / (2 + spread**2) ** 0.5) - norm.cdf(-1.2 / 1.25**0.5)
    said = [metrics.crossed_mean(table_SP) for table_SP in after_TSP.astype(float) - base_TP[:, None]]
    held = np.mean([one.low <= truth <= one.high for one in said])
    assert held >= 0.93
