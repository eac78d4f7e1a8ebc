"""What earlier iterations say of a prompt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from rsft.budget.belief import standardised
from rsft.budget.tally import Tally
from rsft.types import Candidate, CandidateKey, Decision, Prompt, Score


@dataclass(frozen=True, slots=True)
class Past:
    """How a prompt fared in the last iteration that drew candidates of it, and the means of their scores."""

    iteration: int
    tally: Tally
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def always_solved(self) -> bool:
        """Whether every candidate was accepted (of two or more: one is no habit)."""
        return self.tally.accepted == self.tally.candidates >= 2


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


def past_of(
    iteration: int,
    decisions: Mapping[CandidateKey, Decision],
    candidates: Iterable[Candidate],
    scores: Mapping[CandidateKey, Mapping[str, Score]],
) -> dict[str, Past]:
    """How the prompts of an iteration fared, by prompt id. `candidates` are those decided on, in the order of keys."""
    tallies: dict[str, Tally] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for candidate in candidates:
        prompt_id = candidate.key.prompt_id
        accepted = decisions[candidate.key].accepted
        tallies[prompt_id] = tallies.get(prompt_id, Tally()).after(accepted, len(candidate.token_ids))
        of_prompt = values.setdefault(prompt_id, {})
        for name, score in scores.get(candidate.key, {}).items():
            if score.value is not None:
                of_prompt.setdefault(name, []).append(score.value)
    return {
        prompt_id: Past(iteration, tally, {name: fmean(said) for name, said in values[prompt_id].items()})
        for prompt_id, tally in tallies.items()
    }


def _size(value: object) -> float | None:
    """A number's value, or how much a text, list or mapping holds, as a logarithm."""
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else None
    return math.log(1 + len(value)) if isinstance(value, (str, list, tuple, Mapping)) else None


def _log_odds(tally: Tally) -> float:
    return math.log((tally.accepted + 0.5) / (tally.candidates - tally.accepted + 0.5))
