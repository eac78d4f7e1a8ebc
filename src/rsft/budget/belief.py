"""What is believed of acceptance rates before and while candidates are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, digamma, expit, logit

from rsft.budget.tally import Tally

# How strongly the regression is held back, in prompts' worth of evidence for each standardised feature; how strongly
# alike prompts agree before anything was seen, in candidates' worth (log-normal about that).
_RIDGE = 4.0
_USUAL_STRENGTH = 4.0
_LEAST_RATE, _MOST_RATE = 0.003, 0.99
_LEAST_STRENGTH, _MOST_STRENGTH = 0.3, 40.0


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

    A beta-binomial regression on the prompts' features (standardised, ridge), by maximum likelihood (empirical Bayes).
    The likelihood of c accepted among n, B(α + c, β + n − c) / B(α, β), does not depend on what rule ended the
    sampling, so stopping early biases nothing here; pooled candidates would count hard prompts, which have more, too
    often.
    """
    accepted_P = np.array([tally.accepted for tally in tallies], dtype=np.float64)
    candidates_P = np.array([tally.candidates for tally in tallies], dtype=np.float64)
    design_PF = np.column_stack([np.ones(len(tallies)), features_PF])
    start = np.zeros(design_PF.shape[1] + 1)
    start[0] = logit(np.clip(accepted_P.sum() / max(1.0, candidates_P.sum()), _LEAST_RATE, _MOST_RATE))
    start[-1] = np.log(_USUAL_STRENGTH)
    bounds = [(None, None)] * (len(start) - 1) + [(np.log(_LEAST_STRENGTH), np.log(_MOST_STRENGTH))]
    found = minimize(_misfit, start, (accepted_P, candidates_P, design_PF), jac=True, method="L-BFGS-B", bounds=bounds)
    mean_P = np.clip(expit(design_PF @ found.x[:-1]), _LEAST_RATE, _MOST_RATE)
    return [Belief(float(mean), float(np.exp(found.x[-1]))) for mean in mean_P]


def _misfit(weights: Any, accepted_P: Any, candidates_P: Any, design_PF: Any) -> tuple[float, Any]:
    """The penalised negative log-likelihood at weights and a log strength, and its slope there."""
    strength = np.exp(weights[-1])
    mean_P = np.clip(expit(design_PF @ weights[:-1]), 1e-6, 1 - 1e-6)
    alpha_P, beta_P = mean_P * strength, (1 - mean_P) * strength
    likelihood_P = betaln(alpha_P + accepted_P, beta_P + candidates_P - accepted_P) - betaln(alpha_P, beta_P)
    both_P = digamma(strength + candidates_P) - digamma(strength)
    by_alpha_P = digamma(alpha_P + accepted_P) - digamma(alpha_P) - both_P
    by_beta_P = digamma(beta_P + candidates_P - accepted_P) - digamma(beta_P) - both_P
    by_odds_P = strength * (by_alpha_P - by_beta_P) * mean_P * (1 - mean_P)
    penalty_F = np.full(len(weights) - 1, _RIDGE)
    penalty_F[0] = 0.1
    off = weights[-1] - np.log(_USUAL_STRENGTH)
    value = -likelihood_P.sum() + 0.5 * (penalty_F @ weights[:-1] ** 2 + off**2)
    slope = np.append(
        penalty_F * weights[:-1] - design_PF.T @ by_odds_P,
        off - strength * (mean_P @ by_alpha_P + (1 - mean_P) @ by_beta_P),
    )
    return float(value), slope


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
