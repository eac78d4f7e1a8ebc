"""Drawing replies outside a run: from any model, or from a run's policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.engines.base import Engine, Request, stream_seed
from rsft.engines.local import LocalEngine
from rsft.errors import RecipeError, RunError, nearest
from rsft.models.network import Network
from rsft.models.references import resolve
from rsft.participants import LOGS, open_engine, student_of
from rsft.reading import handed_back
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.types import CandidateKey, Message, Policy, Prompt, SamplingParams


def sample_replies(
    source: str,
    *,
    text: str | None,
    prompt_id: str | None,
    iteration: int | None,
    system: str | None,
    candidates: int,
    params: SamplingParams,
    seed: int,
) -> dict[str, Any]:
    """Draw candidates for one prompt: `text` as the user's only turn, or the run's prompt `prompt_id`.

    `source` is a model reference or a run folder; of a run, `iteration` names the policy (0 is the base, None the best
    iteration). Raises a UserError for anything that is not there.
    """
    if (text is None) == (prompt_id is None):
        raise RecipeError("Say either what the user says (TEXT) or which prompt of the run to answer (--prompt ID).")
    run = Path(source)
    if (run / "recipe.yaml").is_file():
        recipe = saved_recipe(run)
        student = student_of(recipe)
        engine = open_engine(recipe.engine, student, run / LOGS)
        chosen = _policy(run, recipe, engine, iteration)
        model = student.folder.reference if student.is_here else chosen.hosted or recipe.model[0]
    else:
        if prompt_id is not None or iteration is not None:
            raise RecipeError(f"--prompt and --iteration need a run folder, and '{source}' is not one.")
        engine = LocalEngine(Network.load(resolve([source])))
        chosen, model = engine.base, engine.network.reference
    if prompt_id is not None:
        prompt = _stored_prompt(run, prompt_id)
    else:
        turns = [Message("system", system)] if system else []
        messages = (*turns, Message("user", str(text)))
        prompt = Prompt("typed", messages, messages)
    seeds = [stream_seed(seed, 0, prompt.id, index) for index in range(candidates)]
    requests = [
        Request(CandidateKey(0, prompt.id, index, "typed"), prompt, own, params, seeds[0])
        for index, own in enumerate(seeds)
    ]
    try:
        drawn = sorted(engine.sample(chosen, requests), key=lambda candidate: candidate.key)
    finally:
        engine.close()
    return {
        "model": model,
        "policy": chosen.hash,
        "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
        "replies": [
            {
                "text": c.text,
                "finish_reason": c.finish_reason,
                "why": c.why,
                "tokens": len(c.token_ids),
                "logprob": c.model_logprob,
            }
            for c in drawn
        ],
    }


def _policy(run: Path, recipe: Recipe, engine: Engine, iteration: int | None) -> Policy:
    with RunFolder.open(run, write=False) as folder:
        if iteration is None:
            iteration = handed_back(run)
        if iteration is None:
            trained_in = (i for i in range(1, recipe.loop.iterations + 1) if folder.policies.of(i, "policy"))
            iteration = max(trained_in, default=0)
        if iteration == 0:
            return engine.base
        trained = folder.policies.of(iteration, "policy")
        if trained is None:
            raise RunError(f"The run {run} has no policy of iteration {iteration} (yet). 0 is the base model.")
        return trained


def _stored_prompt(run: Path, prompt_id: str) -> Prompt:
    with RunFolder.open(run, write=False) as folder:
        prompts = {p.id: p for split in ("train", "heldout") for p in folder.load_prompts(split)}
    if prompt_id not in prompts:
        raise RunError(f"The run {run} has no prompt '{prompt_id}'.{nearest(prompt_id, prompts)}")
    return prompts[prompt_id]
