"""A bound on precision that holds although the line was moved until it pleased."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.calibration import Certificate, LinesBound, certify, error_bound

PROMISE = {"max_error": 0.1, "confidence": 0.9}


def world(generator: np.random.Generator, count: int, labelled: int) -> tuple[np.ndarray, ...]:
    """A pool's scores, the losses of all of it, and the places of a random draw from it."""
    scores = generator.normal(size=count)
    bad = (generator.random(count) > 1 / (1 + np.exp(-2.5 * scores - 1))).astype(np.float64)
    return scores, bad, generator.permutation(count)[:labelled]


def test_no_choice_of_the_line_breaks_the_promise_too_often() -> None:
    """Whoever moves the line to where the bound flatters most is wrong in one of ten cases at most; by the bound of a
    line that was fixed before, far more often."""
    generator = np.random.default_rng(0)
    trials, broken, naive = 400, 0, 0
    for _ in range(trials):
        pool, bad, some = world(generator, 1500, 300)
        lines = LinesBound.of(pool[some], bad[some], pool, **PROMISE)
        strict = np.argsort(-pool)
        true = 1 - np.cumsum(bad[strict]) / np.arange(1, len(pool) + 1)
        overs = np.arange(10, len(pool) + 1, 10)
        broken += any(lines.precision(int(over)) > true[over - 1] + 1e-9 for over in overs)
        seen = [bad[some][pool[some] >= pool[strict[over - 1]]] for over in overs]
        naive += any(1 - error_bound(s, 0.9) > true[o - 1] + 1e-9 for s, o in zip(seen, overs, strict=True))
    assert broken / trials <= 0.1 + 3 * np.sqrt(0.09 / trials)
    assert naive / trials > 0.3


def test_the_bound_is_of_use() -> None:
    """Where a threshold is certified for 10% bad, the bound that holds everywhere is not far below."""
    pool, bad, some = world(np.random.default_rng(1), 3000, 600)
    said = certify(pool[some], bad[some], pool, **PROMISE)
    assert isinstance(said, Certificate)
    anywhere = LinesBound.of(pool[some], bad[some], pool, **PROMISE).precision(int((pool >= said.threshold).sum()))
    assert 0.8 < anywhere < said.precision


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_bad_ones_grow_with_what_is_accepted(seed: int, labelled: int) -> None:
    pool, bad, some = world(np.random.default_rng(seed), 80, labelled)
    lines = LinesBound.of(pool[some], bad[some], pool, **PROMISE)
    most_bad = [(1 - lines.precision(over)) * over for over in range(1, 81)]
    assert all(0 <= lines.precision(over) <= 1 for over in range(81))
    assert all(fewer <= more + 1e-9 for fewer, more in pairwise(most_bad))


@pytest.mark.parametrize("scores", [[], [np.nan, np.nan]])
def test_without_labels_nothing_is_known(scores: list[float]) -> None:
    lines = LinesBound.of(np.array(scores), np.zeros(len(scores)), np.arange(5.0), **PROMISE)
    assert [lines.precision(over) for over in (0, 1, 5)] == [0.0, 0.0, 0.0]
