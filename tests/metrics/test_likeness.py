"""Sets of replies are measured on a random sample that stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from rsft.likeness import COMPARED, MEASURED, Replies, Sample
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


def sample_of(pool: Pool, chosen_N: Any) -> Sample:
    sample = Sample()
    sample.add(pool, chosen_N)
    return sample


def test_a_sample_is_measured_and_stays() -> None:
    texts, pool = Texts(), pool_of()
    replies = Replies(texts)
    everyone = sample_of(pool, pool.whole_N)
    short = sample_of(pool, pool.scores["long"] < 10)
    whole, half = replies.likeness(everyone, short)
    assert (whole.words_of, whole.different_of) == (MEASURED, COMPARED)
    assert whole.words == pytest.approx(10.5, abs=4 * 5.8 / np.sqrt(MEASURED))
    assert half.words == pytest.approx(5.5, abs=4 * 2.9 / np.sqrt(MEASURED))
    assert len(texts.read) == len(set(texts.read)) < 2 * MEASURED
    before = len(texts.read)
    assert replies.likeness(everyone) == [whole]
    assert len(texts.read) == before, "each is read once"
    assert Replies(Texts()).likeness(sample_of(pool_of(), pool.whole_N)) == [whole]
    few = replies.likeness(sample_of(pool, pool.prompt_N < 3))[0]
    assert (few.words_of, few.different_of, few.words) == (30, 30, pytest.approx(10.5, abs=2))


def test_a_score_that_goes_with_length_is_found_out() -> None:
    pool = pool_of()
    replies, everyone = Replies(Texts()), sample_of(pool, pool.whole_N)
    replies.likeness(everyone)
    assert replies.correlations(everyone) == {"long": pytest.approx(1.0), "one": None, "failed": None}


def test_of_nothing_nothing_is_said() -> None:
    pool = pool_of(20)
    (said,) = Replies(Texts()).likeness(sample_of(pool, np.zeros(20, dtype=np.bool_)))
    assert (said.words, said.words_of, said.different, said.different_of) == (None, 0, None, 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_is_the_same_however_it_was_gathered(seed: int) -> None:
    chance = np.random.default_rng(seed)
    pool = pool_of(9000)
    chosen = chance.random(len(pool)) < 0.7
    whole = sample_of(pool, chosen)
    sample, start = Sample(), 0
    for prompts in np.split(np.arange(900), np.sort(chance.integers(0, 900, 4))):
        own = np.isin(pool.prompt_N, prompts)
        first = int(prompts[0]) if len(prompts) else 0
        part = Pool(
            [pool.prompt_ids[prompt] for prompt in prompts],
            pool.prompt_N[own] - first,
            pool.sample_N[own],
            pool.whole_N[own],
            {name: values[own] for name, values in pool.scores.items()},
            pool.details,
        )
        sample.add(part, chosen[own], start)
        start += len(part)
    assert sample.places.tolist() == whole.places.tolist()
    assert all(np.array_equal(sample.scores[name], whole.scores[name], equal_nan=True) for name in pool.scores)
