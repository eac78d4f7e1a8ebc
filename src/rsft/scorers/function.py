"""A user's function, or object with a `score` method, as a scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import Field, PrivateAttr

from rsft.registry import fingerprint_of
from rsft.scorers.base import Scorer, first_line
from rsft.types import Reply, Score


class FunctionScorer(Scorer):
    """A function of a user's own."""

    options: dict[str, Any] = Field(default_factory=dict)
    _source: Any = PrivateAttr()
    _call: Callable[..., Any] = PrivateAttr()
    _pass_options: bool = PrivateAttr(default=True)

    @classmethod
    def of(
        cls,
        source: Callable[..., Any],
        call: Callable[..., Any],
        options: Mapping[str, Any],
        *,
        pass_options: bool,
    ) -> FunctionScorer:
        """`call` is called with a list of replies, and with the options by name unless they are in it already.

        `source`, the function or class that the recipe names, gives the description and the fingerprint.
        """
        scorer = cls(options=dict(options))
        scorer._source, scorer._call, scorer._pass_options = source, call, pass_options
        return scorer

    def score(self, replies: Sequence[Reply]) -> Sequence[Score | float | bool | None]:
        options = self.options if self._pass_options else {}
        said: Sequence[Score | float | bool | None] = self._call(list(replies), **options)
        return said

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self._source, self.options)

    @property
    def description(self) -> str:
        return first_line(self._source)
