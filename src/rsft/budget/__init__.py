"""How many candidates each prompt gets."""

from rsft.budget.budget import Budget, Even, Round
from rsft.budget.build import build_budget, rest
from rsft.budget.past import Past, lists_of_prompts, past_of, tallies_of
from rsft.budget.tally import Tally

__all__ = [
    "Budget",
    "Even",
    "Past",
    "Round",
    "Tally",
    "build_budget",
    "lists_of_prompts",
    "past_of",
    "rest",
    "tallies_of",
]
