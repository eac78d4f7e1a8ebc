"""How many candidates each prompt gets."""

from rsft.budget.budget import Budget, Even, OneRound, Round
from rsft.budget.build import build_budget, rest
from rsft.budget.past import Past, lists_of_prompts
from rsft.budget.tally import Tally

__all__ = [
    "Budget",
    "Even",
    "OneRound",
    "Past",
    "Round",
    "Tally",
    "build_budget",
    "lists_of_prompts",
    "rest",
]
