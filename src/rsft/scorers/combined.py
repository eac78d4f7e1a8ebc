"""One score from several: a sum, a product, the least, or an expression; behind gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, field_validator, model_validator

from rsft.registry import fingerprint_of
from rsft.scorers.base import Scorer
from rsft.scorers.expression import Expression
from rsft.types import Score

Standard = tuple[float, float]
"""The mean and the standard deviation of a score over the base policy's replies."""


class Combined(Scorer):
    """One score from other scorers' scores, by their names in the recipe; the explanation keeps every part.

    Exactly one of: `sum` (a weight for each), `product`, `minimum` (lists of names), and `expression`, such as
    '0.7 * relevance + 0.3 * min(novelty, 0.5) if facts >= 1 else 0' (+ − * / **, comparisons, and, or, not, min, max,
    abs, exp, log, sqrt). Where a gate, such as 'facts >= 1', is not kept, the score is `closed`.

    `standardise` puts every part of a sum, product, minimum or expression in units of the base policy's own spread
    first: (score − mean) / standard deviation, over its replies to train prompts, measured once when the run begins.
    A failed part makes the whole fail.
    """

    example: ClassVar[Mapping[str, Any]] = {"sum": {"relevant": 0.7, "tidy": 0.3}, "gates": ["facts >= 1"]}

    sum: dict[str, float] | None = Field(None, min_length=1, description="Scores and their weights.")
    product: tuple[str, ...] | None = Field(None, min_length=1, description="Scores to multiply.")
    minimum: tuple[str, ...] | None = Field(None, min_length=1, description="Scores of which the least counts.")
    expression: str | None = Field(None, description="An expression over scores.")
    gates: tuple[str, ...] = Field((), description="Comparisons that must all be true.")
    closed: float = Field(0.0, description="The score where a gate is not kept.")
    standardise: bool = Field(False, description="Put the parts in units of the base policy's spread first.")

    _parts: Mapping[str, Scorer] = PrivateAttr(default_factory=dict)
    _standards: Mapping[str, Standard] | None = PrivateAttr(default=None)

    @field_validator("expression")
    @classmethod
    def _expression_can_be_read(cls, said: str | None) -> str | None:
        if said is not None:
            Expression.of(said)
        return said

    @field_validator("gates")
    @classmethod
    def _gates_can_be_read(cls, said: tuple[str, ...]) -> tuple[str, ...]:
        for gate in said:
            if not Expression.of(gate).compares:
                raise ValueError(f"'{gate}' is no comparison; a gate is one such as 'facts >= 1'")
        return said

    @model_validator(mode="after")
    def _combines_in_one_way(self) -> Combined:
        ways = ("sum", "product", "minimum", "expression")
        if sum_of(getattr(self, way) is not None for way in ways) != 1:
            raise ValueError("give exactly one of sum, product, minimum and expression")
        return self

    @cached_property
    def _read(self) -> Expression | None:
        return None if self.expression is None else Expression.of(self.expression)

    @cached_property
    def _gates(self) -> tuple[Expression, ...]:
        return tuple(Expression.of(gate) for gate in self.gates)

    @property
    def combines(self) -> tuple[str, ...]:
        """The scores that are put together, gates aside."""
        return tuple(self._read.names if self._read else self.sum or self.product or self.minimum or ())

    @property
    def reads(self) -> tuple[str, ...]:
        """All scores that it reads, each once."""
        return tuple(dict.fromkeys([*self.combines, *(name for gate in self._gates for name in gate.names)]))

    def of(self, parts: Mapping[str, Scorer], standards: Mapping[str, Standard] | None = None) -> Combined:
        """The same with the scorers that it reads, and the standards of those that it combines."""
        bound = type(self)(**self.model_dump())
        bound._parts = {name: parts[name] for name in self.reads}
        bound._standards = standards and {name: standards[name] for name in self.combines}
        return bound

    def combine(self, said: Mapping[str, Score]) -> Score:
        """The one score from the scores of a reply."""
        failed = [f"{name}: {said[name].failure}" for name in self.reads if said[name].value is None]
        if failed:
            return Score.failed("; ".join(failed))
        values = {name: _value(said[name]) for name in self.reads}
        told = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        try:
            shut = next((gate for gate in self._gates if not gate.value(values)), None)
            if shut is not None:
                return Score(self.closed, f"not {shut.text}; {told}")
            if self.standardise and self._standards is None:
                return Score.failed("the base policy's spread is not known: it is measured when a run begins")
            if self._standards is not None:
                values = {name: (values[name] - mean) / spread for name, (mean, spread) in self._standards.items()}
                told += "; standardised " + ", ".join(f"{name} {value:.2f}" for name, value in values.items())
            return Score.of(Score(self._combined(values), told))
        except (ArithmeticError, ValueError) as error:
            return Score.failed(f"{error}: {told}")

    def combine_all(self, said: Mapping[str, Sequence[Score]]) -> list[Score]:
        """The one score of each reply, from the scores that its parts gave the replies, in order."""
        columns = zip(*(said[name] for name in self.reads), strict=True)
        return [self.combine(dict(zip(self.reads, scores, strict=True))) for scores in columns]

    def _combined(self, values: Mapping[str, float]) -> float:
        if self._read is not None:
            return self._read.value(values)
        if self.sum is not None:
            return sum_of(weight * values[name] for name, weight in self.sum.items())
        of_names = [values[name] for name in self.combines]
        return float(prod(of_names)) if self.product is not None else min(of_names)

    @cached_property
    def fingerprint(self) -> str:
        parts = sorted((name, scorer.fingerprint) for name, scorer in self._parts.items())
        options = [self.model_dump(mode="json"), parts, self._standards]
        return fingerprint_of(type(self), options, self.version)


# `sum` is an option's name above.
sum_of = sum


def _value(score: Score) -> float:
    assert score.value is not None
    return score.value
