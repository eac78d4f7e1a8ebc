"""What rows become before they are trained on: which tokens are read, who sees whom, and what is learnt."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.engines.base import Request, stream_seed
from rsft.engines.local import LocalEngine
from rsft.errors import RecipeError
from rsft.models.chat import ChatTokenizer
from rsft.models.packing import Pack, packs
from rsft.participants import student_of
from rsft.setup import check
from rsft.store import RunFolder
from rsft.training.base import Accepted
from rsft.training.sft import SftTraining, training_rows
from rsft.types import CandidateKey, Prompt

_REPLIES = 3


def preview(recipe: Recipe, prompts: int) -> dict[str, Any]:
    """The packs of the replies to a few of the recipe's conversations.

    The replies are what the run accepted last, if there is a run; else what the base model says, whatever it be worth.
    Raises RecipeError for a trainer that makes no packs.
    """
    checked = check(recipe)
    if not isinstance(checked.terms[0].trainer, SftTraining):
        raise RecipeError(f"The trainer '{recipe.training.type}' makes no packs: there is nothing to preview.")
    network = student_of(recipe).network
    chosen = _accepted(Path(recipe.run), checked.train)
    origin = "accepted in the run" if chosen else "drawn from the base model just now, not selected"
    chosen = chosen or _drawn(recipe, LocalEngine(network), checked.train[:prompts])
    few = list(dict.fromkeys(prompt.id for prompt, _ in chosen))[:prompts]
    chosen = [(prompt, candidate) for prompt, candidate in chosen if prompt.id in few]
    cut = [(prompt, candidate) for prompt, candidate in chosen if candidate.finish_reason == "length"]
    rows = training_rows(network.chat, [one for one in chosen if one not in cut])
    found = packs(rows, checked.terms[0].trainer.pack_tokens) if rows else []
    return {
        "replies": origin,
        "rows": [{"conversation": len(row.prompt_ids), "reply": len(row.reply_ids)} for row in rows],
        "row_tokens": sum(len(row.read_ids) for row in rows),
        "read_tokens": sum(len(pack.ids_N) for pack in found),
        "packs": [_shown(pack, network.chat) for pack in found],
        "cut": [{"prompt": prompt.id, "reply": candidate.text} for prompt, candidate in cut],
    }


def _accepted(run: Path, prompts: list[Prompt]) -> list[Accepted]:
    """What the run's last selection accepted."""
    if not (run / "recipe.yaml").is_file():
        return []
    known = {prompt.id: prompt for prompt in prompts}
    with RunFolder.open(run, write=False) as folder:
        decided = folder.decisions("policy")
        last = max((key.iteration for key in decided), default=0)
        candidates = {candidate.key: candidate for candidate in folder.candidates(iteration=last)}
    kept = sorted(key for key, decision in decided.items() if decision.accepted and key.iteration == last)
    return [(known[key.prompt_id], candidates[key]) for key in kept if key.prompt_id in known]


def _drawn(recipe: Recipe, engine: LocalEngine, prompts: list[Prompt]) -> list[Accepted]:
    known = {prompt.id: prompt for prompt in prompts}
    requests = [
        Request(
            CandidateKey(0, prompt.id, index, "preview"),
            prompt,
            stream_seed(recipe.seed, 0, prompt.id, index),
            recipe.sampling.law(),
        )
        for prompt in prompts
        for index in range(_REPLIES)
    ]
    drawn = sorted(engine.sample(engine.base, requests), key=lambda candidate: candidate.key)
    return [(known[candidate.key.prompt_id], candidate) for candidate in drawn if candidate.token_ids]


def _shown(pack: Pack, chat: ChatTokenizer) -> dict[str, Any]:
    """A pack's stretches, each with its blocks of tokens, and behind these what is learnt but not read: rows' ends."""
    ids = pack.ids_N.tolist()
    learnt = dict.fromkeys(zip(pack.sources_T.tolist(), pack.targets_T.tolist(), strict=True))
    starts = pack.starts
    blocks = [
        (number, first, last)
        for number, stretch in enumerate(pack.stretches)
        for first, last in pairwise(starts[number] + place for place in (0, *accumulate(stretch.blocks)))
    ]
    follows = {place: place - 1 for place in range(len(ids))}
    for number, first, _ in blocks:
        before = pack.stretches[number].before
        follows[first] = starts[before[-1] + 1] - 1 if before else -1
    read = {(follows[place], ids[place]) for place in range(len(ids))}
    ends: dict[int, list[int]] = {}
    for source, target in learnt:
        if (source, target) not in read:
            ends.setdefault(source, []).append(target)

    def token(token_id: int, *, learnt: bool, read: bool) -> dict[str, Any]:
        return {"text": chat.tokenizer.decode([token_id]), "learnt": learnt, "read": read}

    def block(first: int, last: int) -> list[dict[str, Any]]:
        tokens = []
        for place in range(first, last):
            tokens.append(token(ids[place], learnt=(follows[place], ids[place]) in learnt, read=True))
            tokens += [token(target, learnt=True, read=False) for target in ends.get(place, ())]
        return tokens

    return {
        "tokens": len(ids),
        "stretches": [
            {
                "first": starts[number],
                "tokens": stretch.tokens,
                "sees": list(stretch.before),
                "blocks": [block(first, last) for one, first, last in blocks if one == number],
            }
            for number, stretch in enumerate(pack.stretches)
        ],
    }
