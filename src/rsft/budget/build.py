"""From a recipe's words to a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsft.budget.budget import Allocated, Budget, Capped, Even, Worth, looks
from rsft.budget.past import Past, features
from rsft.budget.worth import Aim
from rsft.config.recipe import BudgetSection, SamplingSection
from rsft.errors import RecipeError
from rsft.selection import Selection
from rsft.selection.pool import stable_hash
from rsft.types import Prompt


def build_budget(
    said: BudgetSection,
    sampling: SamplingSection,
    selection: Selection,
    prompts: Sequence[Prompt] = (),
    past: Mapping[str, Past] | None = None,
    resting: frozenset[str] = frozenset(),
) -> Budget:
    """The recipe's budget for one iteration's prompts, those that rest left out.

    Raises RecipeError where it asks for more accepted replies than the selection lets through.
    """
    asked = [prompt for prompt in prompts if prompt.id not in resting]
    ids = tuple(prompt.id for prompt in asked)
    stop_at = _stop_at(said, selection)
    most = said.most or _usual_most(said, sampling, selection)
    budget: Budget
    if said.allocate == "even" or selection.ranks:
        budget = Even(dict.fromkeys(ids, said.most or sampling.candidates), stop_at, said.defer_after)
    elif said.allocate == "worth":
        aim = Aim(stop_at or most, said.coverage, sampling.candidates, looks(sampling.candidates, most))
        budget = Worth(ids, features(asked, past or {}), aim)
    else:
        total = len(ids) * sampling.candidates
        budget = Allocated(ids, features(asked, past or {}), said.allocate, total, most, stop_at)
    if said.max_candidates is None and said.max_tokens is None:
        return budget
    order = {prompt_id: place for place, prompt_id in enumerate(sorted(ids, key=stable_hash))}
    return Capped(budget, said.max_candidates, said.max_tokens, sampling.max_tokens, order, spend=most)


def rest(past: Mapping[str, Past], iteration: int, prompts: int) -> frozenset[str]:
    """The prompts that were always solved in the iteration before: they sit this one out, unless that were all."""
    resting = frozenset(p for p, one in past.items() if one.iteration == iteration - 1 and one.tally.always_solved)
    return resting if len(resting) < prompts else frozenset()


def _stop_at(said: BudgetSection, selection: Selection) -> int | None:
    """How many accepted replies are enough of a prompt; None where more are never in vain."""
    most = selection.most_of_a_prompt
    if said.stop_at_accepted == "auto":
        return None if selection.ranks else most
    weighing = next((rule.name for rule in selection.rules if rule.weighs_all), None)
    if said.stop_at_accepted is not None and weighing is not None:
        raise RecipeError(
            f"budget.stop_at_accepted is {said.stop_at_accepted}, and the rule '{weighing}' weighs all candidates of a "
            "prompt: it can't tell of the first few which will be accepted. Leave stop_at_accepted out."
        )
    if isinstance(said.stop_at_accepted, int) and most is not None and said.stop_at_accepted > most:
        raise RecipeError(
            f"budget.stop_at_accepted is {said.stop_at_accepted}, and the selection accepts at most {most} of a "
            "prompt: no prompt would ever have enough. Lower it, or leave it out."
        )
    return said.stop_at_accepted


def _usual_most(said: BudgetSection, sampling: SamplingSection, selection: Selection) -> int:
    if said.allocate == "even" or selection.ranks or sampling.temperature == 0:
        return sampling.candidates
    return sampling.candidates * (2 if said.allocate == "worth" else 4)
