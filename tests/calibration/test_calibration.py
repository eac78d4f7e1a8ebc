"""Thresholds with a guarantee: closed forms, and promises that are kept as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from rsft.calibration import Certificate, Refusal, certify, conformal_selection, labels_needed
from rsft.calibration.risk import error_bound, p_value


@pytest.mark.parametrize(("bad", "count"), [(0, 22), (1, 38), (2, 52)])
def test_the_labels_that_nine_in_ten_take(bad: int, count: int) -> None:
    losses = np.append(np.ones(bad), np.zeros(count - bad))
    assert p_value(losses, 0.1) <= 0.1 < p_value(losses[:-1], 0.1)
    if bad == 0:
        assert labels_needed(0.1, 0.9) == count == math.ceil(math.log(0.1) / math.log(0.9))


def test_a_promise_that_one_label_keeps_is_no_other_case() -> None:
    scores = np.linspace(0, 1, 20)
    assert isinstance(certify(scores, np.zeros(20), scores, max_error=0.6, confidence=0.5), Certificate)


def test_no_number_of_labels_certifies_what_is_too_often_bad() -> None:
    assert labels_needed(0.1, 0.9, 0.1) is None
    few, many = labels_needed(0.1, 0.9, 0.02), labels_needed(0.1, 0.9, 0.08)
    assert few is not None
    assert many is not None
    assert 22 < few < 60 < many


@given(st.integers(1, 200), st.data(), st.floats(0.01, 0.5), st.floats(0.5, 0.99))
def test_errors_have_the_binomials_tail_and_its_bound(
    count: int, data: st.DataObject, max_error: float, confidence: float
) -> None:
    bad = data.draw(st.integers(0, count))
    losses = np.append(np.ones(bad), np.zeros(count - bad))
    assert p_value(losses, max_error) == pytest.approx(binom.cdf(bad, count, max_error))
    bound = error_bound(losses, confidence)
    if bad < count:
        assert 1 - bound == pytest.approx(beta.ppf(1 - confidence, count - bad, bad + 1), abs=1e-9)
        assert p_value(losses, bound) == pytest.approx(1 - confidence, abs=1e-6)
    else:
        assert bound == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.05, 0.5))
def test_graded_losses_are_bounded_by_hoeffding_and_bentkus(losses: list[float], max_error: float) -> None:
    said, mean = np.array([*losses, 0.5]), float(np.mean([*losses, 0.5]))
    value = p_value(said, max_error)
    under = min(mean, max_error)
    exponent = sum(x * math.log(x / y) for x, y in ((under, max_error), (1 - under, 1 - max_error)) if x > 0)
    assert value <= math.exp(-len(said) * exponent) + 1e-12
    assert value <= 1.0
    if mean >= max_error:
        assert value == 1.0
    assert p_value(said, error_bound(said, 0.9) + 1e-9) <= 0.1 + 1e-6


def world(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Scores, and who is bad: the likelier the lower the score."""
    scores = generator.normal(size=count)
    return scores, generator.random(count) > 1 / (1 + np.exp(-2.5 * scores - 1))


def test_what_is_certified_holds_as_often_as_it_says_whatever_the_scores_are_worth() -> None:
    generator = np.random.default_rng(0)
    scores, bad = world(400_000, generator)
    scores, bad = scores[order := np.argsort(-scores)], bad[order]
    errors = np.cumsum(bad) / np.arange(1, len(scores) + 1)
    trials, broken, found = 400, 0, 0
    for _ in range(trials):
        labelled, of_them = world(500, generator)
        said = certify(labelled, of_them.astype(np.float64), world(2000, generator)[0])
        if isinstance(said, Certificate):
            found += 1
            broken += errors[np.searchsorted(-scores, -said.threshold, side="right") - 1] > 0.1
            assert said.bad <= said.labelled
            assert said.precision >= 0.9 - 1e-9
    assert found > trials / 2
    assert broken / trials <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / trials)


def test_a_worthless_score_certifies_nothing_and_says_that_no_label_would_help() -> None:
    generator = np.random.default_rng(1)
    said = [
        certify(
            generator.normal(size=500), (generator.random(500) < 0.3).astype(np.float64), generator.normal(size=999)
        )
        for _ in range(60)
    ]
    refused = [one for one in said if isinstance(one, Refusal)]
    assert len(refused) >= 54
    hopeless = [one for one in refused if one.labels_wanted is None]
    assert len(hopeless) > 36
    assert "wherever the line is drawn" in hopeless[0].reason


def test_too_few_labels_are_refused_with_the_number_that_would_do() -> None:
    generator = np.random.default_rng(2)
    scores = generator.normal(size=18)
    said = certify(scores, np.zeros(18), generator.normal(size=500))
    assert isinstance(said, Refusal)
    assert "too few" in said.reason
    assert said.labels_wanted == 22
    nobody = certify(np.array([np.nan]), np.zeros(1), generator.normal(size=9))
    assert isinstance(nobody, Refusal)
    assert nobody.labels_wanted == 60


def test_all_good_certifies_everything_and_all_bad_nothing() -> None:
    pool = np.arange(1000.0)
    scores = np.arange(0.0, 1000.0, 5)
    everything = certify(scores, np.zeros(200), pool)
    assert isinstance(everything, Certificate)
    assert (everything.threshold, everything.coverage, everything.labelled) == (0.0, 1.0, 200)
    assert isinstance(certify(scores, np.ones(200), pool), Refusal)


def test_failed_scores_are_under_every_line() -> None:
    scores, pool = np.arange(200.0), np.append(np.arange(200.0), [np.nan] * 200)
    scores[:100] = np.nan
    said = certify(scores, np.append(np.ones(100), np.zeros(100)), pool)
    assert isinstance(said, Certificate)
    assert said.labelled <= 100
    assert said.bad == 0
    assert said.coverage <= 0.5


def test_equal_scores_are_on_one_side_of_the_line() -> None:
    scores = np.repeat([0.0, 1.0], 100)
    said = certify(scores, np.repeat([1.0, 0.0], 100), scores)
    assert isinstance(said, Certificate)
    assert (said.threshold, said.labelled, said.bad) == (1.0, 100, 0.0)


def test_conformal_selection_is_right_on_average() -> None:
    generator = np.random.default_rng(3)
    shares, chosen_counts = [], []
    for _ in range(400):
        scores, bad = world(300, generator)
        pool, of_pool = world(300, generator)
        chosen = conformal_selection(scores, bad, pool, max_error=0.1)
        shares.append(of_pool[chosen].mean() if chosen.any() else 0.0)
        chosen_counts.append(chosen.sum())
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / math.sqrt(len(shares))
    assert np.mean(chosen_counts) > 30
    assert not conformal_selection(scores, np.ones(300, dtype=np.bool_), np.full(5, np.nan)).any()
