"""What a run takes over from another one: candidates that it would draw all the same, their scores, and policies."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.errors import RunError
from rsft.saved import saved_recipe
from rsft.store import RunFolder, ScoreRow
from rsft.training.base import Accepted, TrainingResult
from rsft.types import Policy, Prompt

_FROM = "forked_from"


def begin_fork(new: RunFolder, old: Path) -> None:
    """Note that a run which is to begin takes over from another. Raises RunError where it has begun otherwise."""
    if new.path.resolve() == old.resolve():
        raise RunError(f"A run can't take over from itself: name another folder than {old} for it (--set run=...).")
    saved_recipe(old)
    noted = new.ledger.meta(_FROM)
    if noted is None and (new.path / "recipe.yaml").is_file():
        raise RunError(f"{new.path} holds a run that began by itself: name another folder (--set run=...).")
    if noted not in (None, str(old.absolute())):
        raise RunError(f"{new.path} holds a run that takes over from {noted}, not from {old}.")
    new.ledger.set_meta(_FROM, str(old.absolute()))


def free_beside(run: Path) -> Path:
    """A name for a fork: the run's with the next number that is free."""
    number = 2
    while (path := run.with_name(f"{run.name}-{number}")).exists():
        number += 1
    return path


class Fork:
    """The run that another one takes over from.

    A candidate is taken over if it would be drawn just so: from the same policy by the same law, for a prompt that is
    the same in every field, with the same seed (which a greedy one does not depend on). What draws is part of a
    candidate's key, so that nothing else can be looked up. A policy is taken over if the training would be the same.
    """

    def __init__(self, new: RunFolder, old: RunFolder, prompts: Mapping[str, Prompt], same_seed: bool) -> None:
        self._new, self._old = new, old
        before = [prompt for split in ("train", "heldout") for prompt in old.load_prompts(split)]
        self._same = {prompt.id for prompt in before if prompts.get(prompt.id) == prompt}
        self._laws = old.ledger.generators()
        self._same_seed = same_seed

    @classmethod
    @contextlib.contextmanager
    def open(cls, new: RunFolder, recipe: Recipe, prompts: Mapping[str, Prompt]) -> Iterator[Fork | None]:
        """The run that this one takes over from; None if there is none, or none any more. Raises RunError for one that
        is damaged."""
        noted = new.ledger.meta(_FROM)
        if noted is None or not (Path(noted) / "recipe.yaml").is_file():
            yield None
            return
        with RunFolder.open(Path(noted), write=False) as old:
            if not old.is_whole:
                # What is copied gets a checksum of its own, and would pass for whole from then on.
                raise RunError(
                    f"The run {noted}, from which this one takes over, is damaged: rsft resume {noted} first."
                )
            yield cls(new, old, prompts, saved_recipe(old.path).seed == recipe.seed)

    def take_over(
        self,
        iteration: int,
        generators: Collection[str],
        prompt_ids: Collection[str],
        fingerprints: Mapping[str, str],
    ) -> None:
        """Commit the candidates of these prompts, by these generators, that are valid and not there yet, with scores by
        these scorers, and add what was said of them by labellers."""
        wanted = {g for g in generators if g in self._laws and (self._same_seed or self._laws[g]["temperature"] == 0)}
        if not wanted:
            return
        same = [prompt_id for prompt_id in prompt_ids if prompt_id in self._same]
        there = self._new.candidate_keys(iteration=iteration, prompt_ids=prompt_ids)
        found = self._old.candidates(iteration=iteration, generators=wanted, prompt_ids=same)
        candidates = [candidate for candidate in found if candidate.key not in there]
        scores = self._old.scores(iteration=iteration, generators=wanted, prompt_ids=same, fingerprints=fingerprints)
        rows = [
            ScoreRow(candidate.key, name, fingerprints[name], score)
            for candidate in candidates
            for name, score in scores.get(candidate.key, {}).items()
        ]
        self._new.commit(candidates=candidates, scores=rows, known_scores="skip")
        there |= {candidate.key for candidate in candidates}
        known = {(label.key, label.labeller) for label in self._new.ledger.labels()}
        labels = self._old.labels(iteration=iteration)
        self._new.add_labels([one for one in labels if one.key in there and (one.key, one.labeller) not in known])

    def training(self, identity: str, folder: Path) -> TrainingResult | None:
        """What came of a training that was this very one, its weights copied to a folder; None if there was none. What
        a host keeps stays there, and only its name is taken over."""
        for stage in self._old.stages():
            if stage["stage"] == "train" and (stage["info"] or {}).get("identity") == identity:
                return self._copied(stage["iteration"], stage["arm"], folder)
        return None

    def _copied(self, iteration: int, arm: str, folder: Path) -> TrainingResult | None:
        policy = self._old.policies.trained(iteration, arm)
        source = self._old.policies.weights(policy) if policy else None
        log = self._old.path / "iterations" / str(iteration) / arm / "training.json"
        if policy is not None and policy.hosted is not None:
            return TrainingResult(Policy(policy.hash, hosted=policy.hosted), _log(log))
        if policy is None or source is None:
            return None  # it has no weights of its own, or somebody removed them
        aside = folder.with_name(folder.name + ".part")
        for left in (aside, folder):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(source, aside)
        aside.rename(folder)
        kind = "adapter" if policy.adapter else "weights"
        return TrainingResult(Policy(policy.hash, **{kind: str(folder)}), _log(log))


def _log(file: Path) -> tuple[dict[str, Any], ...]:
    """What a training logged."""
    return tuple(json.loads(file.read_text(encoding="utf-8"))["log"])


def training_identity(recipe: Recipe, start: Policy, rows: Sequence[Accepted]) -> str:
    """What tells a training from any other: how, from where on, and on which replies to which conversations."""
    learnt = [(prompt.messages, candidate.token_ids or candidate.text) for prompt, candidate in rows]
    said = [recipe.training, recipe.dtype, recipe.seed, start.hash, learnt]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
