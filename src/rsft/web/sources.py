"""Whose replies of an iteration can be looked at, as an address names them."""

from __future__ import annotations

from dataclasses import dataclass

from rsft.errors import RunError
from rsft.store import ARMS, RunFolder, round_of

_HELD_OUT = "held-out"


@dataclass(frozen=True, slots=True)
class Source:
    """Replies to train prompts on which a set of decisions was made (an arm's, or one that somebody named), or to
    held-out prompts, by which an arm was measured. In iteration 0, the base is the policy."""

    name: str = "policy"
    heldout: bool = False

    @classmethod
    def of(cls, said: str) -> Source:
        """From an address: nothing for the policy's candidates, a name, or `held-out:` and an arm."""
        kind, colon, arm = said.partition(":")
        return cls(arm or "policy", heldout=True) if kind == _HELD_OUT and colon else cls(said or "policy")

    @property
    def address(self) -> str:
        if self.heldout:
            return f"{_HELD_OUT}:{self.name}"
        return "" if self == OWN else self.name

    def title(self, iteration: int) -> str:
        """As a person chooses it."""
        if self.heldout:
            return f"{_HELD_OUT}: {'base' if iteration == 0 else self.name}"
        if iteration == 0:
            return "base, on train prompts"
        arm, number = round_of(self.name)
        if arm not in ARMS:
            return f"set: {self.name}"
        return arm if number == 1 else f"{arm}, round {number}"


OWN = Source()
"""The policy's candidates, by whose decisions a run goes on."""


def sources_of(folder: RunFolder) -> dict[int, list[Source]]:
    """What there is of each iteration: candidates first, then what was measured, then sets that somebody named."""
    found = {(iteration, Source(name)) for iteration, name in folder.decision_sets()}
    found |= {(iteration, Source(arm, heldout=True)) for iteration, arm in folder.done("evaluate")}
    # What is drawn and not decided yet, and what the base was compared or measured by.
    drawn = {iteration for iteration in folder.drawn_iterations() if iteration > 0}
    drawn |= {iteration for stage in ("compare", "standardise") for iteration, _ in folder.done(stage)}
    found |= {(iteration, OWN) for iteration in drawn}
    ordered = sorted(found, key=lambda one: (one[0], one[1].title(1).startswith("set"), one[1].heldout, _arm(one[1])))
    return {iteration: [one for at, one in ordered if at == iteration] for iteration in sorted({i for i, _ in found})}


def nearest(folder: RunFolder, iteration: int, source: Source) -> Source:
    """The source itself, or what an iteration without it has instead. Raises RunError for an iteration without any."""
    there = sources_of(folder)
    if iteration not in there:
        said = ", ".join(map(str, there)) or "none yet"
        raise RunError(f"The run {folder.path} has no replies of iteration {iteration} yet. It has those of {said}.")
    return source if source in there[iteration] else there[iteration][0]


def check(folder: RunFolder, iteration: int, source: Source) -> None:
    """Raise RunError, with what there is instead, for replies that the run does not have (yet)."""
    if nearest(folder, iteration, source) != source:
        titles = ", ".join(f"'{one.title(iteration)}'" for one in sources_of(folder)[iteration])
        raise RunError(
            f"Iteration {iteration} of the run {folder.path} has no '{source.title(iteration)}' (yet). It has {titles}."
        )


def _arm(source: Source) -> tuple[int, str]:
    return (ARMS.index(source.name) if source.name in ARMS else len(ARMS), source.name)
