"""What is to be exported, and which policy and which decisions of the run that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from rsft import lineage
from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.errors import RecipeError, RunError, nearest
from rsft.reading import handed_back
from rsft.store import RunFolder
from rsft.types import Policy

ModelKind = Literal["trained", "adapter", "merged", "gguf", "none"]
DataKind = Literal["messages", "prompt-completion", "sharegpt", "openai", "dpo", "kto", "none"]

# What the hub takes for a licence.
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a run, and in which form. Raises RecipeError for what contradicts itself.

    `iteration`: the policy of this one, or else the one that the run hands back. `selection`: what a named set of
    decisions accepted, and the policy trained on it. `drawn_in`: only rows drawn in this iteration. `turns`: the
    conversation as the `model` read it, or as the `user` had it before the recipe's template. `plain`: the format's own
    columns alone. `pairs` and `by`: see `pairs.pairs_of`. `base`: the name by which others load the base.
    """

    model: ModelKind = "trained"
    data: DataKind = "messages"
    iteration: int | None = None
    selection: str | None = None
    drawn_in: int | None = None
    turns: Literal["model", "user"] = "model"
    plain: bool = False
    parquet: bool = False
    pairs: Literal["one", "all"] = "one"
    by: str | None = None
    base: str | None = None
    licence: str | None = None
    data_licence: str | None = None
    converter: Path | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("model", ModelKind), ("data", DataKind), ("turns", Literal["model", "user"])):
            _check(name, getattr(self, name), kinds)
        _check("pairs", self.pairs, Literal["one", "all"])
        if self.model == self.data == "none":
            raise RecipeError("With --model none and --data none nothing is left to export.")
        if self.iteration == 0:
            raise RecipeError("--iteration 0 is the base model, which was there before the run: export a policy.")
        if self.iteration is not None and self.selection is not None:
            raise RecipeError("--selection names a set of decisions, and the policy trained on it: no --iteration.")
        if self.data != "dpo" and (self.by is not None or self.pairs != "one"):
            raise RecipeError("--pairs and --by say how pairs are made: they go with --data dpo.")
        if self.by is not None and self.pairs == "all":
            raise RecipeError("--by chooses one pair of each prompt, and --pairs all takes all of them: give one.")
        if self.data == "openai" and self.parquet:
            raise RecipeError("OpenAI's format is JSON Lines: leave --parquet out.")
        for option, said in (("--license", self.licence), ("--data-license", self.data_licence)):
            if said is not None and not _LICENCE.fullmatch(said):
                raise RecipeError(
                    f"{option} is one of the hub's names, such as apache-2.0, mit or other; found '{said}'."
                )
        if self.converter is not None and self.model != "gguf":
            raise RecipeError("--converter makes GGUF: it goes with --model gguf.")

    @property
    def file(self) -> str:
        """What the file of rows is called."""
        return "train.parquet" if self.parquet else "train.jsonl"


def _check(name: str, said: str, kinds: Any) -> None:
    known = get_args(kinds)
    if said not in known:
        option = "--as" if name == "turns" else f"--{name}"
        raise RecipeError(f"{option} is one of {', '.join(known)}; found '{said}'.{nearest(said, known)}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A policy, the iteration that trained it, and what decided on the rows: by iteration, a set of decisions. No
    policy where rows alone are wanted."""

    policy: Policy | None
    iteration: int | None
    decided: Mapping[int, str]


def choose(folder: RunFolder, recipe: Recipe, wanted: Wanted) -> Chosen:
    """Raises RunError where the run has no such thing (yet)."""
    if wanted.selection is not None:
        chosen = _of_selection(folder, wanted.selection)
    elif wanted.model == "none" and wanted.drawn_in is not None and wanted.iteration is None:
        chosen = Chosen(None, None, dict.fromkeys(folder.decided_iterations("policy"), "policy"))
    else:
        iteration = _iteration(folder, recipe, wanted.iteration)
        chosen = Chosen(folder.policies.of(iteration, "policy"), iteration, learnt(folder, recipe, iteration))
    if wanted.drawn_in is not None:
        if wanted.drawn_in not in chosen.decided:
            there = ", ".join(map(str, chosen.decided)) or "none"
            raise RunError(f"--drawn-in {wanted.drawn_in}: the rows are of iterations {there}.")
        kept = {wanted.drawn_in: chosen.decided[wanted.drawn_in]}
        chosen = Chosen(chosen.policy, chosen.iteration, kept)
    if wanted.model != "none" and chosen.policy is None:
        raise RunError(
            f"No policy was trained on '{wanted.selection}' yet: rsft train {folder.path} --selection "
            f"{wanted.selection}. For its rows alone: --model none."
        )
    return chosen


def learnt(folder: RunFolder, recipe: Recipe, iteration: int) -> dict[int, str]:
    """The iterations whose accepted replies the policy of an iteration has learnt, itself or by the policies that it
    goes on from, with the set that decided on each. (Further rounds of training see no other replies, only fewer.)"""
    found: set[int] = set()
    while iteration > 0:
        said = at_iteration(recipe, iteration).training
        here = set(range(1, iteration + 1)) if said.accumulates else {iteration}
        found |= here - lineage.taken_back(folder, iteration)
        iteration = 0 if said.start_from == "base" else lineage.set_out_from(folder, iteration)
    return dict.fromkeys(sorted(found), "policy")


def _iteration(folder: RunFolder, recipe: Recipe, named: int | None) -> int:
    if named is None:
        named = handed_back(folder.path)
        if named == 0:
            raise RunError(
                f"The run {folder.path} hands back its base model, since no policy is better: there is nothing new to "
                "export. Name the policy that you want all the same: --iteration N."
            )
    trained = [i for i in range(1, recipe.loop.iterations + 1) if folder.policies.of(i, "policy") is not None]
    if named is None and trained:
        return trained[-1]
    if named is None or named not in trained:
        there = ", ".join(map(str, trained)) or "none yet"
        which = "policy" if named is None else f"policy of iteration {named}"
        more = "" if trained else " What an iteration accepted: --model none --drawn-in 1."
        raise RunError(f"The run {folder.path} has no {which}. There are those of iterations {there}.{more}")
    return named


def _of_selection(folder: RunFolder, name: str) -> Chosen:
    known = folder.selections()
    if name not in known:
        there = ", ".join(known) or f"none yet; rsft select {folder.path} --save NAME keeps one"
        raise RunError(f"The run {folder.path} has no set of decisions named '{name}'. There are: {there}.")
    decided = folder.decided_iterations(name)
    policy = folder.policies.of(max(decided), name)
    return Chosen(policy, max(decided), dict.fromkeys(decided, name))


def as_said(wanted: Wanted) -> dict[str, Any]:
    """What differs from the defaults, as it is written down."""
    said = {one.name: getattr(wanted, one.name) for one in fields(Wanted)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in said.items() if value is not None}
