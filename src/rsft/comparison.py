"""Two policies, of one run or of two, on the held-out prompts that both answered."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsft import metrics
from rsft.config import Recipe, recipe_differences
from rsft.errors import RecipeError, RunError, nearest
from rsft.evaluated import evaluated
from rsft.evaluation import ACCEPTANCE, Evaluation, paired
from rsft.reading import handed_back, shown, summary_of
from rsft.saved import saved_recipe
from rsft.selection import Selection
from rsft.setup import measuring_rules
from rsft.store import RunFolder
from rsft.types import Prompt

_NAMED = re.compile(r"(?P<run>.*)@(?P<iteration>\d{1,9})(:(?P<arm>\w+))?", re.DOTALL)


def compare(a: str, b: str, by: str = ACCEPTANCE, limit: int = 10) -> dict[str, Any]:
    """What changes from policy `a` to `b` on the held-out prompts that both answered; differences are b's less a's.

    A policy is named as RUN (what the run hands back), RUN@2 (of iteration 2; 0 is the base) or RUN@2:control; `b` may
    leave out the run of `a`. Both are judged by the rules of `a` where the same scorers scored both. Prompts that
    change in the score `by` come worst first: `limit` regressions, and as many improvements. Raises a UserError.
    """
    first = Which.named(a)
    one = Side.read(first)
    other = Side.read(Which.named(b, beside=first.run), by_rules_of=one)
    common = [prompt_id for prompt_id, prompt in one.prompts.items() if other.prompts.get(prompt_id) == prompt]
    if not common:
        raise RunError(f"{one.which} and {other.which} have no held-out prompt in common.")
    before, after = one.evaluation.among(common), other.evaluation.among(common)
    scorers = scorers_of_both(one, other)
    if by not in (ACCEPTANCE, *scorers):
        known = [ACCEPTANCE, *scorers]
        raise RecipeError(f"Both have no score '{by}'.{nearest(by, known)} They have {', '.join(known)}.")
    return {
        "a": one.described(),
        "b": other.described(),
        "prompts": len(common),
        "left_out": {"a": len(one.prompts) - len(common), "b": len(other.prompts) - len(common)},
        "rules": {"a": one.rule_names, "b": other.rule_names},
        "warnings": _warnings(one, other),
        "recipe_differences": recipe_differences(one.recipe, other.recipe),
        "scores": {name: difference(before.values(name), after.values(name)) for name in (ACCEPTANCE, *scorers)},
        "sampled": _sampled(before, after),
        "numbers": {"a": before.numbers(), "b": after.numbers()},
        "kl_from_base": {"a": one.note["kl_from_base"], "b": other.note["kl_from_base"]},
        "acceptance_changes": by_who_passes(before, after),
        "by": by,
        **_changes(one.prompts, before, after, by, limit),
    }


@dataclass(frozen=True, slots=True)
class Which:
    """A policy of a run: that which an arm trained in an iteration. 0 is the base."""

    run: Path
    iteration: int
    arm: str

    @classmethod
    def named(cls, name: str, beside: Path | None = None) -> Which:
        """The policy of this name; one that names no run is of that `beside`. Raises RunError."""
        said = None if Path(name).is_dir() else in_parts(name)
        where = said[0] if said else name
        run = Path(where) if where or beside is None else beside
        saved_recipe(run)
        if said:
            return cls(run, *said[1:])
        iteration = handed_back(run)
        if iteration is None:
            raise RunError(f"The run {run} has measured no policy on held-out prompts yet.")
        return cls(run, iteration, "policy")

    def __str__(self) -> str:
        return called(str(self.run), self.iteration, self.arm)


def called(run: str, iteration: int, arm: str) -> str:
    """What a policy is called, where its run goes by this name: RUN@2, or RUN@2:control."""
    return f"{run}@{iteration}" + ("" if arm == "policy" else f":{arm}")


def in_parts(name: str) -> tuple[str, int, str] | None:
    """The run, the iteration and the arm of a name that `called` made; None of another one."""
    said = _NAMED.fullmatch(name)
    return None if said is None else (said["run"], int(said["iteration"]), said["arm"] or "policy")


@dataclass(frozen=True, slots=True)
class Side:
    """A policy that is compared, as its run folder has it, judged by some rules."""

    which: Which
    recipe: Recipe
    prompts: Mapping[str, Prompt]
    scorers: Mapping[str, str]
    heldout_scorers: Mapping[str, str]
    rules: Selection
    note: Mapping[str, Any]
    evaluation: Evaluation

    @classmethod
    def read(cls, which: Which, by_rules_of: Side | None = None) -> Side:
        """Raises RunError if it was not measured."""
        recipe = saved_recipe(which.run)
        with RunFolder.open(which.run, write=False) as folder:
            scorers, heldout_scorers = folder.noted_scorers(), folder.noted_heldout_scorers()
            may = by_rules_of is not None and by_rules_of.can_judge(scorers)
            rules = by_rules_of.rules if by_rules_of is not None and may else measuring_rules(recipe)
            found = evaluated(folder, recipe, which.iteration, which.arm, rules)
            if found is None:
                raise RunError(f"{which} was not measured on held-out prompts. {_what_was_measured(folder)}")
            prompts = {prompt.id: prompt for prompt in folder.load_prompts("heldout")}
            note = folder.stage_done(which.iteration, which.arm, "evaluate") or {}
        return cls(which, recipe, prompts, scorers, heldout_scorers, rules, note, found)

    def can_judge(self, scorers: Mapping[str, str]) -> bool:
        """Whether its rules can judge what these scorers scored: those that they read are its own."""
        read = {name for rule in self.rules.rules if rule.per_candidate for name in rule.scorers_used}
        return all(scorers.get(name) == self.scorers.get(name) for name in read)

    @property
    def rule_names(self) -> list[str]:
        return [rule.name for rule in self.rules.rules if rule.per_candidate]

    def described(self) -> dict[str, Any]:
        where = {"run": str(self.which.run), "iteration": self.which.iteration, "arm": self.which.arm}
        return {"name": str(self.which), **where, "policy": self.note["of_policy"]}


def _what_was_measured(folder: RunFolder) -> str:
    done = [str(Which(folder.path, *of)) for of in folder.done("evaluate")]
    return f"Measured are {', '.join(done)}." if done else "Nothing was measured yet."


def scorers_of_both(one: Side, other: Side) -> list[str]:
    """The held-out scorers, and then the selecting ones, that are the same in both."""
    kinds = ((one.heldout_scorers, other.heldout_scorers), (one.scorers, other.scorers))
    return [name for ours, theirs in kinds for name, fingerprint in ours.items() if theirs.get(name) == fingerprint]


def _warnings(one: Side, other: Side) -> list[str]:
    """What makes the comparison worth less than it looks."""
    found = []
    if not one.can_judge(other.scorers):
        found.append(
            "the two were scored by different scorers, so each is judged by its own rules, and their acceptance is no "
            "like for like"
        )
    for run in dict.fromkeys((one.which.run, other.which.run)):
        if fakes := summary_of(run).get("fakes"):
            found.append(f"fakes took part in {run} ({', '.join(fakes)}): its numbers say nothing about a model")
    return found


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    """The means of both, and the paired difference, on the prompts that both have."""
    both = [prompt_id for prompt_id in before if prompt_id in after]
    a, b = (sum(of[prompt_id] for prompt_id in both) / max(1, len(both)) for of in (before, after))
    return {"a": a, "b": b, "difference": asdict(paired(after, before))}


def _sampled(before: Evaluation, after: Evaluation) -> dict[str, Any] | None:
    """The same of as many samples of each; None where one of the two has none."""
    samples = min(before.samples, after.samples)
    if not samples:
        return None
    return {
        "samples": samples,
        "acceptance": difference(before.passing(samples), after.passing(samples)),
        "best_of": difference(before.solved(samples), after.solved(samples)),
    }


def by_who_passes(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """The prompts by who passes: what McNemar's test reads."""
    had, has = before.values(ACCEPTANCE), after.values(ACCEPTANCE)
    pairs = [(had[prompt_id], has[prompt_id]) for prompt_id in had if prompt_id in has]
    counts = {"both": (1, 1), "only_a": (1, 0), "only_b": (0, 1), "neither": (0, 0)}
    said = {name: pairs.count(pair) for name, pair in counts.items()}
    return {**said, "p": metrics.mcnemar(said["only_a"], said["only_b"])}


