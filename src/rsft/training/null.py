"""A fake trainer that learns nothing. For tests; what it made is marked as fake in reports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from rsft.training.base import Accepted, Judge, Progress, TrainingResult
from rsft.types import Policy


class NullTraining(BaseModel):
    """Trains nothing, for tests: a new name for the same weights, the hash of what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fake: ClassVar[bool] = True
    trains: ClassVar[None] = None

    def policy_bytes(self, matrices: Sequence[tuple[int, int]], weights: int) -> int:
        """See `Trainer.policy_bytes`."""
        return 0

    def check_machine(self) -> None:
        """See `Trainer.check_machine`."""

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
        """See `Trainer.train`."""
        folder.mkdir(parents=True, exist_ok=True)
        said = repr([start.hash, seed, [(candidate.key, candidate.text) for _, candidate in accepted]])
        progress(1, 1)
        return TrainingResult(Policy(hash=hashlib.sha256(said.encode()).hexdigest()[:16]), ({"step": 1, "loss": 0.0},))
