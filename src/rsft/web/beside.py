"""Two or three policies on the held-out prompts that all of them answered: numbers, and replies side by side. The first
is what the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from rsft.comparison import Side, Which, by_who_passes, difference, scorers_of_both
from rsft.config import differing_keys
from rsft.errors import RunError
from rsft.evaluation import ACCEPTANCE
from rsft.reading import summary_of
from rsft.types import Prompt
from rsft.web.paging import paged
from rsft.web.sources import Source

PAGE = 10
GROUPS = {
    "gained": "Gained",
    "lost": "Lost",
    "both": "All pass",
    "neither": "None passes",
}
"""How a prompt can fare: the first policy's reply fails where another's passes, passes where another's fails, ..."""


@dataclass(frozen=True)
class Beside:
    """The policies with their greedy replies, in the order in which they were chosen."""

    sides: Sequence[Side]

    @classmethod
    def read(cls, policies: Sequence[Which]) -> Beside:
        """All are judged by the rules of the first, where the same scorers scored them. Raises a UserError where one
        was not measured, or they have no prompt in common."""
        first = Side.read(policies[0])
        sides = [first, *(Side.read(which, by_rules_of=first) for which in policies[1:])]
        # Samples are not compared here, and would fill the memory.
        found = cls([replace(side, evaluation=replace(side.evaluation, sampled={})) for side in sides])
        if not found.common:
            names = " and ".join(str(which) for which in policies)
            raise RunError(
                f"{names} have no held-out prompt in common (by id, conversation and fields), so that nothing of them "
                "can be compared. Choose runs that were measured on the same held-out file."
            )
        return found

    @cached_property
    def common(self) -> list[str]:
        """The ids of the prompts that are the same in all. A template may have made other messages of one."""
        first, *others = (side.prompts for side in self.sides)
        asked = {prompt_id: _asked(prompt) for prompt_id, prompt in first.items()}
        return [
            prompt_id
            for prompt_id, said in asked.items()
            if all(prompt_id in other and _asked(other[prompt_id]) == said for other in others)
        ]

    @cached_property
    def scorers(self) -> list[str]:
        """Those that are the same in all."""
        first, *others = self.sides
        named = [scorers_of_both(first, other) for other in others]
        return [name for name in named[0] if all(name in names for names in named)]

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Of each policy its acceptance and mean scores on the common prompts; of all but the first, what it gains over
        the first: paired, with bootstrap intervals over prompts, and for acceptance McNemar's test."""
        evaluations = [side.evaluation.among(self.common) for side in self.sides]
        first = evaluations[0]
        return {
            "acceptance": [asdict(one.acceptance) for one in evaluations],
            "gains": [
                None
                if one is first
                else {**difference(first.values(ACCEPTANCE), one.values(ACCEPTANCE)), **by_who_passes(first, one)}
                for one in evaluations
            ],
            "scores": {
                name: [
                    {
                        "mean": fmean(values) if (values := one.values(name).values()) else None,
                        "gain": None
                        if one is first
                        else difference(first.values(name), one.values(name))["difference"],
                    }
                    for one in evaluations
                ]
                for name in self.scorers
            },
        }

    def notes(self, titles: Sequence[str]) -> list[str]:
        """What makes the comparison worth less than it looks. `titles` names the runs of the policies."""
        first, *others = self.sides
        found: list[str] = []
        if not all(first.can_judge(other.scorers) for other in others):
            found.append(
                "not all were scored by the same scorers, so what the first one's rules can't judge is judged by its "
                "own rules, and the shares of accepted replies are no like for like"
            )
        runs = {title: summary_of(side.which.run).get("fakes") for title, side in zip(titles, self.sides, strict=True)}
        if faked := [f"{title} ({', '.join(fakes)})" for title, fakes in runs.items() if fakes]:
            found.append(f"fakes took part in {', '.join(faked)}: such numbers say nothing about a model")
        left_out = [len(side.prompts) - len(self.common) for side in self.sides]
        if any(left_out):
            of_each = ", ".join(str(count) for count in left_out)
            found.append(
                f"only the {len(self.common)} held-out prompts that are the same in all (id, conversation and fields) "
                f"are compared; left out are {of_each}, in the order of the columns"
            )
        templates = sum(
            any(other.prompts[one].messages != first.prompts[one].messages for other in others) for one in self.common
        )
        if templates:
            found.append(f"the models read {templates} of the prompts through different templates")
        named = {name for side in self.sides for name in (*side.scorers, *side.heldout_scorers)}
        if others_only := sorted(named - set(self.scorers)):
            found.append(f"not compared are scores by scorers that not all have alike: {', '.join(others_only)}")
        return found

    @cached_property
    def recipes(self) -> dict[str, list[str]]:
        """Each key of the recipes whose values differ, with each policy's."""
        return differing_keys([side.recipe for side in self.sides])

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The common prompts by how they fared, in each those first whose replies differ most: by who passes, and then
        by the mean difference of scores, each in the units of its range."""
        order = sorted(self.common, key=lambda prompt_id: (-self._differs(prompt_id), prompt_id))
        found: dict[str, list[str]] = {group: [] for group in GROUPS}
        for prompt_id in order:
            found[self._group(prompt_id)].append(prompt_id)
        return {"": order, **found}

    def replies(self, group: str, page: int) -> dict[str, Any]:
        """A page of prompts with the replies of all. Raises RunError for a group that there is not."""
        if group not in self.groups:
            raise RunError(f"show: expected {' or '.join(GROUPS)}, or nothing for all, found {group!r}.")
        some, where = paged(self.groups[group], page, PAGE)
        return {
            "rows": [self._row(prompt_id) for prompt_id in some],
            "show": group,
            "counts": {name: len(ids) for name, ids in self.groups.items()},
            **where,
            "group_names": GROUPS,
        }

    def _row(self, prompt_id: str) -> dict[str, Any]:
        replies = [side.evaluation.greedy[prompt_id] for side in self.sides]
        return {
            "prompt_id": prompt_id,
            "asked": self.sides[0].prompts[prompt_id].conversation[-1].content,
            "group": self._group(prompt_id),
            "replies": [
                {
                    "key": asdict(reply.candidate.key),
                    "iteration": side.which.iteration,
                    "which": Source(side.which.arm, heldout=True).address,
                    "text": reply.candidate.text,
                    "same": number > 0 and reply.candidate.text == replies[0].candidate.text,
                    "scores": {name: score.value for name, score in reply.all_scores.items()},
                    **asdict(reply.decision),
                }
                for number, (side, reply) in enumerate(zip(self.sides, replies, strict=True))
            ],
        }

    def _passed(self, prompt_id: str) -> list[bool]:
        return [side.evaluation.greedy[prompt_id].passed for side in self.sides]

    def _group(self, prompt_id: str) -> str:
        first, *others = self._passed(prompt_id)
        if first:
            return "both" if all(others) else "lost"
        return "gained" if any(others) else "neither"

    def _differs(self, prompt_id: str) -> float:
        """How far the others' replies are from the first's. Who passes counts more than all scores together."""
        first, *others = self._passed(prompt_id)
        verdicts = sum(other != first for other in others)
        return 2 * verdicts + sum(spread.get(prompt_id, 0.0) for spread in self._spreads) / max(1, len(self._spreads))

    @cached_property
    def _spreads(self) -> list[dict[str, float]]:
        """Of each scorer how far apart the policies are on each prompt, from 0 to 1."""
        found = []
        for name in self.scorers:
            columns = [side.evaluation.values(name) for side in self.sides]
            spans = {
                one: max(said) - min(said)
                for one in self.common
                if len(said := [column[one] for column in columns if one in column]) > 1
            }
            widest = max(spans.values(), default=0.0) or 1.0
            found.append({one: span / widest for one, span in spans.items()})
        return found


def _asked(prompt: Prompt) -> tuple[Any, Mapping[str, Any]]:
    """What makes a prompt the same one: what the user had, and all that scorers read of its row."""
    return prompt.conversation, prompt.fields
