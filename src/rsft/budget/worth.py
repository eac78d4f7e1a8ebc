"""When one more candidate is worth its price: optimal stopping of prompts whose acceptance rates are only believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.budget.belief import Belief

_ROUNDS = 8
_HALVINGS = 14
_DEAREST_FIRST = 1000.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Aim:
    """What sampling is for: up to `stop_at` accepted replies of each prompt for as few tokens as can be, with
    `coverage` times as many prompts solved as `even` candidates of each would solve.

    Whether to go on is decided at each of the `looks`, numbers of candidates, the last of which is the most that a
    prompt gets: so candidates are drawn in groups, side by side. Every prompt gets the first group.
    """

    @property
    def most(self) -> int:
        return self.looks[-1]

    stop_at: int
    coverage: float
    even: int
    looks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """Prompts that are believed alike: their rates, what a candidate costs, and how many they are."""

    belief: Belief
    cost: float = 1.0
    count: int = 1


def worth_going(kinds: Sequence[Kind], aim: Aim) -> Any:
    """Whether to draw once more: (H, most + 1, stop_at + 1) bools by kind, and by candidates and accepted so far.

    Of all ways to stop that solve as many prompts as the aim asks, the one with the most accepted replies for each
    candidate's cost (Dinkelbach 1967: where the best of accepted − price × cost is 0, the price is that ratio). A
    prompt's first accepted reply counts for as much more as it takes to solve enough.
    """
    even_H = np.array([kind.belief.solved_by(aim.even) for kind in kinds])
    count_H = np.array([kind.count for kind in kinds])
    needed = aim.coverage * float(even_H @ count_H) * (1 - _ROUNDING)
    price, found = 0.0, None
    for _ in range(_ROUNDS):
        low, high = 0.0, _DEAREST_FIRST
        found = _stopping(kinds, price, high, aim)
        for _ in range(_HALVINGS):
            first = (low + high) / 2 if low else high / 30
            tried = _stopping(kinds, price, first, aim)
            if tried.solved_H @ count_H >= needed:
                high, found = first, tried
            else:
                low = first
        price = float(found.accepted_H @ count_H) / max(1e-9, float(found.cost_H @ count_H))
    assert found is not None
    return found.go_HNA


@dataclass(frozen=True, slots=True)
class _Stopping:
    """A way to stop, and what is expected of it for each kind: accepted replies, cost, and the share solved."""

    go_HNA: Any
    accepted_H: Any
    cost_H: Any
    solved_H: Any


def _stopping(kinds: Sequence[Kind], price: float, first: float, aim: Aim) -> _Stopping:
    """The best way to stop at a price for each unit of cost, where a first accepted reply is worth `first` more.

    Backward induction: a state's value is the better of stopping and of drawing once more, accepted with the chance
    that is believed after what was seen.
    """
    alpha_H1 = np.array([[kind.belief.alpha] for kind in kinds])
    beta_H1 = np.array([[kind.belief.beta] for kind in kinds])
    cost_H1 = np.array([[kind.cost] for kind in kinds])
    accepted_A = np.arange(aim.stop_at + 1)
    shape = (len(kinds), aim.stop_at + 1)
    go_HNA = np.zeros((len(kinds), aim.most + 1, aim.stop_at + 1), dtype=np.bool_)
    value_HA, more_HA, spent_HA = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    solved_HA = np.tile((accepted_A > 0).astype(np.float64), (len(kinds), 1))
    gain_A = np.where(accepted_A == 0, 1 + first, 1.0)
    for n in range(aim.most - 1, -1, -1):
        rate_HA = (alpha_H1 + accepted_A) / (alpha_H1 + beta_H1 + n)
        going_HA = _expected(rate_HA, value_HA, gain_A) - price * cost_H1
        go_HA = (going_HA > 0) | (n not in aim.looks)
        go_HA[:, -1] = False
        value_HA = np.where(go_HA, going_HA, 0.0)
        more_HA = np.where(go_HA, _expected(rate_HA, more_HA, 1.0), 0.0)
        spent_HA = np.where(go_HA, _expected(rate_HA, spent_HA, 0.0) + cost_H1, 0.0)
        solved_HA = np.where(go_HA, _expected(rate_HA, solved_HA, 0.0), accepted_A > 0)
        go_HNA[:, n] = go_HA
    return _Stopping(go_HNA, more_HA[:, 0], spent_HA[:, 0], solved_HA[:, 0])


def _expected(rate_HA: Any, later_HA: Any, gain_A: Any) -> Any:
    """A value one candidate earlier: with the gain and one accepted reply more, or unchanged."""
    more_HA = np.concatenate([later_HA[:, 1:], later_HA[:, -1:]], axis=1)
    return rate_HA * (gain_A + more_HA) + (1 - rate_HA) * later_HA
