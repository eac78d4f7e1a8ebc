"""The contract of a scorer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from rsft.registry import fingerprint_of
from rsft.types import Reply, Score

RUNS_MODEL = "the run's model"
"""Where a validator's context says what model the run has, if any, for scorers that must know."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The base model's greedy replies by prompt id, and the fingerprint of what drew them."""

    generator: str
    replies: Mapping[str, str]


class Scorer(BaseModel):
    """What scores replies. A subclass declares its options as fields and has one method, `score`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: ClassVar[int] = 1
    """Raised whenever the class comes to say something else of the same reply, so that stored scores are made anew."""

    quick: ClassVar[bool] = False
    """Whether it answers within a fraction of a millisecond, waiting for nothing: it is then asked between two steps of
    the engine. All others work beside the engine, in a thread of their own."""

    takes_the_runs_model: ClassVar[bool] = False
    """Whether it works with the model of the run where the recipe names no other (its option `model`)."""

    not_sent: ClassVar[frozenset[str]] = frozenset()
    """Private attributes that a copy in another process makes for itself: locks, models in memory, connections."""

    example: ClassVar[Mapping[str, Any]] = {}
    """Options to show how the scorer is used: those that it can't do without, and those that one is likely to want."""

    def prepare(self) -> None:
        """Called before a run begins: load what it takes. Raises a UserError where the scorer can't work here."""

    def score(self, replies: Sequence[Reply]) -> Sequence[Score | float | bool | None]:
        """One word on each reply, in order: a Score, a number, a bool, or None for failed."""
        raise NotImplementedError

    def hopeless(self, beginning: Reply) -> str | None:
        """Why every reply that begins so would score 0, if that is certain.

        Asked after each token of a candidate, it ends those that a rule could never accept. A scorer that can't tell
        leaves it out.
        """
        return None

    @property
    def hands(self) -> int:
        """How many batches it can work on at once, each asked for in a thread of its own."""
        return 1

    def close(self) -> None:
        """Nothing will be scored any more: let go of what works elsewhere for it."""

    @property
    def compares(self) -> bool:
        """Whether it needs the base model's greedy reply to each prompt before it can score."""
        return False

    def beside(self, baseline: Baseline) -> Scorer:
        """The same scorer, which knows these replies. They count in its fingerprint by what drew them."""
        return self

    @cached_property
    def fingerprint(self) -> str:
        """What tells this scorer from any other: its class, its options, and the version or file that it comes from."""
        kind = type(self)
        return fingerprint_of(kind, self.model_dump(mode="json", fallback=str), kind.version)

    def __getstate__(self) -> dict[Any, Any]:
        """What a copy in another process is made of: options, and what it knows, but nothing that hangs on this
        machine."""
        state = super().__getstate__()
        private = state["__pydantic_private__"] or {}
        known = {name: value for name, value in private.items() if name not in self.not_sent}
        options = {name: value for name, value in state["__dict__"].items() if name in type(self).model_fields}
        return state | {"__dict__": options, "__pydantic_private__": known}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        for name in self.not_sent:
            made: Any = self.__private_attributes__[name]
            setattr(self, name, made.default_factory() if made.default_factory else made.default)

    @property
    def description(self) -> str:
        """The first line of the class's docstring."""
        return first_line(type(self))


def first_line(described: Any) -> str:
    """The first line of a docstring, or a name."""
    return str(inspect.getdoc(described) or getattr(described, "__name__", "")).split("\n", 1)[0]
