"""A threshold that is not chosen but certified: it keeps a promise about what it accepts."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from rsft.errors import SelectionError
from rsft.selection.pool import Mask, Pool, Values
from rsft.selection.rule import Rule
from rsft.selection.threshold import Threshold


class Certified(Rule):
    """Keeps what scores at least a threshold that is certified: no more than `max_error` of it is bad.

    That holds with `confidence`. The threshold is found anew in each iteration, on labels of its replies (`rsft
    label RUN`). Until there are enough the run waits. With `by`, a comparison such as 'facts >= 1', a verifier
    labels so many replies by itself. In short: 'relevant >= certified'.
    """

    example: ClassVar[Any] = "relevant >= certified"
    main_option: ClassVar[str | None] = "score"
    weighs_all: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True

    score: str = Field(description="The scorer's name in the recipe.")
    max_error: float = Field(0.1, gt=0, lt=1, description="The most that may be bad of what is kept.")
    confidence: float = Field(0.9, gt=0, lt=1, description="The probability that the promise is kept.")
    by: str | None = Field(None, description="A comparison of another score that says who is good.")
    labels: int = Field(300, ge=1, description="Labels that the verifier gives.")

    _line: Threshold | None = PrivateAttr(None)

    def at(self, threshold: float) -> Certified:
        """The same with the threshold that was certified."""
        bound = self.model_copy()
        bound._line = Threshold(name=self.name, score=self.score, value=threshold)
        return bound

    @property
    def line(self) -> Threshold:
        """What is certified. Raises SelectionError where nothing is."""
        if self._line is None:
            raise SelectionError(f"The threshold of the rule '{self.name}' is not certified.")
        return self._line

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        return self.line.keep(pool, alive)

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        return f"{self.line.explain(pool, alive, place)} (certified: {self.line.value:.4g})"

    def margins(self, pool: Pool, alive: Mask) -> Values | None:
        return self.line.margins(pool, alive)

    @property
    def scorers_used(self) -> tuple[str, ...]:
        return (self.score,)
