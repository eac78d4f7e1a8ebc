"""reference_overlap against its formula."""

from __future__ import annotations

import pytest

from rsft.scorers import build_scorers
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "When?"),)


def said(text: str, **fields: object) -> Score:
    (score,) = build_scorers({"s": "reference_overlap"})["s"].score([Reply(Prompt("p", TURNS, TURNS, fields), text)])
    assert isinstance(score, Score)
    return score


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("It opens at nine.", "it OPENS at nine", 1.0),
        ("It opens at ten", "It closes at nine", 2 * 2 / 8),
        ("at at at", "at nine", 2 * 1 / 5),  # a word counts as often as both have it
        ("Hello", "Goodbye", 0.0),
        ("", "Goodbye", 0.0),
        ("It opens at nine", ["No idea", "opens at nine"], 2 * 3 / 7),
    ],
)
def test_the_f1_of_words(text: str, reference: object, expected: float) -> None:
    assert said(text, reference=reference).value == pytest.approx(expected)


@pytest.mark.parametrize("fields", [{}, {"reference": 7}, {"reference": []}, {"reference": ""}])
def test_without_a_reference_it_fails(fields: dict[str, object]) -> None:
    assert said("Hello", **fields).failure is not None
