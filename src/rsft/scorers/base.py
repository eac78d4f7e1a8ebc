"""The contract of a scorer."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

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

    @property
    def description(self) -> str:
        """The first line of the class's docstring."""
        return first_line(type(self))


def fingerprint_of(kind: Any, options: Any, version: int = 1) -> str:
    """A hash of a class or function, its options, and its version or, for a user's own, the content of its file."""
    source = _file_hash(kind.__module__) if not kind.__module__.startswith("rsft.") else ""
    # A user's module is named after the file and its content; the content counts below, the folder never.
    module = kind.__module__ if not source else Path(_file_of(kind.__module__) or "").stem
    identity = [f"{module}.{kind.__qualname__}", options, version, source]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _file_of(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)


@cache
def _file_hash(module: str) -> str:
    """The sha256 of the file that a module came from. (The registry gives an edited file another module name.)"""
    file = _file_of(module)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def first_line(described: Any) -> str:
    """The first line of a docstring, or a name."""
    return str(inspect.getdoc(described) or getattr(described, "__name__", "")).split("\n", 1)[0]
