"""Between budget and engine: how far each prompt may go now, and what need not be drawn any more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rsft.budget import Budget, Round
from rsft.engines.base import Pace, Sampling
from rsft.family import Family, learn
from rsft.scoring import Scored
from rsft.types import Candidate

Listen = Callable[[], None]


class Pacing(Pace):
    """Lets candidates begin that are needed whatever comes of those in the making, round after round of a budget.

    Hears of candidates as they are scored. When all prompts of a round have had what it grants them, the budget is
    asked for the next; when there is none, or a prompt has enough for good, what is left is cancelled.
    """

    def __init__(self, budget: Budget, families: Mapping[str, Family]) -> None:
        self.cancelled_tokens = 0
        self._budget = budget
        self._families = families
        self._granted: Round | None = None
        self._is_over = False
        self._open: set[str] = set()
        self._looked_at: dict[str, None] = {}
        self._cancelled: set[str] = set()
        self._bounds = dict.fromkeys(families, 0)
        self._all_needed: set[str] = set()
        self._handed_out = dict.fromkeys(families, 0)
        self._sampling: Sampling | None = None
        self._listen: Listen = lambda: None
        self._next_rounds()

    def begin(self, sampling: Sampling, listen: Listen) -> None:
        """From now on it can cancel, and have scorers listened to: `listen` waits a little for a word of theirs."""
        self._sampling = sampling
        self._listen = listen
        self._cancel_what_is_over()

    def most(self, prompt_id: str) -> int:
        """How many candidates of a prompt may come to be needed."""
        return 0 if self._is_over else self._budget.most(prompt_id)

    def bound(self, prompt_id: str) -> int:
        return self._bounds[prompt_id]

    def wait(self) -> None:
        before = dict(self._bounds)
        self._listen()
        if self._granted is not None and self._bounds == before:
            # Scorers take their time: better that the engine draws what may turn out unneeded than nothing.
            self._bounds |= {prompt_id: self._granted.limits[prompt_id] for prompt_id in self._open}

    def without_cancelled(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that were not cancelled; the others' tokens are counted."""
        self.cancelled_tokens += sum(len(one.token_ids) for one in candidates if one.finish_reason == "cancelled")
        return [one for one in candidates if one.finish_reason != "cancelled"]

    def hear(self, answers: Sequence[Scored]) -> None:
        learn(self._families, answers)
        for prompt_id in {candidate.key.prompt_id: None for candidate, _ in answers}:
            if prompt_id in self._open:
                self._look(prompt_id)
        self._next_rounds()
        self._cancel_what_is_over()

    def counted(self) -> list[Scored]:
        """The candidates that have come to count since this was last asked."""
        new: list[Scored] = []
        for prompt_id in self._looked_at:
            counted = self._families[prompt_id].counted(self._handed_out[prompt_id])
            new += counted
            self._handed_out[prompt_id] += len(counted)
        self._looked_at.clear()
        return new

    def _look(self, prompt_id: str) -> None:
        """Count what is known, and see how far the prompt may go now."""
        assert self._granted is not None
        family, limit = self._families[prompt_id], self._granted.limits[prompt_id]
        ended = partial(self._granted.ended, prompt_id)
        if family.advance(limit, ended):
            self._open.discard(prompt_id)
        # What is certainly needed of a round is so whatever comes, so it stays so as more is known: where that is all
        # that the round grants, nobody need ask again.
        needed = limit if prompt_id in self._all_needed else family.needed(limit, ended)
        if needed == limit:
            self._all_needed.add(prompt_id)
        self._bounds[prompt_id] = needed
        self._looked_at[prompt_id] = None

    def _next_rounds(self) -> None:
        """Go on with the budget's rounds until one wants candidates that are not known."""
        while not self._open and not self._is_over:
            tallies = {prompt_id: family.tally for prompt_id, family in self._families.items()}
            self._granted = self._budget.next_round(tallies)
            if self._granted is None:
                self._is_over = True
                return
            self._open = set(self._granted.limits)
            self._all_needed.clear()
            for prompt_id in self._granted.limits:
                self._look(prompt_id)

    def _cancel_what_is_over(self) -> None:
        if self._sampling is None:
            return
        for prompt_id in self._families if self._is_over else self._looked_at:
            has_enough = self._families[prompt_id].tally.accepted >= (self._budget.stop_at or math.inf)
            if (self._is_over or has_enough) and prompt_id not in self._cancelled:
                self._cancelled.add(prompt_id)
                self._sampling.cancel_prompt(prompt_id)
