"""Reading a run, finished or not: how far it is, and what became of its candidates."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsft.setup import saved_recipe
from rsft.store import RunFolder
from rsft.types import Score


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
        return [
            {
                **asdict(key),
                "asked": prompts[key.prompt_id].messages[-1].content,
                "reply": candidates[key].text,
                "finish_reason": candidates[key].finish_reason,
                "logprob": candidates[key].logprob,
                "scores": {name: _said(score) for name, score in scores.get(key, {}).items()},
                **asdict(decisions[key]),
            }
            for key in wanted
        ]


def _said(score: Score) -> dict[str, Any]:
    if score.value is None:
        return {"failed": score.failure}
    return {"value": score.value, "explanation": score.explanation}
