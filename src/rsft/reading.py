"""Reading a run, finished or not: how far it is, what became of its candidates, what its policies say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsft.budget import Tally, lists_of_prompts, tallies_of
from rsft.errors import RunError
from rsft.selection import Pool, parse_selection
from rsft.setup import saved_recipe
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Decision, Prompt, Score


def status(run: Path) -> dict[str, Any]:
    """Each stage of the run with its note, and whether somebody is at work on it. Raises RunError."""
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        return {
            "run": str(run),
            "finished": folder.finished,
            "writer": folder.writer_pid(),
            "iterations": recipe.loop.iterations,
            "candidates": len(folder.candidate_keys()),
            "stages": folder.stages(),
        }


@dataclass(frozen=True, slots=True)
class Filter:
    """Which replies to show; None shows all."""

    accepted: bool | None = None
    iteration: int | None = None
    rule: str | None = None
    prompt_id: str | None = None
    arm: str = "policy"
    limit: int = 10

    def wants(self, key: CandidateKey, decision: Decision) -> bool:
        return (
            self.accepted in (None, decision.accepted)
            and self.rule in (None, decision.rule)
            and self.prompt_id in (None, key.prompt_id)
        )


def decided_candidates(run: Path, wanted: Filter) -> list[dict[str, Any]]:
    """Decided candidates with their prompt's last turn, every score, and the rule that decided, in key order."""
    with RunFolder.open(run, write=False) as folder:
        decisions = folder.decisions(wanted.arm, iteration=wanted.iteration)
        keys = [key for key, decision in sorted(decisions.items()) if wanted.wants(key, decision)][: wanted.limit]
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("train")}
        iterations = sorted({key.iteration for key in keys})
        candidates = {c.key: c for i in iterations for c in folder.candidates(iteration=i)}
        scores = {key: said for i in iterations for key, said in folder.own_scores(iteration=i).items()}
    return [_shown(prompts[key.prompt_id], candidates[key], scores.get(key, {}), decisions[key]) for key in keys]


def prompts_of(run: Path, iteration: int | None) -> list[dict[str, Any]]:
    """How each train prompt fared in an iteration (None: the last with decisions): the hardest first.

    Its state is unsolved, deferred (unsolved with fewer candidates than the recipe's number: it made way for others),
    always solved, resting (always solved the iteration before), or solved. Raises RunError if there is none.
    """
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        decided = folder.decisions("policy", iteration=iteration)
        last = max((key.iteration for key in decided), default=None) if iteration is None else iteration
        decided = {key: decision for key, decision in decided.items() if key.iteration == last}
        if last is None or not decided:
            raise RunError(f"The run {run} has decided on no candidates {_of(iteration)}yet.")
        drawn = [candidate for candidate in folder.candidates(iteration=last) if candidate.key in decided]
        tallies = tallies_of(decided, drawn)
        listed = lists_of_prompts(tallies, recipe.sampling.candidates)
        states = {prompt_id: state.replace("_", " ") for state, ids in listed.items() for prompt_id in ids}
        rows = [
            {
                "prompt_id": prompt.id,
                "iteration": last,
                "state": states.get(prompt.id, "solved" if prompt.id in tallies else "resting"),
                "candidates": tallies.get(prompt.id, Tally()).candidates,
                "accepted": tallies.get(prompt.id, Tally()).accepted,
                "tokens": tallies.get(prompt.id, Tally()).tokens,
                "asked": prompt.messages[-1].content,
            }
            for prompt in folder.load_prompts("train")
        ]
    return sorted(rows, key=lambda row: (row["accepted"] / max(1, row["candidates"]), -row["candidates"]))


def _of(iteration: int | None) -> str:
    return "" if iteration is None else f"of iteration {iteration} "


def heldout_replies(run: Path, wanted: Filter) -> list[dict[str, Any]]:
    """The greedy replies to held-out prompts of one iteration's policy (0: the base; None: the best), likewise.

    Their decisions are made anew, by the rules that judge a reply by itself. Raises RunError if there are none.
    """
    selection = parse_selection(saved_recipe(run).selection)
    iteration = best_iteration(run, wanted.arm) if wanted.iteration is None else wanted.iteration
    with RunFolder.open(run, write=False) as folder:
        policy = folder.policy(iteration, wanted.arm) if iteration else None
        policy_hash = policy.hash if policy else folder.ledger.meta("base")
        greedy = {
            generator
            for generator, said in folder.ledger.generators().items()
            if said["policy"] == policy_hash and said["temperature"] == 0
        }
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("heldout")}
        drawn = folder.candidates(iteration=iteration)
        scores = folder.own_scores(iteration=iteration)
    replies = [c for c in drawn if c.key.generator in greedy and c.key.prompt_id in prompts]
    if not replies:
        raise RunError(f"The run {run} has no held-out replies of iteration {iteration} ({wanted.arm}) yet.")
    decisions = selection.judge(Pool.scored(replies, scores))
    return [
        _shown(prompts[candidate.key.prompt_id], candidate, scores[candidate.key], decision)
        for candidate, decision in zip(replies, decisions, strict=True)
        if wanted.wants(candidate.key, decision)
    ][: wanted.limit]


def best_iteration(run: Path, arm: str = "policy") -> int:
    """An arm's best iteration as the summary has it; 0, which is the base model, if there is none yet."""
    return int(_summary(run).get("best_iteration" if arm == "policy" else "best_control_iteration") or 0)


def handed_back(run: Path) -> int | None:
    """The iteration whose policy the run hands back, so far: 0 is the base. None where nothing was measured yet."""
    found: int | None = _summary(run).get("handed_back")
    return found


def _summary(run: Path) -> dict[str, Any]:
    """The summary as it is now; empty where there is none yet."""
    file = run / "summary.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _shown(prompt: Prompt, candidate: Candidate, scores: Mapping[str, Score], decision: Decision) -> dict[str, Any]:
    return {
        **asdict(candidate.key),
        "asked": prompt.messages[-1].content,
        "reply": candidate.text,
        "finish_reason": candidate.finish_reason,
        "logprob": candidate.logprob,
        "scores": {name: _said(score) for name, score in scores.items()},
        **asdict(decision),
    }


def _said(score: Score) -> dict[str, Any]:
    if score.value is None:
        return {"failed": score.failure}
    return {"value": score.value, "explanation": score.explanation}
