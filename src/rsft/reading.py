"""Reading a run, finished or not: how far it is, what became of its candidates, what its policies say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsft.errors import RunError
from rsft.selection import Pool, parse_selection
from rsft.setup import saved_recipe
from rsft.store import RunFolder
from rsft.types import Candidate, Decision, Prompt, Score


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


def decided_candidates(
    run: Path,
    *,
    accepted: bool | None = None,
    iteration: int | None = None,
    rule: str | None = None,
    prompt_id: str | None = None,
    arm: str = "policy",
    limit: int = 10,
) -> list[dict[str, Any]]:
    """Decided candidates with their prompt's last turn, facts, every score, and the rule that decided, in key order."""
    with RunFolder.open(run, write=False) as folder:
        decisions = folder.decisions(arm, iteration=iteration)
        wanted = [
            key
            for key, decision in sorted(decisions.items())
            if (accepted is None or decision.accepted == accepted)
            and (rule is None or decision.rule == rule)
            and (prompt_id is None or key.prompt_id == prompt_id)
        ][:limit]
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("train")}
        iterations = sorted({key.iteration for key in wanted})
        candidates = {c.key: c for i in iterations for c in folder.candidates(iteration=i)}
        scores = {key: said for i in iterations for key, said in folder.scores(iteration=i).items()}
    return [_shown(prompts[key.prompt_id], candidates[key], scores.get(key, {}), decisions[key]) for key in wanted]


def heldout_replies(
    run: Path,
    *,
    accepted: bool | None = None,
    iteration: int | None = None,
    rule: str | None = None,
    prompt_id: str | None = None,
    arm: str = "policy",
    limit: int = 10,
) -> list[dict[str, Any]]:
    """The greedy replies to held-out prompts of one iteration's policy (0: the base; None: the best), likewise.

    Their decisions are made anew, by the rules that judge a reply by itself. Raises RunError if there are none.
    """
    selection = parse_selection(saved_recipe(run).selection)
    with RunFolder.open(run, write=False) as folder:
        iteration = best_iteration(run, arm) if iteration is None else iteration
        policy = folder.policy(iteration, arm) if iteration else None
        wanted = policy.hash if policy else folder.ledger.meta("base")
        drawn_by = folder.ledger.generators()
        candidates = [
            candidate
            for candidate in folder.candidates(iteration=iteration)
            if (drawn_by[candidate.key.generator]["policy"], drawn_by[candidate.key.generator]["temperature"])
            == (wanted, 0)
        ]
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("heldout")}
        scores = folder.scores(iteration=iteration)
    candidates = [c for c in candidates if c.key.prompt_id in prompts]
    if not candidates:
        raise RunError(f"The run {run} has no held-out replies of iteration {iteration} ({arm}) yet.")
    names = {name: None for said in scores.values() for name in said}
    decisions = selection.judge(Pool.of(candidates, {n: [scores[c.key][n] for c in candidates] for n in names}))
    return [
        _shown(prompts[candidate.key.prompt_id], candidate, scores[candidate.key], decision)
        for candidate, decision in zip(candidates, decisions, strict=True)
        if (accepted is None or decision.accepted == accepted)
        and (rule is None or decision.rule == rule)
        and (prompt_id is None or candidate.key.prompt_id == prompt_id)
    ][:limit]


def best_iteration(run: Path, arm: str = "policy") -> int:
    """An arm's best iteration as the summary has it; 0, which is the base model, if there is none yet."""
    file = run / "summary.json"
    key = "best_iteration" if arm == "policy" else "best_control_iteration"
    return int(json.loads(file.read_text(encoding="utf-8")).get(key) or 0) if file.is_file() else 0


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
