"""Sets of replies are measured on a random sample that stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from rsft.likeness import COMPARED, MEASURED, Replies
from rsft.selection import Pool

N = 30_000


def pool_of(count: int = N) -> Pool:
    numbers = np.arange(count, dtype=np.int32)
    prompts = [f"p{number}" for number in range(count // 10)]
    scores = {"long": (numbers % 20).astype(float), "one": np.ones(count), "failed": np.full(count, np.nan)}
    nothing: Any = None
    return Pool(prompts, numbers // 10, numbers % 10, np.ones(count, dtype=np.bool_), scores, nothing)


class Texts:
    """As many words as the place's remainder of 20, and one; and what was asked for."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, places: Any) -> Mapping[int, str]:
        self.read += places.tolist()
        return {place: " ".join(["word"] * (place % 20 + 1)) for place in places.tolist()}


def test_a_sample_is_measured_and_stays() -> None:
    texts, pool = Texts(), pool_of()
    replies = Replies(pool, texts)
    everyone = pool.whole_N
    short = pool.scores["long"] < 10
    whole, half = replies.likeness(everyone, short)
    assert (whole.words_of, whole.different_of) == (MEASURED, COMPARED)
    assert whole.words == pytest.approx(10.5, abs=4 * 5.8 / np.sqrt(MEASURED))
    assert half.words == pytest.approx(5.5, abs=4 * 2.9 / np.sqrt(MEASURED))
    assert len(texts.read) == len(set(texts.read)) < 2 * MEASURED
    before = len(texts.read)
    assert replies.likeness(everyone) == [whole]
    assert len(texts.read) == before + COMPARED, "words are counted once"
    assert Replies(pool_of(), Texts()).likeness(everyone) == [whole]
    few = replies.likeness(everyone & (pool.prompt_N < 3))[0]
    assert (few.words_of, few.different_of, few.words) == (30, 30, pytest.approx(10.5, abs=2))


def test_a_score_that_goes_with_length_is_found_out() -> None:
    pool = pool_of()
    replies = Replies(pool, Texts())
    replies.likeness(pool.whole_N)
    assert replies.correlations(pool.whole_N) == {"long": pytest.approx(1.0), "one": None, "failed": None}


def test_of_nothing_nothing_is_said() -> None:
    pool = pool_of(20)
    (said,) = Replies(pool, Texts()).likeness(np.zeros(20, dtype=np.bool_))
    assert (said.words, said.words_of, said.different, said.different_of) == (None, 0, None, 0)
