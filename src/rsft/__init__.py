"""Rejection sampling fine-tuning of chat models: sample, score, select, train, and again.

`run` runs a recipe; the nouns are plain values that scorers and scripts work with. Importing this package loads no
heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsft.errors import RsftError, UserError
from rsft.types import (
    Candidate,
    CandidateKey,
    Decision,
    Interval,
    Message,
    Policy,
    Prompt,
    Reply,
    SamplingParams,
    Score,
)
from rsft.version import __version__

if TYPE_CHECKING:
    from rsft.config import Recipe
    from rsft.scorers import Scorer

__all__ = [
    "Candidate",
    "CandidateKey",
    "Decision",
    "Interval",
    "Message",
    "Policy",
    "Prompt",
    "Recipe",
    "Reply",
    "RsftError",
    "SamplingParams",
    "Score",
    "Scorer",
    "UserError",
    "__version__",
    "load_recipe",
    "run",
]


def load_recipe(name: str, *overrides: str) -> Recipe:
    """A recipe file, or a shipped recipe by its name, with overrides such as "sampling.candidates=4" or
    "relevant >= 0.6"."""
    from rsft.config import load_recipe as load

    return load(name, overrides)


def run(recipe: Recipe | str, *overrides: str) -> dict[str, Any]:
    """Run a recipe to its end, or go on where it was interrupted. Returns what `summary.json` holds."""
    from rsft.loop import run as run_loop

    return run_loop(load_recipe(recipe, *overrides) if isinstance(recipe, str) else recipe)


def __getattr__(name: str) -> Any:
    if name == "Recipe":
        from rsft.config import Recipe

        return Recipe
    if name == "Scorer":
        from rsft.scorers import Scorer

        return Scorer
    raise AttributeError(f"module 'rsft' has no attribute '{name}'")
