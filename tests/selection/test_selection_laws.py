"""Laws of what rules keep, on toy policies: closed forms, exactly where all cases can be listed, else within chance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rsft.metrics import expected_best
from rsft.selection import Pool, parse_selection
from rsft.types import Candidate, Score

CHANCES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
SCORES = np.array([0.0, 0.5, 1.0, 1.0, 2.0])
"""A toy policy over five replies, two of which score the same."""


class NoDetails:
    """What these rules never read."""

    texts: Sequence[str] = ()

    def candidate(self, place: int) -> Candidate:
        raise AssertionError

    def score(self, name: str, place: int) -> Score:
        raise AssertionError


def pool(values_PN: Any, iteration: int = 1, **more: Any) -> Pool:
    """N candidates of each of P prompts, with these scores."""
    values = np.asarray(values_PN, dtype=np.float64)
    prompts, samples = values.shape
    return Pool(
        prompt_ids=[f"p{number}" for number in range(prompts)],
        prompt_N=np.repeat(np.arange(prompts, dtype=np.int32), samples),
        sample_N=np.tile(np.arange(samples, dtype=np.int32), prompts),
        whole_N=np.ones(values.size, dtype=np.bool_),
        scores={"g": values.ravel(), **more},
        details=NoDetails(),
        iteration=iteration,
    )


def kept(rules: list[Any], values_PN: Any, **more: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(P, N)."""
    return parse_selection(rules).decide(pool(values_PN, **more)).accepted_N.reshape(np.shape(values_PN))


