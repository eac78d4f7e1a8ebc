"""Rules keep the same candidates of a pool whose orders are held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.selection import Pool, parse_selection
from rsft.selection.held import HeldPool
from rsft.types import Candidate, CandidateKey, Score

TEXTS = ["Good 1", "good 1", "Bad 2", "A longer one: 1", ""]
VALUES = [None, 0.0, 0.25, 0.5, 0.5, 1.0]
SELECTIONS: list[list[Any]] = [
    ["fit >= 0.25", {"top_k": {"k": 2, "by": "fit"}}],
    [{"best_of_n": {"n": 2, "by": "fit"}}],
    [{"quantile": {"share": 0.4, "by": "fit", "per": "prompt"}}, {"cap": 1}],
    [{"agreement": {"least": 0.4, "answer": "last_number", "majority": True}}],
    [{"balance": 3}, {"cap": 1}],
    [{"length_matched": {"bins": 2, "by": "fit"}}],
    ["no_duplicates", {"pareto": ["fit", "other"]}],
]


def pool_of(rows: list[tuple[int, int, Any, Any, bool]]) -> Pool:
    keys = [CandidateKey(1, f"p{prompt}", place, "g") for place, (prompt, *_) in enumerate(rows)]
    candidates = [
        Candidate(key, TEXTS[text], (1,), "stop" if whole else "length", 0.0, 0.0)
        for key, (_, text, _, _, whole) in zip(keys, rows, strict=True)
    ]

    def said(column: int) -> list[Score]:
        return [Score.failed("none") if row[column] is None else Score(row[column]) for row in rows]

    return Pool.of(candidates, {"fit": said(2), "other": said(3)})


@pytest.mark.parametrize("rules", SELECTIONS)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.integers(0, len(TEXTS) - 1),
            st.sampled_from(VALUES),
            st.sampled_from(VALUES),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_what_is_kept_is_the_same(rules: list[Any], rows: list[tuple[int, int, Any, Any, bool]]) -> None:
    pool = pool_of(rows)
    held = HeldPool.of_pool(pool)
    for line in ("fit >= 0", "fit >= 0.5", "fit >= 0"):  # the orders of the first decision serve the others
        selection = parse_selection([line, *rules])
        assert np.array_equal(selection.decide(held).by_N, selection.decide(pool).by_N)
