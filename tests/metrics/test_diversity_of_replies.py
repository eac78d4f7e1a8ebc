"""What an evaluation says of how different its replies are."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.evaluation import Evaluation, Measured
from rsft.types import Candidate, CandidateKey, Decision

PASSED = Decision(True, "accepted")


def numbers(texts: list[str], backwards: bool = False) -> dict[str, Any]:
    measured = {
        f"p{i}": Measured(Candidate(CandidateKey(0, f"p{i}", 0, "g"), text, (1,), "stop", 0.0, 0.0), {}, PASSED)
        for i, text in enumerate(texts)
    }
    return Evaluation(dict(list(measured.items())[:: -1 if backwards else 1]), {}).numbers()


def test_equal_and_different_replies() -> None:
    same, different = numbers(["We open at nine."] * 3), numbers(["We open.", "三点见", "No rooms"])
    assert (same["self_bleu"], same["vendi"]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert (different["self_bleu"], different["vendi"]) == (0.0, pytest.approx(3.0))


def test_replies_without_words_say_nothing() -> None:
    said = numbers(["", "a b"])
    assert (said["self_bleu"], said["vendi"]) == (None, pytest.approx(1.0))
    assert numbers([""])["vendi"] == 0.0


def test_of_many_replies_the_same_part_is_compared() -> None:
    texts = [f"only{i}" for i in range(450)]
    assert numbers(texts)["vendi"] == pytest.approx(200)
    mixed = [f"word{i % 37}" for i in range(450)]
    assert numbers(mixed)["vendi"] == pytest.approx(numbers(mixed, backwards=True)["vendi"])
