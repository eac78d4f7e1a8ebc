"""The contract of a trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from rsft.types import Candidate, Kind, Policy, Prompt


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The new policy, and what was logged on the way (one mapping a step: step, epoch, loss, learning rate, ...)."""

    policy: Policy
    log: tuple[dict[str, Any], ...]


Progress = Callable[[int, int], None]
"""Called with the steps that are done and the steps there are."""


Accepted = tuple[Prompt, Candidate]
"""A reply that was accepted, behind the conversation that it answers."""


Judge = Callable[[Policy, Sequence[Prompt]], float]
"""How good a policy's own replies to these conversations are: the share that passes the selection's rules."""


class Trainer(Protocol):
    """Fine-tunes the base model, or goes on from a policy, on replies that were accepted."""

    fake: ClassVar[bool]
    """Whether it only pretends to; reports that used one say so."""

    @property
    def trains(self) -> Kind | None:
        """The kind of policies that it makes: the recipe's engine must serve such. None: none that is to be loaded."""
        ...

    def policy_bytes(self, matrices: Sequence[tuple[int, int]], weights: int) -> int:
        """How large a trained policy is on disk: `matrices` are the base's linear layers, `weights` counts them all."""
        ...

    def check_machine(self) -> None:
        """Raise a UserError if this machine can't train as asked: before a run samples for hours."""
        ...

    def train(
        self,
        network: Callable[[], Any],
        accepted: Sequence[Accepted],
        start: Policy,
        folder: Path,
        seed: int,
        progress: Progress,
        judge: Judge,
    ) -> TrainingResult:
        """Ascend the accepted replies' log-likelihood from `start` and save the new policy's weights in `folder`.

        `network` gives the run's one loaded network (not for one that trains elsewhere: there may be none), and `judge`
        helps to choose among the policies of one training.
        The same replies, start and seed give the same policy; `folder` appears whole or not at all.
        """
        ...
