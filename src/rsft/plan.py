"""What a run will do, said before it does it: counts, and upper bounds of tokens and disk."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsft import tuning
from rsft.budget import build_budget
from rsft.config import Recipe
from rsft.models.references import available
from rsft.models.shapes import linear_shapes, weight_shapes
from rsft.scorers import Scorer
from rsft.scorers.model import ModelScorer
from rsft.setup import Checked, Terms, check
from rsft.training.base import Trainer
from rsft.types import Prompt

# Measured on runs of the demo: a candidate's ids, text, scores and decisions in compressed Parquet.
_BYTES_PER_TOKEN = 12
_BYTES_PER_CANDIDATE = 120
# A token's rough length in characters, for prompts that no tokenizer has seen yet. Low, so that bounds stay bounds.
_CHARACTERS_PER_TOKEN = 2.5


def plan(recipe: Recipe) -> dict[str, Any]:
    """Check everything that can be checked without loading weights, and bound what the run will cost.

    Raises a UserError where the recipe or its prompts can't be used.
    """
    checked = check(recipe)
    sampling, evaluation = recipe.sampling, recipe.evaluation
    iterations, arms = recipe.loop.iterations, 1 + len(recipe.loop.arms)
    sampled_prompts = min(evaluation.sampled_prompts or len(checked.heldout), len(checked.heldout))
    trained = iterations * arms * (1 + len(recipe.loop.improve))
    per_iteration = [_candidates(terms, checked.train) for terms in checked.terms]
    greedy = len(checked.train) * iterations if "greedy" in recipe.baselines else 0
    train_candidates = sum(per_iteration) * arms + greedy + _tuning(checked)
    heldout_replies = (1 + iterations * arms) * (len(checked.heldout) + evaluation.samples * sampled_prompts)
    found = available(recipe.model)
    policy_bytes = _policy_bytes(checked.terms[0].trainer, found)
    tokens = (train_candidates + heldout_replies) * sampling.max_tokens
    return {
        "run": recipe.run,
        "run_exists": (Path(recipe.run) / "recipe.yaml").is_file(),
        "model": recipe.model,
        "model_found": found,
        "prompts": {"train": _lengths(checked.train), "heldout": _lengths(checked.heldout)},
        "iterations": iterations,
        "control": ", ".join(recipe.loop.control) or "none",
        "candidates_per_iteration": max(per_iteration),
        "budget": recipe.budget.allocate,
        "at_most": {
            "train_candidates": train_candidates,
            "heldout_replies": heldout_replies,
            "sampled_tokens": tokens,
            "candidates_mb": round(
                (tokens * _BYTES_PER_TOKEN + (train_candidates + heldout_replies) * _BYTES_PER_CANDIDATE) / 1e6, 1
            ),
            "policies": trained,
            "policies_mb": None if policy_bytes is None else round(policy_bytes * trained / 1e6, 1),
        },
        "scorers": {name: _described(scorer) for name, scorer in checked.scorers.items()},
        "selection": [str(rule) for rule in recipe.selection],
    }


def _candidates(terms: Terms, train: Sequence[Prompt]) -> int:
    """How many candidates an iteration draws at most."""
    budget = build_budget(terms.recipe.budget, terms.recipe.sampling, terms.selection, train)
    return min(sum(budget.most(p.id) for p in train), terms.recipe.budget.max_candidates or sys.maxsize)


def _tuning(checked: Checked) -> int:
    """How many candidates are drawn to tune temperatures, at most."""
    tuned = [terms.recipe for terms in checked.terms if terms.recipe.sampling.temperature == "tune"]
    tried = [len(tuning.temperatures(None if number == 0 else 1.0)) for number in range(len(tuned))]
    return sum(
        count * sum(tuning.tried_on(checked.train, recipe.sampling.candidates, recipe.seed).values())
        for count, recipe in zip(tried, tuned, strict=True)
    )


def _described(scorer: Scorer) -> str:
    """What the scorer says, and whether its model must still be had."""
    missing = isinstance(scorer, ModelScorer) and scorer.is_missing
    return scorer.description + (" (Its model is not on this disk yet.)" if missing else "")


def _policy_bytes(trainer: Trainer, model: str | None) -> int | None:
    """A trained policy's bytes on disk; unknown for a model that is not on this disk yet."""
    if trainer.trains == "hosted":
        return 0
    if model is None:
        return None
    shapes = weight_shapes(model)
    return trainer.policy_bytes(linear_shapes(shapes), sum(map(math.prod, shapes.values())))


def _lengths(prompts: list[Prompt]) -> dict[str, int]:
    characters = [sum(len(message.content) for message in prompt.messages) for prompt in prompts]
    longest = max(characters, default=0)
    return {
        "count": len(prompts),
        "longest_characters": longest,
        "longest_tokens_about": int(longest / _CHARACTERS_PER_TOKEN),
    }
