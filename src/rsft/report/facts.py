"""All that a report tells of, read from a run folder: the summary, and columns; never all candidates as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft.cluster.rolls import Worked
from rsft.config import Recipe
from rsft.distributions import distributions
from rsft.listing import state_of
from rsft.pairing import Outcome, outcomes
from rsft.parts import StoredParts
from rsft.reading import summary_of, workers_of
from rsft.report.closest import closest_calls
from rsft.report.difficulty import Groups, heldout_by_difficulty, train_by_difficulty
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.surroundings import surroundings_of


@dataclass(frozen=True, slots=True)
class Facts:
    """A run, finished or not. Of one that was not measured yet the summary is empty, and lists are."""

    name: str
    recipe: Recipe
    recipe_text: str
    state: str
    summary: Mapping[str, Any]
    candidates: int
    distributions: Sequence[Mapping[str, Any]]
    train_difficulty: Groups
    heldout_difficulty: Groups
    accepted: Sequence[Mapping[str, Any]]
    rejected: Sequence[Mapping[str, Any]]
    generators: Mapping[str, Mapping[str, Any]]
    surroundings: Sequence[Mapping[str, Any]]
    compared: Sequence[Outcome]
    """What people said of pairs of held-out replies."""
    worked: Worked
    """Who worked on it on a cluster."""

    @classmethod
    def read(cls, run: Path, replies: int) -> Facts:
        """With so many accepted and as many rejected `replies`. Raises RunError for what is no run folder."""
        recipe = saved_recipe(run)
        summary = summary_of(run)
        with RunFolder.open(run, write=False) as folder:
            decided = folder.decided_iterations("policy")
            # The last iteration, which as a rule is all that replies are shown of, is read once.
            last = StoredParts(folder, decided[-1], folder.noted_scorers()) if decided else None
            accepted, rejected = closest_calls(folder, recipe, replies, last)
            return cls(
                name=run.absolute().name,
                recipe=recipe,
                recipe_text=(run / "recipe.yaml").read_text(encoding="utf-8"),
                state=state_of(folder, summary),
                summary=summary,
                candidates=folder.count("candidates"),
                distributions=distributions(run, last),
                train_difficulty=train_by_difficulty(folder),
                heldout_difficulty=heldout_by_difficulty(folder, recipe),
                accepted=accepted,
                rejected=rejected,
                generators=folder.ledger.generators(),
                surroundings=surroundings_of(folder),
                compared=outcomes(folder),
                worked=workers_of(run, at_work=folder.writer_pid() is not None),
            )

    @property
    def is_finished(self) -> bool:
        return bool(self.summary.get("finished"))

    @property
    def iterations(self) -> Sequence[Mapping[str, Any]]:
        """What the summary has of each iteration that has begun."""
        return list(self.summary.get("iterations", ()))

    @property
    def base(self) -> Mapping[str, Any]:
        return self.summary.get("base") or {}

    @property
    def measured(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """The base and each iteration whose policy was measured on held-out prompts, by name."""
        named = [("base", self.base), *((str(part["iteration"]), part) for part in self.iterations)]
        return [(name, part) for name, part in named if "heldout_acceptance" in part]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best iteration, if one was measured."""
        best = self.summary.get("best_iteration")
        return next((part for part in self.iterations if part["iteration"] == best), None)

    @property
    def model(self) -> str:
        """The model by its name on the hub or disk: the first that the recipe names."""
        return self.recipe.model[0]


def arm_of(part: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    """What an arm did in an iteration of the summary; empty if nothing."""
    return part if arm == "policy" else part.get(arm) or {}


def at(said: Any, path: Sequence[str]) -> Any:
    """What the summary has at the end of a path; None where that breaks off."""
    for key in path:
        said = (said or {}).get(key)
    return said


def row_name(name: str) -> str:
    """What a row or column of an iteration is called."""
    return name if name == "base" else f"iteration {name}"
