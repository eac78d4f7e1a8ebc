"""The pictures of docs/method.md are those of their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from documents import DOCS
from tools import pictures

IMAGES = DOCS / "images"


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_what_its_formulas_draw(name: str) -> None:
    drawn = pictures.PICTURES[name]().svg()
    assert (IMAGES / f"{name}.svg").read_text(encoding="utf-8") == drawn, "python -m tools.pictures docs/images"
    assert "prefers-color-scheme: dark" in drawn


def test_densities_and_means_are_those_of_drawn_scores() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(200_000, pictures.DRAWN))
    assert np.abs(scores.max(axis=1).mean() - pictures.mean_best_of(pictures.DRAWN)) < 0.01
    line = np.quantile(scores, 1 - 1 / pictures.DRAWN)
    assert np.abs(scores[scores > line].mean() - pictures.mean_above(1 / pictures.DRAWN)) < 0.01
    temperature = 0.6
    wide = np.linspace(-12, 12, 24_001)
    for density in (pictures.above(wide, 0.125), pictures.best_of(wide, 8), pictures.tilted(wide, temperature)):
        assert np.trapezoid(density, wide) == pytest.approx(1, abs=1e-3)


def test_divergences_are_those_of_the_densities() -> None:
    wide = np.linspace(-9, 9, 180_001)
    policy = np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)

    def divergence(density: np.ndarray) -> float:
        there = density > 0
        return float(np.trapezoid(np.where(there, density * np.log(np.where(there, density, 1) / policy), 0), wide))

    assert divergence(pictures.above(wide, 0.125)) == pytest.approx(pictures.divergence_above(0.125), abs=1e-3)
    assert divergence(pictures.best_of(wide, 8)) == pytest.approx(pictures.divergence_best_of(8), abs=1e-3)
    assert divergence(pictures.tilted(wide, 0.6)) == pytest.approx(1 / (2 * 0.6**2), abs=1e-3)


def test_how_much_a_prompt_counts_is_what_drawn_candidates_give() -> None:
    passed = np.random.default_rng(0).random((200_000, pictures.DRAWN)) < 0.3
    counts = passed.sum(axis=1)
    rate = np.array([0.3])
    assert pictures.accepted_of(rate, 8)[0] == pytest.approx(2.4)
    assert pictures.accepted_of(rate, 3)[0] == pytest.approx(np.minimum(counts, 3).mean(), abs=0.01)
    assert pictures.takes_part(rate)[0] == pytest.approx((counts > 0).mean(), abs=0.01)
