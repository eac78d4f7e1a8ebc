"""The contract of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from rsft.selection.cut import Parts
from rsft.selection.pool import Mask, Pool, Values


class Rule(BaseModel):
    """A pure function of the pool and of who is left: which of those stay.

    A subclass declares its options as fields and has one method, `keep`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    main_option: ClassVar[str | None] = None
    """The option that a bare value stands for, as in `top_k: 3`."""

    per_candidate: ClassVar[bool] = False
    """Whether the rule judges each candidate by itself. Only such rules say whether a held-out reply passes."""

    ranks: ClassVar[bool] = False
    """Whether it keeps the best: more candidates then make what is kept better, even where enough were accepted."""

    weighs_all: ClassVar[bool] = False
    """Whether its word on a candidate hangs on all others, of its prompt or of every one: of some of them it would say
    another thing, so that nothing is known while they are drawn."""

    by_prompt: ClassVar[bool] = False
    """Whether its word on a candidate hangs on those of the same prompt alone: then prompts may be decided on some at a
    time, as those of a run that does not fit into memory."""

    example: ClassVar[Any] = None
    """How it stands in a recipe's selection; None for its name alone."""

    beside: ClassVar[Mapping[str, Any]] = {}
    """What else of the recipe the example needs."""

    name: str = ""
    """What decisions call the rule: its name in the recipe."""

    def keep(self, pool: Pool, alive: Mask) -> Mask:
        """Those of `alive` (N,) that stay. Must not depend on the candidates' order."""
        raise NotImplementedError

    @property
    def in_parts(self) -> bool:
        """Whether prompts can be decided on some at a time, once it is `surveyed`; else all candidates must be in one
        pool."""
        return self.per_candidate or self.by_prompt

    def surveyed(self, parts: Parts) -> Rule:
        """The same rule with what it must know of all candidates, for one that is to keep those of some prompts."""
        return self

    def explain(self, pool: Pool, alive: Mask, place: int) -> str:
        """Why the candidate at this place did not stay among `alive` (N,), if the rule's name does not say it all."""
        return ""

    def margins(self, pool: Pool, alive: Mask) -> Values | None:
        """(N,): how far the candidates of `alive` are over the rule's line (under it: below 0), if it has one."""
        return None

    def rejects(self, score: str, value: float) -> bool:
        """Whether no candidate with this value of this score stays, whatever else is true of it."""
        return False

    @property
    def most_of_a_prompt(self) -> int | None:
        """How many candidates of one prompt it leaves at most, if it sets a limit."""
        return None

    @property
    def scorers_used(self) -> tuple[str, ...]:
        """The scores that the rule reads."""
        return ()
