"""What budgets decide by: how a prompt's candidates fared, in the order of their sample indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OPENING = 2
"""So many first candidates of a prompt are told one by one, for budgets that look at all prompts' first ones."""


class Tally(NamedTuple):
    """One prompt's candidates so far, how many of them were accepted, and their tokens.

    A candidate counts as accepted if the prompt's accepted replies became more by it: another copy of what is there
    already does not. `run` counts the rejections since the last accepted one. `opening` tells of the first candidates
    whether each was accepted, and its tokens. So a tally is as small after a thousand candidates as after two.
    """

    candidates: int = 0
    accepted: int = 0
    tokens: int = 0
    run: int = 0
    opening: tuple[tuple[bool, int], ...] = ()

    @classmethod
    def of(cls, outcomes: Iterable[bool], costs: Iterable[int]) -> Tally:
        """The tally of candidates that fared so, and took so many tokens."""
        tally = cls()
        for accepted, tokens in zip(outcomes, costs, strict=True):
            tally = tally.after(accepted, tokens)
        return tally

    def after(self, accepted: bool, tokens: int = 0) -> Tally:
        """The tally with one candidate more."""
        return Tally(
            self.candidates + 1,
            self.accepted + accepted,
            self.tokens + tokens,
            0 if accepted else self.run + 1,
            (*self.opening, (accepted, tokens)) if self.candidates < OPENING else self.opening,
        )

    def first(self, candidates: int) -> Tally:
        """The tally as it was after so many candidates: no more than `OPENING`, or all of them."""
        if candidates >= self.candidates:
            return self
        assert candidates <= OPENING, "only of the first ones it is known how each fared"
        return Tally.of(*zip(*self.opening[:candidates], strict=True)) if candidates else Tally()

    @property
    def always_solved(self) -> bool:
        """Whether every candidate was accepted (of two or more: one is no habit)."""
        return self.accepted == self.candidates >= 2

    def rate(self, stop_at: int | None = None) -> float:
        """The estimated chance that a candidate is accepted; 0 of none.

        Where sampling stopped at the k-th accepted one, accepted/candidates is too high; (k − 1)/(n − 1) is unbiased
        (Haldane 1945). At k = 1 nothing unbiased is left but 0 or 1, and 1/n is given.
        """
        if not self.candidates:
            return 0.0
        if stop_at is not None and self.accepted == stop_at > 1 and not self.run:
            return (self.accepted - 1) / (self.candidates - 1)
        return self.accepted / self.candidates
