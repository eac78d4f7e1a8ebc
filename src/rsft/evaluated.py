"""What was measured in a run, read again from its folder: no model is asked."""

from __future__ import annotations

import sys

from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.evaluation import Evaluation, Measured
from rsft.selection import Pool, parse_selection
from rsft.store import RunFolder
from rsft.types import Candidate


def evaluated(folder: RunFolder, recipe: Recipe, iteration: int, arm: str) -> Evaluation | None:
    """An arm's evaluation in an iteration (0: the base's, of the arm `policy`); None if it was not measured (yet).

    Whether replies pass is judged by the recipe's rules, which may be others than the run's own.
    """
    note = folder.stage_done(iteration, arm, "evaluate")
    if note is None:
        return None
    generators = {name for name, law in folder.ledger.generators().items() if law["policy"] == note["of_policy"]}
    heldout = {prompt.id for prompt in folder.load_prompts("heldout")}
    drawn = [
        candidate
        for candidate in folder.candidates(iteration=int(note["drawn_in"]), generators=generators)
        if candidate.key.prompt_id in heldout
    ]
    replies = _measured(folder, recipe, drawn)
    sampled: dict[str, list[Measured]] = {}
    for reply in replies:
        if reply.candidate.key.sample_index:
            sampled.setdefault(reply.candidate.key.prompt_id, []).append(reply)
    # Sample 0 is the greedy reply.
    greedy = {one.candidate.key.prompt_id: one for one in replies if not one.candidate.key.sample_index}
    return Evaluation(greedy, sampled)


def _measured(folder: RunFolder, recipe: Recipe, replies: list[Candidate]) -> list[Measured]:
    if not replies:
        return []
    iterations = {candidate.key.iteration for candidate in replies}
    scores = {key: said for i in iterations for key, said in folder.own_scores(iteration=i).items()}
    own, looking_on = (
        {key: {name: score for name, score in said.items() if name in names} for key, said in scores.items()}
        for names in (recipe.scorers, recipe.evaluation.scorers)
    )
    selection = parse_selection(at_iteration(recipe, sys.maxsize).selection)
    decisions = selection.judge(Pool.scored(replies, own))
    return [
        Measured(candidate, own[candidate.key], decision.accepted, looking_on[candidate.key])
        for candidate, decision in zip(replies, decisions, strict=True)
    ]