def drawn(prompts: int, samples: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """(P, N) replies of the toy policy, by their numbers."""
    return np.random.default_rng(seed).choice(len(CHANCES), p=CHANCES, size=(prompts, samples))


def law(replies: Any) -> np.ndarray[Any, Any]:
    counts = np.bincount(np.ravel(replies), minlength=len(CHANCES))
    return counts / counts.sum()


def distance(one: Any, other: Any) -> float:
    """Total variation."""
    return 0.5 * float(np.abs(one - other).sum())


def divergence(one: Any, other: Any) -> float:
    there = one > 0
    return float((one[there] * np.log(one[there] / other[there])).sum())


def chi_square(counts: Any, expected_law: Any) -> float:
    expected = expected_law * counts.sum()
    there = expected > 0
    assert counts[~there].sum() == 0
    return float(((counts - expected)[there] ** 2 / expected[there]).sum())


# p = 0.001 at four degrees of freedom.
BEYOND_CHANCE = 18.5
EXACT = np.repeat(np.arange(5), (CHANCES * 100).astype(int))[:, None]
"""(100, 1): replies in exactly the policy's shares."""


@pytest.mark.parametrize("line", [-1.0, 0.0, 0.5, 1.0, 1.9])
def test_a_threshold_keeps_the_policy_given_that_it_is_passed(line: float) -> None:
    said = kept([f"g > {line}"], SCORES[EXACT])
    share = CHANCES[line < SCORES].sum()
    target = CHANCES * (line < SCORES) / share
    found = law(EXACT[said])
    assert said.mean() == pytest.approx(share, abs=1e-9)
    assert found == pytest.approx(target, abs=1e-9)
    assert divergence(found, CHANCES) == pytest.approx(-math.log(share), abs=1e-6)
    assert SCORES[EXACT[said]].mean() == pytest.approx((target * SCORES).sum(), abs=1e-6)


def test_rising_thresholds_are_the_last_one_and_one_twice_is_one() -> None:
    values = SCORES[drawn(300, 4)]
    assert (kept(["g > 0", "g >= 0.5", "g >= 1"], values) == kept(["g >= 1"], values)).all()
    assert (kept(["g >= 1", "g >= 1"], values) == kept(["g >= 1"], values)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_best_of_n_has_its_law(n: int) -> None:
    """Over all ways to draw n of four equally likely replies: F(y)ⁿ − F⁻(y)ⁿ; the divergence is under its bound."""
    every = np.array(list(itertools.product(range(4), repeat=n)))
    for rule in ({"best_of_n": {"n": n, "by": "g"}}, {"top_k": {"k": 1, "by": "g"}}):
        best = every[kept([rule], every)]
        found = np.bincount(best, minlength=4) / len(every)
        below = np.arange(5) / 4
        assert found == pytest.approx(below[1:] ** n - below[:-1] ** n, abs=1e-9)
        assert divergence(found, np.full(4, 0.25)) <= math.log(n) - (n - 1) / n + 1e-9


def test_the_best_of_bests_is_the_best_of_all() -> None:
    values = np.random.default_rng(0).normal(size=(200, 6))
    best = kept([{"top_k": {"k": 1, "by": "g"}}], values)
    halves = [kept([{"best_of_n": {"n": 3, "by": "g"}}], half) for half in (values[:, :3], values[:, 3:])]
    winners = np.column_stack([values[:, :3][halves[0]], values[:, 3:][halves[1]]])
    assert (winners[kept([{"best_of_n": {"n": 2, "by": "g"}}], winners)] == values[best]).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_expected_best_of_n(n: int) -> None:
    """n/(n+1) for uniform scores, the n-th harmonic number for exponential ones; and its estimate from more samples."""
    generator = np.random.default_rng(1)
    for values, mean in (
        (generator.random((20_000, n)), n / (n + 1)),
        (generator.exponential(size=(20_000, n)), sum(1 / k for k in range(1, n + 1))),
    ):
        best = values[kept([{"best_of_n": {"n": n, "by": "g"}}], values)]
        assert best.mean() == pytest.approx(mean, abs=4 * best.std() / math.sqrt(len(best)))
    eight = generator.normal(size=8)
    every = [max(some) for some in itertools.combinations(eight, n)]
    assert expected_best(n, eight) == pytest.approx(np.mean(every), abs=1e-9)


@pytest.mark.parametrize("per", ["all", "prompt"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 1.0])
def test_a_quantile_keeps_its_share(per: str, share: float) -> None:
    values = SCORES[drawn(50, 10)]  # many ties
    said = kept([{"quantile": {"share": share, "by": "g", "per": per}}], values)
    assert said.sum() == pytest.approx(share * values.size)
    if per == "prompt":
        assert (said.sum(axis=1) == round(share * 10)).all()
        assert all(row[keep].min() >= row[~keep].max(initial=-1) for row, keep in zip(values, said, strict=True))
    else:
        assert values[said].min() >= values[~said].max(initial=-1)
    larger = kept([{"quantile": {"share": min(1.0, share + 0.2), "by": "g", "per": per}}], values)
    assert (larger | ~said).all(), "a larger share keeps all that a smaller one does"


def test_a_quantiles_line_rises_with_the_iterations() -> None:
    values = drawn(10, 20)
    shares = [
        kept([{"quantile": {"share": [0.5, 0.25, 0.1], "by": "g"}}], values, iteration=iteration).mean()
        for iteration in (1, 2, 3, 4)
    ]
    assert shares == [0.5, 0.25, 0.1, 0.1]


def tilted(temperature: float) -> np.ndarray[Any, Any]:
    """The toy policy, times exp(score / temperature)."""
    weights = CHANCES * np.exp(SCORES / temperature)
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_statistical_rejection_keeps_the_tilted_policy(temperature: float) -> None:
    replies = drawn(20_000, 1)
    said = kept([{"statistical_rejection": {"temperature": temperature, "by": "g", "per": "all"}}], SCORES[replies])
    target = tilted(temperature)
    assert chi_square(np.bincount(replies[said], minlength=5), target) < BEYOND_CHANCE
    chance = (CHANCES * np.exp((SCORES - 2.0) / temperature)).sum()
    assert said.mean() == pytest.approx(chance, abs=4 * math.sqrt(chance / said.size))
    normaliser = math.log((CHANCES * np.exp(SCORES / temperature)).sum())
    assert divergence(target, CHANCES) == pytest.approx((target * SCORES).sum() / temperature - normaliser, abs=1e-6)


def test_two_rounds_of_statistical_rejection_are_one_at_half_the_temperature() -> None:
    replies = drawn(40_000, 1)
    rounds = [{"statistical_rejection": {"temperature": 2.0, "by": "g", "per": "all", "seed": seed}} for seed in (1, 2)]
    said = kept(rounds, SCORES[replies])
    assert chi_square(np.bincount(replies[said], minlength=5), tilted(1.0)) < BEYOND_CHANCE


def test_statistical_rejection_between_the_best_and_all() -> None:
    values = SCORES[drawn(200, 8)]
    cold, hot = (kept([{"statistical_rejection": {"temperature": t, "by": "g"}}], values) for t in (1e-6, 1e9))
    assert (cold == (values == values.max(axis=1, keepdims=True))).all()
    assert hot.all()


def test_the_greatest_score_that_was_seen_biases_statistical_rejection() -> None:
    """With few candidates of each prompt low scores are kept too often: more of them come nearer to the target. Here a
    prompt that lacks the greatest score keeps e² times as many, so that even 64 are not enough."""
    away = []
    for samples in (1, 2, 8, 64, 500):
        replies = drawn(64_000 // samples, samples)
        said = kept([{"statistical_rejection": {"temperature": 0.5, "by": "g"}}], SCORES[replies])
        away.append(distance(law(replies[said]), tilted(0.5)))
    assert away[0] == pytest.approx(distance(CHANCES, tilted(0.5)), abs=0.01), "one candidate is always kept"
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.03


def test_a_pareto_front_holds_what_nothing_beats() -> None:
    generator = np.random.default_rng(3)
    g, h = generator.integers(0, 4, size=(2, 60, 7))
    said = kept([{"pareto": ["g", "h"]}], g, h=h.ravel().astype(np.float64))
    for p, i in itertools.product(range(60), range(7)):
        as_good = (g[p] >= g[p, i]) & (h[p] >= h[p, i])
        better = (g[p] > g[p, i]) | (h[p] > h[p, i])
        assert said[p, i] == (not (as_good & better).any())


def test_better_than_holds_each_candidate_against_its_prompts_baseline() -> None:
    values = np.array([[0.2, 0.5, np.nan], [0.2, 0.5, 0.9], [0.2, 0.5, 0.9]])
    beside = replace(pool(values), baselines={"greedy": {"g": np.array([0.2, 0.5, np.nan])}})
    for at_least, expected in ((0.0, [[1, 1, 0], [0, 1, 1], [0, 0, 0]]), (0.3, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])):
        rule = {"better_than": {"baseline": "greedy", "by": "g", "at_least": at_least}}
        assert (
            parse_selection([rule]).decide(beside).accepted_N.reshape(3, 3).tolist()
            == np.array(expected, bool).tolist()
        )


def test_balance_keeps_as_many_of_hard_prompts_as_of_easy_ones() -> None:
    passing = np.repeat([1, 2, 4, 8], [40, 10, 30, 20])  # of eight
    values = (np.arange(8) < passing[:, None]).astype(np.float64)
    said = kept(["g >= 1", {"balance": 4}], values)
    by_kind = [said[passing <= 2].sum(), said[passing == 4].sum(), said[passing == 8].sum()]
    assert by_kind == [60, 60, 60], "the fewest are there of the hardest quarter: 40 + 20"
    shared = kept(["g >= 1", {"balance": {"bins": 4, "shares": [0.2, 0.4, 0.1, 0.3]}}], values)
    assert [shared[passing <= 2].sum(), shared[passing == 4].sum(), shared[passing == 8].sum()] == [60, 120, 90]


def test_what_is_length_matched_is_as_long_as_what_was_drawn() -> None:
    details = NoDetails()
    details.texts = ["word " * (1 + number % 10) for number in range(4000)]
    lengths = np.array([len(text.split()) for text in details.texts])
    scores = lengths + np.random.default_rng(4).normal(size=4000)  # a scorer that likes long replies
    of = replace(pool(scores.reshape(500, 8)), details=details)
    plain = parse_selection(["g > 6"]).decide(of).accepted_N
    matched = parse_selection(["g > 2", {"length_matched": {"bins": 5, "by": "g"}}]).decide(of).accepted_N
    assert lengths[plain].mean() > lengths.mean() + 2
    assert lengths[matched].mean() == pytest.approx(lengths.mean(), abs=0.3)
    parts = np.bincount((lengths[matched] - 1) // 2)
    assert parts.max() - parts.min() <= 1


def test_thresholding_one_noisy_score_can_lower_the_value_and_averages_do_not() -> None:
    """One reply always scores 0.1, the other ±1 with equal odds: on average 0, and above 0.1 half the time."""
    generator = np.random.default_rng(5)
    replies = generator.integers(0, 2, size=20_000)
    worth = np.array([0.1, 0.0])

    def judged(calls: int) -> np.ndarray[Any, Any]:
        noisy = 2 * generator.binomial(calls, 0.5, size=len(replies)) / calls - 1
        return np.where(replies == 0, 0.1, noisy)

    base = worth[replies].mean()
    once = worth[replies[kept(["g > 0.1"], judged(1)[:, None])[:, 0]]].mean()
    often = worth[replies[kept(["g > 0.05"], judged(400)[:, None])[:, 0]]].mean()
    assert base == pytest.approx(0.05, abs=0.003)
    assert once == 0.0
    assert often > 0.08
