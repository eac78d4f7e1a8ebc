"""What was measured in a run, read again from its folder: no model is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rsft.config import Recipe
from rsft.evaluation import Evaluation, Measured
from rsft.selection import Pool, Selection
from rsft.setup import measuring_rules
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Score


def evaluated(
    folder: RunFolder,
    recipe: Recipe,
    iteration: int,
    arm: str,
    rules: Selection | None = None,
    prompt_ids: Collection[str] | None = None,
) -> Evaluation | None:
    """An arm's evaluation in an iteration (0: the base's, of the arm `policy`); None if it was not measured (yet), or
    some of what was measured got damaged since. Of some prompts, only what may hold them is read.

    Whether replies pass is judged by the rules; by default the recipe's own.
    """
    note = folder.stage_done(iteration, arm, "evaluate")
    if note is None:
        return None
    generators = {name for name, law in folder.ledger.generators().items() if law["policy"] == note["of_policy"]}
    heldout = folder.prompt_ids("heldout")
    of_policy: dict[str, Any] = {
        "iteration": int(note["drawn_in"]),
        "generators": generators,
        "prompt_ids": heldout if prompt_ids is None else prompt_ids,
    }
    sampled_of = set(heldout[: recipe.evaluation.sampled_prompts])
    # There may be more samples than were asked for, where a run took over from another.
    replies = [
        candidate
        for candidate in folder.candidates(**of_policy)
        if candidate.key.sample_index <= (recipe.evaluation.samples if candidate.key.prompt_id in sampled_of else 0)
    ]
    measured = _measured(recipe, rules or measuring_rules(recipe), replies, folder.own_scores(**of_policy))
    if measured is None or (prompt_ids is None and len(measured) != note["replies"]):
        return None
    return Evaluation.of(measured)


def _measured(
    recipe: Recipe,
    rules: Selection,
    replies: Sequence[Candidate],
    scores: Mapping[CandidateKey, Mapping[str, Score]],
) -> list[Measured] | None:
    """The replies as measured; None where one lacks a score."""
    found = []
    own = {one.key: _of(recipe.scorers, scores.get(one.key, {})) for one in replies}
    if any(len(said) < len(recipe.scorers) for said in own.values()):
        return None
    decisions = rules.judge(Pool.scored(replies, own)) if replies else ()
    for candidate, decision in zip(replies, decisions, strict=True):
        looking_on = _of(recipe.evaluation.scorers, scores[candidate.key])
        if candidate.key.sample_index == 0 and len(looking_on) < len(recipe.evaluation.scorers):
            return None
        found.append(Measured(candidate, own[candidate.key], decision, looking_on))
    return found


def _of(names: Collection[str], scores: Mapping[str, Score]) -> dict[str, Score]:
    return {name: score for name, score in scores.items() if name in names}
