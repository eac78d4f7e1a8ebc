"""What the stages say of what they drew: numbers for their notes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rsft.drawn import Drawn, Sampled
from rsft.types import CandidateKey


class Total:
    """How much was drawn in all: what counts, and what it cost. What was drawn is added some at a time."""

    def __init__(self, *drawn: Drawn) -> None:
        self._counts: Counter[str] = Counter()
        self._generators: set[str] = set()
        self._sums: Counter[str] = Counter()
        self._whole = 0
        self._failures: dict[str, tuple[int, CandidateKey, str | None]] = {}
        for some in drawn:
            self.add(some)

    def add(self, drawn: Drawn) -> None:
        self._counts.update(candidate.key.prompt_id for candidate in drawn.candidates)
        self._generators |= {candidate.key.generator for candidate in drawn.candidates}
        ends = Counter(candidate.finish_reason for candidate in drawn.candidates)
        self._sums.update(
            tokens=sum(len(candidate.token_ids) for candidate in drawn.candidates),
            drawn_tokens=drawn.drawn_tokens,
            unneeded_tokens=drawn.unneeded_tokens,
            failed=ends["failed"],
            ended_early=ends["ended"],
        )
        for key in (candidate.key for candidate in drawn.candidates if candidate.is_reply):
            self._whole += 1
            for name, score in drawn.scores[key].items():
                if score.value is None:
                    failed, first, reason = self._failures.get(name, (0, key, score.failure))
                    if key < first:
                        first, reason = key, score.failure
                    self._failures[name] = failed + 1, first, reason

    def sampled(self, iteration: int) -> Sampled:
        """What an arm has in the run folder, if this is all."""
        return Sampled(iteration, self._counts, sorted(self._generators))

    @property
    def ended_early(self) -> int:
        """How many candidates were given up before they came to their end."""
        return self._sums["ended_early"]

    @property
    def numbers(self) -> dict[str, Any]:
        sums = ("tokens", "drawn_tokens", "unneeded_tokens")
        return {
            "candidates": self._counts.total(),
            **{name: self._sums[name] for name in sums},
            "prompts": len(self._counts),
            "generators": sorted(self._generators),
            "failed": self._sums["failed"],
            "failed_scores": {
                name: {"failed": failed, "of": self._whole, "reason": reason}
                for name, (failed, _, reason) in sorted(self._failures.items())
            },
        }
