"""Pairs of replies to be compared: what two policies of a run say to the same held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rsft.errors import RecipeError, RunError, nearest
from rsft.saved import saved_recipe
from rsft.selection.pool import stable_hash
from rsft.store import BASE, RunFolder, policy_name
from rsft.types import Candidate, CandidateKey, Preference, Prompt


@dataclass(frozen=True, slots=True)
class Side:
    """A policy whose replies to held-out prompts were measured: `base`, or the arm and the iteration that trained it
    (`policy@2`, `control@2`). Its replies were drawn in that iteration, or in an earlier one that had the same
    policy."""

    name: str
    iteration: int
    arm: str
    policy: str
    drawn_in: int

    @property
    def in_words(self) -> str:
        return BASE if self.name == BASE else f"{self.arm} of iteration {self.iteration}"


def sides(folder: RunFolder) -> dict[str, Side]:
    """The policies that can be compared, by name, in the order in which they were measured. Raises RunError where there
    are not two."""
    if not folder.prompt_ids("heldout"):
        raise RunError(
            f"The run {folder.path} has no held-out prompts, and replies are compared on these: begin another run with "
            "some (prompts.heldout)."
        )
    found = measured(folder)
    if not found:
        raise RunError(
            f"The run {folder.path} has measured no policy on held-out prompts yet, and such replies are compared. "
            f"Wait until it has (rsft status {folder.path}), or go on with it: rsft resume {folder.path}."
        )
    if len({side.policy for side in found.values()}) < 2:
        raise RunError(
            f"The run {folder.path} has measured one policy only ({', '.join(found)}), and two are compared. Wait for "
            f"the next one (rsft status {folder.path}), or go on with it: rsft resume {folder.path}."
        )
    return found


def measured(folder: RunFolder) -> dict[str, Side]:
    """The policies whose replies to held-out prompts are there, by name, in the order in which they were measured."""
    found = {}
    for iteration, arm in folder.done("evaluate"):
        note = folder.stage_done(iteration, arm, "evaluate") or {}
        name = policy_name(iteration, arm)
        found[name] = Side(name, iteration, arm, note["of_policy"], int(note["drawn_in"]))
    return found


def rank(side: Side) -> tuple[bool, bool, int]:
    """What a comparison is about comes before what it is held against: policies, the last one first, then other arms,
    then the base."""
    return side.name == BASE, side.arm != "policy", -side.iteration


@dataclass(frozen=True, slots=True)
class Pair:
    """The replies of two policies to one held-out prompt."""

    prompt: Prompt
    first: Candidate
    second: Candidate

    @property
    def keys(self) -> tuple[CandidateKey, CandidateKey]:
        return self.first.key, self.second.key

    @property
    def equal(self) -> bool:
        """Whether both say the same, word for word; white space at the ends aside."""
        return self.first.text.strip() == self.second.text.strip()


class Pairs:
    """The greedy replies of two policies of a run to the held-out prompts that both answered.

    `order` holds a pair for each such prompt. The order hangs on hashes alone, so that the first so many are a random
    sample of the prompts; it is another one for other policies, so that who compares several does not meet the same
    reply to a prompt again soon. Where either reply could not be drawn there is no pair. Nothing here reads the folder
    after it is made. Raises a UserError for sides that can't be compared.
    """

    def __init__(self, folder: RunFolder, one: str, other: str) -> None:
        known = sides(folder)
        for name in (one, other):
            if name not in known:
                raise RecipeError(
                    f"The run has no replies of '{name}' to compare.{nearest(name, known)} It has {', '.join(known)}."
                )
        self.one, self.other = known[one], known[other]
        if self.one.policy == self.other.policy:
            raise RecipeError(f"{one} and {other} are the same policy: choose two that differ ({', '.join(known)}).")
        # The same pair whichever is named first.
        self.first, self.second = sorted((self.one, self.other), key=lambda side: (side.drawn_in, side.policy))
        self._seed = saved_recipe(folder.path).seed
        replies = [_greedy(folder, side) for side in (self.first, self.second)]
        pairs = [
            Pair(prompt, replies[0][prompt.id], replies[1][prompt.id])
            for prompt in folder.load_prompts("heldout")
            if all(prompt.id in some for some in replies)
        ]
        self.order = sorted(pairs, key=lambda pair: stable_hash("pairs", *self._salt(pair)))

    @cached_property
    def asked(self) -> Sequence[Pair]:
        """Those whose replies differ: nobody is asked about equal ones, which are ties."""
        return [pair for pair in self.order if not pair.equal]

    def left_is_first(self, pair: Pair, labeller: str) -> bool:
        """Whether the first reply is shown to the labeller on the left."""
        return int(stable_hash("left", self._seed, *self._salt(pair), labeller)[:8], 16) % 2 == 0

    def of(
        self, preferences: Sequence[Preference], labeller: str
    ) -> dict[tuple[CandidateKey, CandidateKey], Preference]:
        """What the labeller said of these pairs, in that order."""
        there = {pair.keys for pair in self.order}
        return {
            (one.first, one.second): one
            for one in preferences
            if one.labeller == labeller and (one.first, one.second) in there
        }

    def _salt(self, pair: Pair) -> tuple[object, ...]:
        return self.first.policy, self.second.policy, pair.prompt.id


def _greedy(folder: RunFolder, side: Side) -> dict[str, Candidate]:
    """A policy's greedy replies by prompt, as far as they could be drawn."""
    laws = folder.ledger.generators()
    candidates = folder.candidates(
        iteration=side.drawn_in,
        generators={name for name, law in laws.items() if law["policy"] == side.policy},
        prompt_ids=folder.prompt_ids("heldout"),
    )
    greedy = {one.key.prompt_id: one for one in candidates if one.key.sample_index == 0}
    return {prompt_id: one for prompt_id, one in greedy.items() if one.is_reply}
