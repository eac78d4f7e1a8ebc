"""What budgets decide by: how a prompt's candidates fared, in the order of their sample indices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """One prompt's candidates so far: how many, how many accepted replies they gave, the rejections since the last of
    these, and their tokens.

    A candidate counts as accepted if the prompt's accepted replies became more by it: another copy of what is there
    already does not.
    """

    candidates: int = 0
    accepted: int = 0
    run: int = 0
    tokens: int = 0

    def after(self, accepted: bool, tokens: int = 0) -> Tally:
        """The tally with one candidate more."""
        return Tally(
            self.candidates + 1,
            self.accepted + accepted,
            0 if accepted else self.run + 1,
            self.tokens + tokens,
        )

    def rate(self, stop_at: int | None = None) -> float:
        """The estimated chance that a candidate is accepted; 0 of none.

        Where sampling stopped at the k-th accepted one, accepted/candidates is too high; (k − 1)/(n − 1) is unbiased
        (Haldane 1945). At k = 1 nothing unbiased is left but 0 or 1, and 1/n is given.
        """
        if not self.candidates:
            return 0.0
        if stop_at is not None and self.accepted == stop_at > 1 and self.run == 0:
            return (self.accepted - 1) / (self.candidates - 1)
        return self.accepted / self.candidates
