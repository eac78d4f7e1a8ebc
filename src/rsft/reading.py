"""Reading a run, finished or not: how far it is, what became of its candidates, what its policies say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsft.cluster.rolls import Worked, read_rolls
from rsft.decided import first_decided
from rsft.errors import RunError
from rsft.evaluated import evaluated
from rsft.ids import Ids
from rsft.participants import LOGS
from rsft.parts import StoredParts
from rsft.saved import saved_recipe
from rsft.selection.pool import Places
from rsft.store import RunFolder
from rsft.stored import stored_lengths
from rsft.types import Candidate, CandidateKey, Decision, Prompt, Score


def status(run: Path) -> dict[str, Any]:
    """Each stage of the run with its note, whether somebody is at work on it, and who works on a cluster. Raises
    RunError."""
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        writer = folder.writer_pid()
        worked = workers_of(run, at_work=writer is not None)
        return {
            "run": str(run),
            "finished": folder.finished,
            "writer": writer,
            "iterations": recipe.loop.iterations,
            "candidates": folder.count("candidates"),
            "stages": folder.stages(),
            "workers": list(worked.workers),
            "overtaken": worked.overtaken,
        }


def workers_of(run: Path, *, at_work: bool) -> Worked:
    """Who works on the run on a cluster, or did; `at_work` says whether somebody is."""
    return read_rolls(run / LOGS, at_work=at_work)


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
    only = {name: [text] for name, text in (("rule", wanted.rule), ("prompt_id", wanted.prompt_id)) if text is not None}
    found: list[dict[str, Any]] = []
    with RunFolder.open(run, write=False) as folder:
        iterations = folder.decided_iterations(wanted.arm) if wanted.iteration is None else [wanted.iteration]
        for iteration in iterations:
            left = wanted.limit - len(found)
            decided = first_decided(folder, iteration, wanted.arm, left, accepted=wanted.accepted, only=only)
            ids = {key.prompt_id for key in decided}
            prompts = {prompt.id: prompt for prompt in folder.load_prompts("train", ids)}
            candidates = {c.key: c for c in folder.candidates(iteration=iteration, prompt_ids=ids)}
            scores = folder.own_scores(iteration=iteration, prompt_ids=ids)
            found += [
                shown(prompts[key.prompt_id], candidates[key], scores.get(key, {}), decision)
                for key, decision in decided.items()
            ]
            if len(found) == wanted.limit:
                break
    return found


@dataclass(frozen=True, slots=True)
class PromptsFared:
    """How the train prompts fared in an iteration: how many in which way, and one row for each, the hardest first."""

    iteration: int
    prompts: int
    states: Mapping[str, int]
    rows: list[dict[str, Any]]


_STATES = ("solved", "unsolved", "deferred", "always solved", "resting")


def prompts_of(run: Path, iteration: int | None, limit: int | None = None) -> PromptsFared:
    """How each train prompt fared in an iteration (None: the last with decisions); with rows of the first `limit` only.

    Its state is unsolved, deferred (unsolved with fewer candidates than the recipe's number: it made way for others),
    always solved, resting (always solved the iteration before), or solved. Raises RunError if there is none.
    """
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        decided = folder.decided_iterations("policy")
        last = max(decided, default=0) if iteration is None else iteration
        if last not in decided:
            raise RunError(f"The run {run} has decided on no candidates {_of(iteration)}yet.")
        ids = Ids.of_train(folder)
        candidates_P, accepted_P, tokens_P = _fared(folder, last, len(ids))
        none_P = accepted_P == 0
        many_P = candidates_P >= recipe.sampling.candidates
        always_P = (accepted_P == candidates_P) & (candidates_P >= 2)
        state_P = np.select([candidates_P == 0, none_P & many_P, none_P, always_P], [4, 1, 2, 3], 0)
        order = np.lexsort((-candidates_P, accepted_P / np.maximum(1, candidates_P)))[:limit]
        prompt_ids = ids.take(order)
        last_turns = folder.last_turns("train", None if limit is None else set(prompt_ids))
        asked = dict(last_turns)
        rows = [
            {
                "prompt_id": prompt_id,
                "iteration": last,
                "state": _STATES[state],
                "candidates": candidates,
                "accepted": accepted,
                "tokens": tokens,
                "asked": asked[prompt_id],
            }
            for prompt_id, state, candidates, accepted, tokens in zip(
                prompt_ids,
                *(column[order].tolist() for column in (state_P, candidates_P, accepted_P, tokens_P)),
                strict=True,
            )
        ]
    counts = zip(_STATES, np.bincount(state_P, minlength=len(_STATES)).tolist(), strict=True)
    return PromptsFared(last, len(ids), {state: count for state, count in counts if count}, rows)


def _fared(folder: RunFolder, iteration: int, prompts: int) -> tuple[Places, Places, Places]:
    """(P,) each: of the train prompts how many candidates they had by what was decided in the end, how many were
    accepted, and their tokens."""
    stored = StoredParts(folder, iteration, {})
    lengths = stored.joined(np.int32, 0, stored_lengths(folder, iteration, stored.rows_of))
    columns = np.zeros((3, stored.prompts), dtype=np.int64)
    for number, part in enumerate(stored):
        own, count = stored.numbered(number).number_P, len(part.pool.prompt_ids)
        columns[0, own] += np.bincount(part.pool.prompt_N, minlength=count)
        columns[1, own] += part.pool.counts(part.accepted_N)
        tokens_P = np.bincount(part.pool.prompt_N, weights=lengths.column(number), minlength=count)
        columns[2, own] += tokens_P.astype(np.int64)
    candidates_P, accepted_P, tokens_P = columns[:, :prompts]
    return candidates_P, accepted_P, tokens_P


def _of(iteration: int | None) -> str:
    return "" if iteration is None else f"of iteration {iteration} "


def heldout_replies(run: Path, wanted: Filter) -> list[dict[str, Any]]:
    """The greedy replies to held-out prompts of one iteration's policy (0: the base; None: the best), likewise.

    Their decisions are made anew, by the rules that judge a reply by itself. Raises RunError if there are none.
    """
    recipe = saved_recipe(run)
    iteration = best_iteration(run, wanted.arm) if wanted.iteration is None else wanted.iteration
    with RunFolder.open(run, write=False) as folder:
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("heldout")}
        measured = evaluated(folder, recipe, iteration, wanted.arm)
    if measured is None:
        raise RunError(f"The run {run} has no held-out replies of iteration {iteration} ({wanted.arm}) yet.")
    return [
        shown(prompts[prompt_id], reply.candidate, reply.all_scores, reply.decision)
        for prompt_id, reply in measured.greedy.items()
        if wanted.wants(reply.candidate.key, reply.decision)
    ][: wanted.limit]


def best_iteration(run: Path, arm: str = "policy") -> int:
    """An arm's best iteration as the summary has it; 0, which is the base model, if there is none yet."""
    return int(summary_of(run).get("best_iteration" if arm == "policy" else "best_control_iteration") or 0)


def handed_back(run: Path) -> int | None:
    """The iteration whose policy the run hands back, so far: 0 is the base. None where nothing was measured yet."""
    found: int | None = summary_of(run).get("handed_back")
    return found


def summary_of(run: Path) -> dict[str, Any]:
    """The summary as it is now; empty where there is none yet. Raises RunError for one that is none."""
    file = run / "summary.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{file} can't be read as a summary: {error}. Remove it, and have it written again: rsft resume {run}"
        ) from None


def shown(prompt: Prompt, candidate: Candidate, scores: Mapping[str, Score], decision: Decision) -> dict[str, Any]:
    """A reply with all that is known of it, ready for JSON."""
    return {
        **asdict(candidate.key),
        "asked": prompt.messages[-1].content,
        "reply": candidate.text,
        "finish_reason": candidate.finish_reason,
        "logprob": candidate.logprob,
        "retokenised": candidate.retokenised,
        "scores": {name: _said(score) for name, score in scores.items()},
        **asdict(decision),
    }


def _said(score: Score) -> dict[str, Any]:
    if score.value is None:
        return {"failed": score.failure}
    return {"value": score.value, "explanation": score.explanation}
