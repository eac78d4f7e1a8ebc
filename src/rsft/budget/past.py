"""What earlier iterations say of a prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsft.budget.belief import standardised
from rsft.budget.tally import Tally
from rsft.types import Prompt


@dataclass(frozen=True, slots=True)
class Past:
    """How a prompt fared in the last iteration that drew candidates of it, and the means of their scores."""

    iteration: int
    tally: Tally
    scores: Mapping[str, float] = field(default_factory=dict)


def features(prompts: Sequence[Prompt], past: Mapping[str, Past]) -> Any:
    """What may tell prompts' acceptance rates beforehand, (P, F).

    The size of the last turn and of each field (a number's value: it may be a level of difficulty), and how they fared.
    """
    before = [past.get(prompt.id) for prompt in prompts]
    columns: list[list[float | None]] = [
        [math.log(1 + len(prompt.messages[-1].content)) for prompt in prompts],
        [_log_odds(one.tally) if one else None for one in before],
        [one.tally.tokens / one.tally.candidates if one else None for one in before],
    ]
    for name in sorted({name for prompt in prompts for name in prompt.fields}):
        columns.append([_size(prompt.fields.get(name)) for prompt in prompts])
    for name in sorted({name for one in past.values() for name in one.scores}):
        columns.append([one.scores.get(name) if one else None for one in before])
    return standardised(columns, len(prompts))


def lists_of_prompts(tallies: Mapping[str, Tally], even: int) -> dict[str, list[str]]:
    """The prompts at both ends: without an accepted reply (those that made way before they had the `even` number of
    candidates are deferred), and with nothing else."""
    unsolved = {p: tally for p, tally in tallies.items() if not tally.accepted}
    return {
        "unsolved": sorted(p for p, tally in unsolved.items() if tally.candidates >= even),
        "deferred": sorted(p for p, tally in unsolved.items() if tally.candidates < even),
        "always_solved": sorted(p for p, tally in tallies.items() if tally.always_solved),
    }


def _size(value: object) -> float | None:
    """A number's value, or how much a text, list or mapping holds, as a logarithm."""
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else None
    return math.log(1 + len(value)) if isinstance(value, (str, list, tuple, Mapping)) else None


def _log_odds(tally: Tally) -> float:
    return math.log((tally.accepted + 0.5) / (tally.candidates - tally.accepted + 0.5))
