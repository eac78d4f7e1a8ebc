"""Tuning the sampling temperature: the one at which most different replies are accepted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rsft.config.recipe import USUAL_TEMPERATURE
from rsft.selection import Selection
from rsft.selection.better import BetterThan
from rsft.selection.certified import Certified
from rsft.selection.pool import Pool, stable_hash
from rsft.types import Prompt

# On so many prompts, with so many candidates each at most.
_PROMPTS, _CANDIDATES = 16, 4
_FIRST = (0.3, 0.5, 0.7, 0.9, 1.1)
_STEP, _LEAST = 0.2, 0.1


def temperatures(before: float | None) -> list[float]:
    """What is tried: a wide grid at first, then what was found `before` and its neighbours."""
    if before is None:
        return list(_FIRST)
    near = (before - _STEP, before, before + _STEP)
    return sorted({round(max(_LEAST, one), 2) for one in near})


def tried_on(prompts: Sequence[Prompt], candidates: int, seed: int) -> dict[str, int]:
    """How many candidates of which prompts are drawn at each temperature."""
    chosen = sorted((prompt.id for prompt in prompts), key=lambda prompt_id: stable_hash("tune", seed, prompt_id))
    return dict.fromkeys(chosen[:_PROMPTS], min(candidates, _CANDIDATES))


def accepted_in(selection: Selection) -> Callable[[Pool], int]:
    """How many of a pool's candidates the rules leave, but for those that need labels or baselines."""
    rules = [rule for rule in selection.rules if not isinstance(rule, Certified | BetterThan)]
    return Selection(rules).accepts


def best_of(tried: Sequence[dict[str, Any]], before: float | None) -> float:
    """The temperature at which most were `accepted`; of equals the one nearest to the one before."""
    middle = USUAL_TEMPERATURE if before is None else before
    best = max(tried, key=lambda one: (one["accepted"], -abs(one["temperature"] - middle), -one["temperature"]))
    return float(best["temperature"])
