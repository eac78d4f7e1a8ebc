"""What is believed of acceptance rates before and while candidates are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaln, expit

from rsft.budget.tally import Tally

# How strongly the regression is held back, in candidates' worth of evidence for each standardised feature.
_RIDGE = 3.0
_NEWTON_STEPS = 20
# Strengths to choose from, in candidates, and how sure one is of them before anything was seen: log-normal about 4.
_STRENGTHS = np.exp(np.linspace(np.log(0.5), np.log(32.0), 13))
_USUAL_STRENGTH = 4.0
_LEAST_RATE, _MOST_RATE = 0.003, 0.99


@dataclass(frozen=True, slots=True)
class Belief:
    """What a prompt's acceptance rate may be: Beta(mean × strength, (1 − mean) × strength)."""

    mean: float
    strength: float

    @property
    def alpha(self) -> float:
        return self.mean * self.strength

    @property
    def beta(self) -> float:
        return (1 - self.mean) * self.strength

    def after(self, tally: Tally) -> float:
        """The rate that is expected after a prompt fared so."""
        return (self.alpha + tally.accepted) / (self.strength + tally.candidates)

    def solved_by(self, candidates: int) -> float:
        """The chance that so many candidates bring an accepted reply."""
        return 1.0 - float(np.exp(betaln(self.alpha, self.beta + candidates) - betaln(self.alpha, self.beta)))


def beliefs(tallies: Sequence[Tally], features_PF: Any) -> list[Belief]:
    """What to believe of each of P prompts before its own candidates are looked at, from how all of them fared.

    Means by a logistic regression on the prompts' features (standardised, ridge), the strength by the likelihood of
    what was seen around them (empirical Bayes for the beta-binomial). A likelihood does not depend on what rule ended
    the sampling, so stopping at the k-th accepted reply biases nothing here.
    """
    accepted_P = np.array([tally.accepted for tally in tallies], dtype=np.float64)
    candidates_P = np.array([tally.candidates for tally in tallies], dtype=np.float64)
    mean_P = np.clip(_regressed(accepted_P, candidates_P, np.asarray(features_PF)), _LEAST_RATE, _MOST_RATE)
    alpha_SP = _STRENGTHS[:, None] * mean_P
    beta_SP = _STRENGTHS[:, None] * (1 - mean_P)
    seen_SP = betaln(alpha_SP + accepted_P, beta_SP + candidates_P - accepted_P) - betaln(alpha_SP, beta_SP)
    likelihood_S = seen_SP.sum(axis=1) - 0.5 * np.log(_STRENGTHS / _USUAL_STRENGTH) ** 2
    strength = float(_STRENGTHS[np.argmax(likelihood_S)])
    return [Belief(float(mean), strength) for mean in mean_P]


def _regressed(accepted_P: Any, candidates_P: Any, features_PF: Any) -> Any:
    """Rates by penalised logistic regression (Newton's method)."""
    design_PF = np.column_stack([np.ones(len(accepted_P)), features_PF])
    penalty_FF = np.diag([0.1] + [_RIDGE] * (design_PF.shape[1] - 1))
    weights_F = np.zeros(design_PF.shape[1])
    for _ in range(_NEWTON_STEPS):
        rate_P = expit(design_PF @ weights_F)
        slope_F = design_PF.T @ (accepted_P - candidates_P * rate_P) - penalty_FF @ weights_F
        curve_FF = (design_PF.T * (candidates_P * rate_P * (1 - rate_P))) @ design_PF + penalty_FF
        weights_F += np.linalg.solve(curve_FF, slope_F)
    return expit(design_PF @ weights_F)


def standardised(columns: Sequence[Sequence[float | None]], prompts: int) -> Any:
    """Columns as features, (P, F): mean 0, deviation 1; what is not known is 0. Constant ones are left out."""
    kept = []
    for column in columns:
        values_P = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        known_P = ~np.isnan(values_P)
        if known_P.any() and np.std(values_P[known_P]) > 0:
            values_P = (values_P - values_P[known_P].mean()) / values_P[known_P].std()
            kept.append(np.where(known_P, values_P, 0.0))
    return np.column_stack(kept) if kept else np.zeros((prompts, 0))