def _changes(
    prompts: Mapping[str, Prompt], before: Evaluation, after: Evaluation, by: str, limit: int
) -> dict[str, Any]:
    """How many prompts got worse and better in a score, and the replies to those that changed most."""
    had, has = before.values(by), after.values(by)
    changes = {prompt_id: has[prompt_id] - had[prompt_id] for prompt_id in had if prompt_id in has}
    worst_first = sorted(changes, key=lambda prompt_id: (changes[prompt_id], prompt_id))
    worse = [prompt_id for prompt_id in worst_first if changes[prompt_id] < 0]
    better = [prompt_id for prompt_id in reversed(worst_first) if changes[prompt_id] > 0]

    def replies(prompt_ids: Collection[str]) -> list[dict[str, Any]]:
        return [
            {
                "prompt_id": prompt_id,
                "asked": prompts[prompt_id].messages[-1].content,
                "difference": changes[prompt_id],
                **{side: _reply(of, prompts[prompt_id]) for side, of in (("a", before), ("b", after))},
            }
            for prompt_id in prompt_ids
        ]

    return {
        "worse": len(worse),
        "better": len(better),
        "regressions": replies(worse[:limit]),
        "improvements": replies(better[:limit]),
    }


def _reply(of: Evaluation, prompt: Prompt) -> dict[str, Any]:
    reply = of.greedy[prompt.id]
    return shown(prompt, reply.candidate, reply.all_scores, reply.decision)
